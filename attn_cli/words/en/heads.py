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
    "divided by their sum, row by row, and every number but those of `on first`, `weighted`, "
    "`value`, `norm` and `cosine` is of these. `log₁₀ left` is the mean of what they had before, "
    "on a log scale: −3 is a thousandth.",
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
    "{strongest} pulls `{query}` hardest ({norm}). 3.1 is head 1 of layer 3.",
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
    "heads.first_value": "value",
    "heads.rest_share": "rest",
    "heads.duplicate_share": "duplicate",
    "heads.induction_share": "induction",
    "heads.each_layer": "One layer's heads side by side: {command}",
    "heads.no_weights": "the weights of {layers} layers are left out beyond {most:,} tokens; "
    "--layer L has those of one, attn trace those of chosen heads and queries",
}
