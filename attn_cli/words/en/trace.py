"""English: the page of the six steps."""

SENTENCES = {
    # the six steps: what each is, for someone who has never seen the formula
    "embed.random": "These vectors of {width} numbers are random: this model has not been trained.",
    "embed.by_hand": "These vectors of {width} numbers were chosen by hand, small and whole, so "
    "that each step can be done on paper{made}.",
    "embed.plain": "The position is not added here: {where}.",
    "embed.scaled": ", multiplied by {factor} on the way in",
    "embed.normed": ", brought to a common scale by a layer norm on the way in",
    "embed.projected": "The stored vectors have another width; a learned matrix projects them to "
    "`token_embedding`.",
    "embed.given": "This is the output of the layer before. In this model it is not a plain sum: "
    "every layer normalises it.",
    "embed.sum": "x = their sum",
    "embed.title_token": "x = token vector",
    "embed.title_scaled": "x = token vector × {factor}",
    "embed.title_normed": "x = layer norm of the token vector",
    "embed.title_stream": "x = what the layers before have left",
    "embed.stream": "The input of layer {layer}: the x of layer 0 plus all that earlier layers "
    "have added. This sum is called the residual stream.",
    "embed.here": "Lengths of these vectors of `{query}`: token {token}, position {position}: "
    "{place}, x {x}.{angle}",
    "embed.angle": " The cosine between token and position is {cosine}: near 0 they hardly touch "
    "each other, so both can still be read from the sum.",
    "embed.angle_wide": " The cosine between token and position is {cosine}.",
    "embed.removed": "--without positions left that second vector out.",
    "embed.trained": "Training has set these vectors of {width} numbers so that directions carry "
    "meaning{made}.",
    "embed.second": "A second vector says where the token stands.",
    "embed.waves": "It is not learned: it holds sines and cosines of the position, waves of ever "
    "greater length.",
    "embed.title_cross": "x = the decoder's vectors after self-attention",
    "embed.cross": "In cross-attention the two sides differ: `{query}` and the other target "
    "tokens ask, with the vectors that self-attention has left in this layer; the source tokens "
    "are matched, with the vectors that the whole encoder has made of them.",
    "embed.title_parts_normed": "x = layer norm of token vector{second}{third}",
    "embed.and_position": " + position vector",
    "embed.and_segment": " + segment vector",
    "embed.third": "A third says which of the two segments it belongs to.",
    "embed.second_segment": "A second vector says which of the two segments it belongs to.",
    "embed.sum_normed": "A layer norm brings the sum to a common scale.",
    "embed.sum_normed_rows": "x = the layer norm of their sum",
    "embed.title_parts_normed_projected": "x = W·norm(token vector{second}{third}) + b",
    "embed.sum_normed_projected": "A layer norm brings the sum to a common scale, and a learned "
    "linear map leads from its {narrow} numbers to the model's {width}.",
    "embed.sum_normed_projected_rows": "x = W·(the layer norm of their sum) + b",
    "embed.enters_rotary": "it rotates queries and keys in step 2",
    "embed.enters_later": "it rotates queries and keys in step 2, in other layers than this",
    "embed.enters_bias": "it enters in step 4, as a bias on the scores",
    "embed.enters_relative": "it enters in step 4, as a bias on the scores",
    "embed.enters_disentangled": "it enters in step 3, as terms of the scores",
    "embed.enters_none": "this model has none",
    "embed.here_three": "Lengths of these vectors of `{query}`: token {token}, position "
    "{position}: {place}, segment {segment}, x {x}.{angle}",
    "embed.sum_of_parts": "sum",
    "project.what": "Three linear maps, learned in training, turn each vector into a query, a key "
    "and a value.",
    "project.random": "Three linear maps, random here, before any training, turn each vector into "
    "a query, a key and a value.",
    "project.by_hand": "Three linear maps, chosen by hand too, turn each vector into a query, a "
    "key and a value{hidden}.",
    "project.hidden": " (--parameters shows their numbers)",
    "parameters.elided": "… part of {name} is left out; --full shows all of it",
    "project.normed": "They start from `normed`: x after the {norm}, which brings every vector "
    "to a common scale.",
    "norm.layer": "layer norm",
    "norm.rms": "RMS norm",
    "norm.one_layer": "A layer norm",
    "norm.one_rms": "An RMS norm",
    "norm.formula_layer": "{name} = ({of} − mean) ÷ √(variance + ε) × w_norm{bias} with ε = "
    "{epsilon}{base}{weights}. For `{query}` the mean is {mean}, the root {root}.",
    "norm.formula_rms": "{name} = {of} ÷ √(mean of {of}² + ε) × w_norm with ε = "
    "{epsilon}{base}{weights}. For `{query}` the root is {root}.",
    "norm.formula_plain": "{name} = ({of} − mean) ÷ √(variance + ε) with ε = {epsilon}. For "
    "`{query}` the mean is {mean}, the root {root}.",
    "norm.bias": " + b_norm",
    "norm.one_more": "; w_norm is 1 + the weight in the file",
    "norm.hidden": " (--parameters shows the learned numbers)",
    "project.bias": "Each map adds its bias to the product{hidden}.",
    "project.hidden_bias": " (--parameters shows W and b)",
    "project.title_each": "q, k = norm({x}·W_Q, {x}·W_K)   v = {x}·W_V",
    "project.title_all": "q, k = norm({x}·W_Q, {x}·W_K)   v = {x}·W_V",
    "project.title_rotated": "q, k = norm(rotated {x}·W_Q, {x}·W_K)   v = {x}·W_V",
    "project.heads_each": "{norm} then normalises each query and each key; q and k below show the "
    "result.",
    "project.heads_all": "{norm} then normalises each token's queries of all heads as one vector, "
    "and its keys as another; q and k below show the result.",
    "project.heads_rotated": "{norm} then normalises each rotated query and key; q and k show the "
    "result.",
    "project.clipped_then": "Then all three are clipped: no number of q, k and v is left above "
    "{clip} or below −{clip}.",
    "project.clipped": "What the maps give is clipped: no number of q, k and v is left above "
    "{clip} or below −{clip}.",
    "project.unrotated": "Other layers rotate queries and keys by their positions; this one does "
    "not, so that its dot products are the same at any distance.",
    "project.partial": "Only the first {count} of a head's {width} dimensions are rotated.",
    "project.stretched": "The attention factor makes what is rotated {ratio} times as long.",
    "project.grown": "Queries are then multiplied by a number that grows with the position, so "
    "that softmax stays sharp over a long text; for `{query}` it is {factor}.",
    "project.rotary": "Rotary position embedding (RoPE): {pair} rotate together, "
    "(a, b) → (a·cos − b·sin, a·sin + b·cos), by an angle proportional to the position, "
    "{so}. The angles of `{query}`, in radians:",
    "project.so": "so that position affects a dot product only through the distance",
    "project.so_then": "so that rotation by itself affects a dot product only through the distance",
    "project.halves": "dimensions i and i + {half}{last}",
    "project.neighbours": "dimensions 2i and 2i + 1{last}",
    "project.of_last": " of the last {count}",
    "project.partial_last": "Only the last {count} of a head's {width} dimensions are rotated.",
    "project.title_latent": "q = {q}·W_Q   k, v = kv_latent·W_K, kv_latent·W_V",
    "project.latent": "Keys and values are made in two steps. A map and an RMS norm make of each "
    "token's `normed` a latent of {count} numbers, `kv_latent`, which all heads share. Each head "
    "makes of it its value and the first {plain} dimensions of its key; the last {rotated} are "
    "made of `normed` itself and are the same in every head.",
    "project.latent_queries": "Queries come of a latent of their own, `q_latent`, of {count} "
    "numbers.",
    "dot.what": "How well does each key match each query? Multiply dimension by dimension and add: "
    "one score for every pair of tokens.",
    "dot.table": "q × k of `{query}`",
    "dot.score": "score",
    "dot.title_terms": "scores = {terms}",
    "dot.terms": "Here a score is a sum: {terms}. The first is q·k, content against content; the "
    "others match content with how far apart the two tokens stand.",
    "dot.removed": "--without positions makes the terms of distance 0.",
    "scale.what": "Dividing by √{width} = {root} keeps large scores from saturating softmax.",
    "scale.other": "The scores are multiplied by {scale}, so that large ones do not saturate "
    "softmax.",
    "scale.title_cap": "scaled = {cap}·tanh(scores × {scale} ÷ {cap})   masked = {masked} where "
    "hidden",
    "scale.title_biased": "scaled = scores × {scale} + bias   masked = {masked} where hidden",
    "scale.capped": "A soft cap then bends each score to stay between −{cap} and {cap}.",
    "scale.biased_position": "Then a bias (ALiBi) is added, and `scaled` includes it. Here it is "
    "{slope} × the key's position, so that nearer keys gain on earlier ones.",
    "scale.biased_rounded": "Then a bias (ALiBi) is added, and `scaled` includes it. Here it is "
    "{slope} × the key's position, so that nearer keys gain on earlier ones; position and product "
    "are rounded to bfloat16 first.",
    "scale.biased_distance": "Then a bias (ALiBi) is added, and `scaled` includes it. Here it is "
    "{slope} × (the key's position − {last}): 0 for the last token, and lower the earlier a key "
    "stands.",
    "scale.title_root": "scaled = scores ÷ √{width}   masked = {masked} where hidden",
    "scale.title_factor": "scaled = scores × {scale}   masked = {masked} where hidden",
    "scale.title_plain": "scaled = scores   masked = {masked} where hidden",
    "scale.plain": "Nothing is divided here: the scale is 1.",
    "scale.value": "With --mask-value they hold {value} instead of −∞.",
    "scale.relative": "Then a bias is added, learned for each head and each distance between "
    "query and key.",
    "scale.title_biased_plain": "scaled = scores + bias   masked = {masked} where hidden",
    "scale.terms": "Dividing by √({width} × {terms}) = {root}, the width times the number of "
    "terms, keeps large scores from saturating softmax.",
    "scale.title_terms": "scaled = scores ÷ √({width} × {terms})   masked = {masked} where hidden",
    "mask.what": "The mask hides {hidden} of {cells} cells.",
    "mask.causal": "It hides later tokens from earlier ones: this model writes from left to "
    "right{example}.",
    "mask.layout": "(--layout columns draws queries as columns, as some animations do.)",
    "mask.window": "A window: each query sees itself and, at most, {before} before it.",
    "mask.nothing": "Nothing is hidden: every query sees every key.",
    "mask.may_decoder": "A decoder reads from left to right: each query may see itself and what "
    "comes before it.{window}",
    "mask.may_encoder": "An encoder reads the whole text at once: every query may see every "
    "key.{window}",
    "mask.may_cross": "In cross-attention every target token may see every source token: the "
    "source is known before the first target token is written.",
    "mask.may_window": " In layers with a window, only keys nearby.",
    "mask.nothing_encoder": "Nothing is hidden: an encoder reads the whole text at once, so "
    "every query sees every key.",
    "mask.nothing_cross": "Nothing is hidden: the source is known from the start, so every "
    "target token sees all of it.",
    "mask.window_both": "A window: each query sees itself and, at most, {before} on either side.",
    "mask.causal_alone": "It hides later tokens from earlier ones, as a decoder's does{example}.",
    "mask.window_one": "1 token",
    "mask.window_many": "the {count} tokens",
    "mask.nothing_yet": "Nothing is hidden: there is no other token yet.",
    "project.title": "q = normed·W_Q   k = normed·W_K   v = normed·W_V",
    "project.angles": "angle",
    "project.pairs": "pairs",
    "project.unturned": "--without positions makes every angle 0.",
    "project.title_cross": "q = {x}·W_Q   k = key_x·W_K   v = key_x·W_V",
    "project.cross": "Queries are made from the target's vectors, keys and values from the "
    "source's: `key_x`, the encoder's result.",
    "project.normed_queries": "The queries start from `normed`: x after the {norm}, which brings "
    "every vector to a common scale.",
    "project.distances": "{names} hold a row for each distance between two tokens, or for a "
    "range of far ones: what step 3 multiplies with the other side's vectors.",
    "softmax.what": "Each query's weights add up to 1. The exponential favours larger scores.",
    "softmax.heat": "First the attention temperature {temperature} divides each masked − largest.",
    "softmax.here": "`{query}` looks at",
    "softmax.title": "weights = e^(masked − largest) ÷ their sum, for each query",
    "softmax.title_heated": "weights = e^((masked − largest) ÷ {temperature}) ÷ their sum",
    "softmax.title_sink": "weights = e^(masked − largest) ÷ their sum, the sink's power included",
    "softmax.title_heated_sink": "weights = e^((masked − largest) ÷ {temperature}) ÷ their sum, "
    "the sink's power included",
    "softmax.what_sink": "Each query's weights and the sink's share (last) add up to 1. The "
    "exponential favours larger scores.",
    "softmax.row": "For `{query}` the largest is {top} and the powers of e add up to "
    "{total}{sink}.",
    "softmax.sink": ", of which {power} is the sink's",
    "sink.what": "Beside the keys stands a sink (last): one more score, {sink}, which this head "
    "has learned. It is the same for every query, is neither scaled nor masked, and belongs to no "
    "key.",
    "sink.beside": "{name}, then the sink",
    "sink.grids": "After the keys comes the sink, a learned score that belongs to none of them; "
    "with it the weights of every query add up to 1.",
    "sum.sink": "The sink has no value: its share of the row, {share}, adds nothing, and the "
    "weights above add up to {rest}.",
    "softmax.cold": "At attention temperature 0 the largest score of a row takes all; equal ones "
    "share it.",
    "softmax.hidden": "A hidden cell gets 0 and a mark of its own.",
    "softmax.value": "With --mask-value hidden cells get a share as well.",
    "sum.what": "What `{query}` takes from each token's value, and the sum. Numbers are rounded "
    "only for the screen; --digits 6 shows more.",
    "sum.pull": "The head's slice of W_O turns z into `head_output`, its pull on each token.",
    "sum.removed": "--without-head removed this head: whatever z is, its head_output is 0, and it "
    "pulls no token.",
    "sum.table": "weight × v   {keys} and the sum",
    "sum.part": "weight × v   {keys} of {all}, the others together, and the sum of all",
    "sum.key_one": "1 key",
    "sum.key_many": "{count} keys",
    "sum.others": "other keys",
    "sum.output": "`output` is the sum of every head's pull{bias}; {then}.",
    "sum.added": "it is added to x",
    "sum.multiplied": "multiplied by {factor}, {then}",
    "sum.normed": "a norm of its own brings it to scale before it is added to x",
    "sum.after": "it is added to x, and a norm brings the sum to scale",
    "sum.onto_normed": "it is added to `normed`, not to x",
    "sum.bias": " and the bias b_O",
    "sum.here": "Length of the pull on `{query}`: {pull}; of `output`: {output}; their cosine: "
    "{cosine}.",
    "next.title": "{what}{comma} after {layers}",
    "next.what_if": "{what}{comma} after {layers}, under the what-if settings",
    "next.comma": ",",
    "next.after_one": "the only layer",
    "next.after_many": "all {count} layers",
    "next.what": "A token's logit is the dot product of `final` and the token's row of the "
    "output matrix{bias}{scaled}{cap}; softmax turns all {tokens} logits into probabilities.",
    "next.cap": ", bent by a soft cap: {cap} · tanh(dot ÷ {cap})",
    "next.table": "from x to `final`",
    "next.rows": "vectors",
    "next.power": "e^(logit − largest)",
    "next.total": "All {tokens} powers add up to {total}; each probability is its share of that.",
    "next.position": "The prediction is made at the last token, `{query}`.",
    "next.next": "next token",
    "next.mask": "the token for `{query}`",
    "next.bias": " plus the token's bias",
    "next.scaled": ", times {factor}",
    "next.transform": "`final` is what the prediction head makes of x: {norm}a linear map, "
    "{activation} and a layer norm.",
    "next.transform_norm": "a layer norm, ",
    "next.as_is": "`final` is x as it is: the last layer has normalised it.",
    "next.more": "… {count} more predictions (--full shows all)",
    "axes.tokens": "rows: tokens   columns: {axis}",
    "axes.matrix": "rows: {rows}   columns: {columns}",
    "axes.target": "queries (target)",
    "axes.source": "keys (source)",
    "trace.too_many": "{count} tables are not printed; --full prints them all, --layer, --head or "
    "--step choose some, --view heatmap shows the weights of all heads as small pictures",
    "trace.overview": "{count} pictures are not printed, but the weights of all heads; --full "
    "prints them all, --layer, --head or --step choose some",
    "trace.what_if": "what-if: {changes}; the arrays it touches are marked",
    "after.title": "the rest of {where}",
    "after.what": "Attention's output is added to x. A feed-forward network then works on each "
    "token alone, and its output is added too.",
    "after.multiplied": "Each of the two is multiplied by {factor} first; the rows show what is "
    "added.",
    "after.parallel": "Attention and a feed-forward network, which works on each token alone, both "
    "start from this layer's x; the outputs of both are added to it.",
    "after.experts": "Here the network is a mixture of experts; which of them each token passes "
    "stands at the end of the page.",
    "after.shared_norm": "One norm serves both, so that the network reads `normed` too.",
    "after.norms": "Each of the two first passes its own norm; the rows show what is added.",
    "after.after": "Attention's output is added to x and the sum normalised. Then a feed-forward "
    "network works on each token alone; what it gives is added, and that sum normalised.",
    "after.onto_normed": "Attention's output is added to `normed`, not to x. A feed-forward "
    "network works on a norm of that sum, and what it gives is added to the norm.",
    "after.attention": "{sign}attention",
    "after.mlp": "{sign}feed-forward",
    "after.next": "{sign}x of layer {layer}",
    "after.last": "{sign}after the last layer",
    "after.table": "`{query}`",
    "after.cross": "Between the two stands cross-attention.",
    "after.cross_row": "{sign}cross-attention",
    "after.middle": "their sum, normalised",
    "after.convolution": "{sign}convolution",
    "after.convolved": "This layer also has a convolution over neighbouring tokens of its input, "
    "which is added before one more norm.",
    "after.roots": "A norm subtracts the mean and divides by the root{learned}. For `{query}` "
    "the first norm's mean is {mean}, its root {root}; the second's {mean2} and {root2}.",
    "after.encoder_norm": "The encoder's last norm makes of this the vectors that the decoder's "
    "keys and values are made from.",
    "after.inner": "their sum, normalised",
    "after.third": "The third norm's mean is {mean}, its root {root}.",
    "after.learned": "; then learned weights and biases act",
}
