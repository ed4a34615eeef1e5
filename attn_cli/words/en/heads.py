"""English: the pages of `attn heads`."""

SENTENCES = {
    # one layer
    "heads.headline": "In {where}, head {sharpest} looks most sharply (entropy {entropy} "
    "bits) and head {strongest} pulls `{query}` hardest ({norm}).",
    "heads.some": "Of heads {heads} of {where}, head {sharpest} looks most sharply (entropy "
    "{entropy} bits) and head {strongest} pulls `{query}` hardest ({norm}).",
    "heads.one": "Head {heads} of {where} has an entropy of {entropy} bits and pulls "
    "`{query}` by {norm}; {left_out} of {all} heads are not shown.",
    "heads.nothing": "In {where} no head can be ranked: their numbers are NaN or infinite.",
    "heads.last": "… the last {shown} of {count} tokens; --full shows all",
    "heads.grids": "weights   each row a query, each column a key, fuller = more",
    "heads.columns": "weights   each column a query, each row a key, fuller = more",
    "heads.rows": "one row per head   entropy and shares: means over the queries after the first",
    "heads.where": "the key that each query looks at most",
    "heads.entropy": "entropy",
    "heads.first_share": "on first",
    "heads.previous_share": "on previous",
    "heads.self_share": "on itself",
    "heads.sink_share": "on sink",
    "heads.sink": "In this model every row has a sink: a learned score that belongs to no key and "
    "takes its share of 1. Entropy counts it as one more choice; `on sink` is its mean share.",
    "heads.sink_split": "In this model every row has a sink, a learned score that belongs to no "
    "key; what is said of the other keys leaves it out too. `on sink` is its mean share of the "
    "whole.",
    "heads.sinks_beside": "{count} of {all} heads give {first} more than half of their attention, "
    "although a row's sink could take what finds nothing. What that adds depends on the value "
    "there: after W_O it is {value} times as long as the others' (median of these heads). With "
    "each weight times the length of its value, the token's mean share in them is {weighted}, not "
    "{share}.",
    "heads.norm": "norm",
    "heads.cosine": "cosine",
    "heads.sum": "Σ head_output + bias = output: largest error {error}.",
    "heads.part": "Σ head_output + bias = output needs every head: --head all.",
    "heads.what": "`entropy` counts choices in bits: 0 = one key takes all, 1 = two keys alike. "
    "`norm` and `cosine` belong to the pull on `{query}`; the whole block's has length {output}.",
    "heads.sharp": "In {where}, head {sharpest} looks most sharply (entropy {entropy} bits); "
    "no head shown pulls `{query}`.",
    "heads.rows_all": "one row per head   entropy and shares: means over all queries",
    # the first token split off
    "heads.split": "Derived: {first} is split off as a key. The weights of the other keys are "
    "divided by their sum, row by row, and every number but {others} is of these. `log₁₀ left` is "
    "the mean of what they had before, on a log scale: −3 is a thousandth.",
    "heads.but_one": "`on first`, `norm` and `cosine`",
    "heads.but_all": "`on first`, `weighted`, `value`, `norm` and `cosine`",
    "heads.log_left": "log₁₀ left",
    "heads.token": "the first token, `{first}`,",
    "heads.tokens": "the first token",
    # several layers
    "heads.all": "several layers",
    "heads.at": "{layer}.{head}",
    "heads.at_encoder_self": "encoder {layer}.{head}",
    "heads.at_decoder_self": "decoder {layer}.{head}",
    "heads.at_decoder_cross": "cross {layer}.{head}",
    "heads.best": "Of {count} heads, {sharpest} looks most sharply (entropy {entropy} bits) and "
    "{strongest} pulls `{query}` hardest ({norm}). {strongest} is head {head} of layer {layer}.",
    "heads.none": "Of {count} heads none can be ranked: their numbers are NaN or infinite.",
    "heads.sinks": "{count} of {all} heads give {first} more than half of their attention. The "
    "weights of a row sum to 1, so a query that finds nothing has to put them somewhere. What that "
    "adds depends on the value there: after W_O it is {value} times as long as the others' (median "
    "of these heads). With each weight times the length of its value, the token's mean share in "
    "them is {weighted}, not {share}.",
    "heads.sinks_only": "{count} of {all} heads give {first} more than half of their attention.",
    "heads.no_sinks": "No head gives {first} more than half of its attention.",
    "heads.columns_are": "`distance` is in tokens. `value` is the length of the first token's "
    "value, after W_O, over the mean of the others'; `weighted` is its share where each weight is "
    "multiplied by its value's length (Kobayashi et al. 2020).",
    "heads.again": "`duplicate` is what queries whose token stands elsewhere too (in a decoder: "
    "before them) give to its other places, and `induction` what they give to the tokens after "
    "those places.",
    "heads.never_again": "No token comes again here, so there is nothing to say of duplicates and "
    "induction: attn heads --prove reads tokens that do.",
    "heads.ranking": "all heads by `{column}`, the {order} first",
    "heads.largest": "largest",
    "heads.smallest": "smallest",
    "heads.distance": "distance",
    "heads.first_weighted_share": "weighted",
    "heads.previous_weighted_share": "weighted previous",
    "heads.self_weighted_share": "weighted self",
    "heads.duplicate_weighted_share": "weighted duplicate",
    "heads.induction_weighted_share": "weighted induction",
    "heads.first_value": "value",
    "heads.rest_share": "rest",
    "heads.duplicate_share": "duplicate",
    "heads.induction_share": "induction",
    "heads.each_layer": "One layer's heads side by side: {command}",
    "heads.no_weights": "the weights of {layers} layers are left out beyond {most:,} tokens; "
    "--layer L has those of one, attn trace those of chosen heads and queries",
    # --prove
    "prove.where": "a random block, read twice",
    "prove.one": "1 is an induction head: where a token comes again, it looks",
    "prove.many": "{count} are induction heads: where a token comes again, they look",
    "prove.headline": "Of {all} heads, {count} at what followed it the first time.",
    "prove.none": "None of {all} heads is an induction head: the largest induction score is "
    "{score} (head {head}).",
    "prove.cause": "Without {them} the loss on the second copy goes from {loss} to {without} nats.",
    "prove.cause_others": "Without {them} the loss on the second copy goes from {loss} to "
    "{without} nats, without as many others to {others}.",
    "prove.it": "it",
    "prove.them": "them",
    "prove.probe": "A block of {size} random tokens (seed {seed}) is read twice, so that only the "
    "first copy can tell what comes next in the second. Scores are mean weights A[q, k]. In the "
    "second copy: induction, on the token after the earlier copy of q (k = q−{near}); duplicate, "
    "on that copy itself (k = q−{size}). Everywhere: previous (k = q−1), self (k = q), sink (k = "
    "0, the first token).",
    "prove.null": "A name needs a score of at least {least}, and more than `null`: the largest "
    "that any head reaches on random tokens without a repeat, at the same distance (induction, "
    "duplicate) or at a key drawn at random for each query (the others).",
    "prove.loss": "each name, and the loss on the second copy without its heads (with all: {loss})",
    "prove.roles": "each name",
    "prove.name": "name",
    "prove.null_column": "null",
    "prove.best": "best",
    "prove.of": "head",
    "prove.heads": "named",
    "prove.without": "without",
    "prove.without_others": "others",
    "prove.induction": "induction",
    "prove.duplicate": "duplicate",
    "prove.previous": "previous",
    "prove.self": "self",
    "prove.sink": "sink",
    "prove.others": "`without`: all heads of that name at once; `others`: as many heads of the "
    "same stretch of layers that have no name but sink, those that rest most on the first token. "
    "The loss leaves out the second copy's first token, which nothing tells.",
    "prove.no_loss": "There is no loss, since nothing here predicts a next token: the scores stand "
    "alone.",
    "prove.no_number": "The loss is not a number (NaN): the scores stand alone.",
    "prove.named": "heads with a name, by name, the best score first",
    "prove.score": "score",
    "prove.without_it": "loss without",
    "prove.reads": "reads from",
    "prove.composition": "K-comp",
    "prove.next": "then",
    "prove.composed": "`reads from` is the earlier head whose output the keys of this one read "
    "most, by K-composition ‖W_QK·W_OVᵀ‖ / (‖W_QK‖·‖W_OV‖) (Frobenius; Elhage et al. 2021), and "
    "`then` the second. The weight of a norm before the attention is part of the matrices; "
    "rotation and biases are left out.",
    "prove.rests_one": "1 more head is",
    "prove.rest_many": "{count} more heads are",
    "prove.resting": "{resting} named sink and nothing else: on this text they rest on the first "
    "token. attn heads --layer all --sort first tells how short its value is.",
    "prove.what": "A name says where a head looks on this text, the loss whether the model needs "
    "it for this text. Neither says that it does nothing else on another.",
    # --circuit
    "circuit.where": "{where} · head {head}",
    "circuit.headline": "Head {head}: W_QK = W_Q·W_Kᵀ, what matches what, has rank {rank} of "
    "{width}; W_OV = W_V·W_O, what is taken along, has rank {ov_rank}.",
    "circuit.headline_latent": "Head {head}: W_QK = W_Q·W_Kᵀ of the dimensions that do not rotate, "
    "what matches what wherever it stands, has rank {rank} of {width}; W_OV = W_V·W_O, what is "
    "taken along, has rank {ov_rank}.",
    "circuit.folded_latents": "W_Q leads through q_latent, W_K and W_V through kv_latent: each is "
    "the product of the map to the latent and the head's own map of it. The weights of the norm "
    "before the attention and of the norms of the latents are folded in; biases are no part of "
    "the two matrices.",
    "circuit.folded_latent": "W_K and W_V lead through kv_latent: each is the product of the map "
    "to the latent and the head's own map of it. The weights of the norm before the attention, in "
    "W_Q too, and of the norm of the latent are folded in; biases are no part of the two matrices.",
    "circuit.roots": "The roots that the norms of the latents divide by stay out, since every "
    "token has its own: sizes compare directions of one matrix, and are none of scores.",
    "circuit.root": "The root that the norm of the latent divides by stays out, since every token "
    "has its own: sizes compare directions of one matrix, and are none of scores.",
    "circuit.unrotated": "W_QK is of the first {count} dimensions of a query and a key. The "
    "others, which rotate, pass no such norm in a key, so that no one matrix holds both.",
    "circuit.folded": "The weight of the norm before the attention is folded into W_Q, W_K and "
    "W_V; biases are no part of the two matrices.",
    "circuit.folded_cross": "The weight of the norm before the attention is folded into W_Q; "
    "biases are no part of the two matrices. Keys and values are read from the encoder's vectors, "
    "which do not pass that norm.",
    "circuit.unfolded": "In this layer no norm stands before the attention: these matrices read x "
    "as it is. Biases are no part of them.",
    "circuit.unfolded_normed": "In this model norms stand after the attention and after the "
    "feed-forward network, none before: these matrices read x as it is. Biases are no part of "
    "them.",
    "circuit.unfolded_after": "In this model norms stand after each sum, none before the "
    "attention: these matrices read x, which has passed one, as it is. Biases are no part of "
    "them.",
    "circuit.weightless": "The norm before the attention has no weights that these matrices could "
    "hold; biases are no part of them.",
    "circuit.rotary": "Rotation is left out, as for a query and a key in the same place.",
    "circuit.stretched": "The attention factor {factor}, by which rotation lengthens what it acts "
    "on, is left out too.",
    "circuit.longer": "In a text of more than {limit} tokens it is {factor}.",
    "circuit.head_norm": "The norm that every query and every key passes after W_Q and W_K is left "
    "out.",
    "circuit.all_norm": "The norm that a token's queries of all heads pass as one vector after "
    "W_Q, and that of its keys after W_K, are left out.",
    "circuit.grown": "That queries grow with their position is left out.",
    "circuit.norm_after": "The norm after the attention, which its output passes before it is "
    "added to x, is left out.",
    "circuit.clipped": "The clipping of queries, keys and values is left out.",
    "circuit.grouped": "Heads {heads} share W_K and W_V.",
    "circuit.matrix": "matrix",
    "circuit.rank": "rank",
    "circuit.half": "half in",
    "circuit.norm": "norm",
    "circuit.value": "σ{number}",
    "circuit.matrices": "the two matrices, and their largest singular values",
    "circuit.half_in": "`norm` is Frobenius'; `half in` counts the directions that hold half of "
    "its square.",
    "circuit.symmetric": "With one matrix for queries and keys W_QK would be symmetric: a would "
    "match b as b matches a. Its symmetric part has {share} of its squared norm (1: symmetric, 0: "
    "antisymmetric, 0.5: as in a random matrix).",
    "circuit.directions": "what W_QK matches: the vocabulary's tokens that lie most along its "
    "first directions",
    "circuit.share": "share",
    "circuit.queries": "queries like",
    "circuit.keys": "match keys like",
    "circuit.pairs": "the prompt's tokens: which attract which",
    "circuit.score": "score",
    "circuit.reverse": "the other way",
    "circuit.scores": "`score` is q·k × scale of the two tokens' own vectors, scaled as a norm "
    "scales them, biases included, positions and earlier layers left out; `the other way` has "
    "query and key changed.",
    "circuit.scores_latent": "`score` is q·k × scale of the two tokens' own vectors, scaled as the "
    "norms scale them and their latents, biases included, of all dimensions, positions and earlier "
    "layers left out; `the other way` has query and key changed.",
    "circuit.first": "Of the prompt's different tokens the first {count} are here.",
    "circuit.no_tokens": "The rows of the embedding are narrower than the model, so tokens cannot "
    "be put through these matrices.",
    "circuit.copying": "Σ λ / Σ |λ| over the eigenvalues of W_OV is {copying}: near 1 the head "
    "writes what it reads (copying, Elhage et al. 2021), near −1 its opposite.",
    "circuit.copies": "what is copied: the tokens that become likelier where a key is looked at",
    "circuit.own": "its own rank",
    "circuit.outputs": "most raised",
    "circuit.copied": "A token's own vector goes through W_OV, the last norm and the output "
    "matrix. {own} of {count} tokens raise themselves most.",
    "circuit.no_outputs": "No output matrix follows this stack's vectors, so there is nothing to "
    "say of outputs.",
}
