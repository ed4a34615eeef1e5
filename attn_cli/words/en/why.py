"""English: the page of `attn why`."""

SENTENCES = {
    "why.best": "`{query}` gives `{key}` {weight} of its attention: of {keys} keys it matches "
    "best.",
    "why.ranked": "`{query}` gives `{key}` {weight} of its attention: number {rank} of {keys} "
    "keys.",
    "why.nan": "`{query}` gives `{key}` a weight of NaN: a score of its row is NaN or infinite.",
    "why.alone": "`{query}` gives `{key}` all of its attention: it sees no other key.",
    "why.alone_sink": "`{query}` gives `{key}` {weight} of its attention and the sink the rest: it "
    "sees no other key.",
    "why.hidden": "`{query}` may not look at `{key}`: the weight is 0, whatever the score.",
    "why.hidden_valued": "`{query}` may not look at `{key}`, and yet gives it {weight} of its "
    "attention, since --mask-value stands where −∞ belongs.",
    "why.blind": "`{query}` sees no key at all: every weight of its row is 0.",
    "why.what": "Each result can be redone with a calculator from the numbers printed before it; "
    "they have as many digits as that takes.",
    "why.dot": "The query of `{query}` and the key of `{key}` are multiplied dimension by "
    "dimension; the sum is the score. The largest products come first.",
    "why.term": "{name}",
    "why.no_term": "{name} = 0",
    "why.dimension": "dimension",
    "why.product": "product",
    "why.of": "{array} of {token}",
    "why.distance": "this distance",
    "why.others": "{count} others",
    "why.other_keys": "{count} other keys",
    "why.sum": "Σ = {name}",
    "why.scores": "scores = {terms} = {scores}",
    "why.title_cap": "scaled = cap·tanh(scores × scale ÷ cap)",
    "why.title_bias": "scaled = scores × scale + bias",
    "why.title_capbias": "scaled = cap·tanh(scores × scale ÷ cap) + bias",
    "why.scaled": "scaled = {scores} × {scale} = {value}",
    "why.multiplied": "scores × scale = {scores} × {scale} = {value}",
    "why.capped_last": "soft cap: scaled = {cap} × tanh({x} ÷ {cap}) = {value}",
    "why.capped": "soft cap: {cap} × tanh({x} ÷ {cap}) = {value}",
    "why.biased": "bias: scaled = {x} + {bias} = {value}",
    "why.visible": "`{query}` may look at `{key}`, so masked = scaled.",
    "why.masked": "masked = {masked}: {why}",
    "why.mask_later": "`{key}` comes after `{query}`, and the mask hides later tokens.",
    "why.mask_typed": "{typed} hides `{key}` from `{query}`.",
    "why.mask_window": "the model's own mask hides `{key}` from `{query}`: it is outside the "
    "window.",
    "why.unhidden": "With this score it would get {weight} of the row, the others as they are.",
    "why.no_row": "All keys are hidden from `{query}`, so there is no largest and no sum.",
    "why.shifted": "masked − largest",
    "why.power": "e^that",
    "why.power_cold": "1 if that is 0",
    "why.power_heated": "e^(that ÷ {temperature})",
    "why.weight": "weight = {power} ÷ {total} = {weight}",
    "why.weight_hidden": "e^(−∞) = 0, so the weight of `{key}` is 0.",
    "why.title_added": "weight × v·W_O, this key's part of output",
    "why.removed": "--without-head removed this head: the value of `{key}` adds nothing to "
    "`{query}`.",
    "why.adds_nothing": "With weight 0 the value of `{key}` adds nothing to `{query}`.",
    "why.adds": "Through this head's slice of W_O the value of `{key}` is a vector of length "
    "{value_norm}. Times the weight, `{query}` gets a vector of length {weight} × {value_norm} = "
    "{norm}.",
    "why.direction": "The output of all heads for `{query}` has length {output}; the cosine "
    "between the two is {cosine}.",
    "why.logit": "Directly it adds {added} to the logit of {token}, which is {logit}{cap}{frozen}. "
    "What later layers make of it is not counted.",
    "why.frozen_layer": ": through the last norm, whose mean and root stay as they are (frozen)",
    "why.frozen_rms": ": through the last norm, whose root stays as it is (frozen)",
    "why.frozen_after": ": through the norm after the attention and the last norm, whose roots "
    "stay as they are (frozen)",
    "why.frozen_times": ": times {factor} and through the last norm, whose root stays as it is "
    "(frozen)",
    "why.before_cap": " after a soft cap that is not counted",
    "why.path_nothing": "Nothing is predicted here, so there is no logit that it could add to.",
    "why.path_encoder": "This is the encoder: it reaches a logit only through cross-attention, so "
    "it adds to none directly.",
    "why.path_position": "The prediction is made at another token, so this adds to no logit "
    "directly; later layers may carry it there.",
    "why.path_post_norm": "In this model every later norm acts on the whole sum, so no part of it "
    "reaches a logit unchanged: there is no direct share.",
    "why.path_transform": "The prediction head has a further map and an activation, so no part of "
    "the sum reaches a logit unchanged: there is no direct share.",
    # one entry of another array
    "why.entry": "{array} of `{token}` is {value} in column {column}.",
    "why.title_q": "q = {input}·W_Q",
    "why.title_k": "k = {input}·W_K",
    "why.title_v": "v = {input}·W_V",
    "why.title_z": "z = Σ weight × v",
    "why.title_output": "output = Σ over heads of z·W_O",
    "why.made_q": "{input} of `{token}` and column {column} of this head's W_Q are multiplied "
    "dimension by dimension. The largest products come first.",
    "why.made_k": "{input} of `{token}` and column {column} of this head's W_K are multiplied "
    "dimension by dimension. The largest products come first.",
    "why.made_v": "{input} of `{token}` and column {column} of this head's W_V are multiplied "
    "dimension by dimension. The largest products come first.",
    "why.made_z": "The weight that `{token}` gives each key, times column {column} of the key's "
    "value. The largest products come first.",
    "why.made_output": "First this head: its z of `{token}` and column {column} of its slice of "
    "W_O. The largest products come first.",
    "why.column_of": "{array}, column {column}",
    "why.plus_bias": "plus bias: {x} + {bias} = {value}",
    "why.kv_latent": "kv_latent is what the keys and values of all heads are made of: an RMS norm "
    "of a map of `normed`.",
    "why.q_latent": "q_latent is what the queries of all heads are made of: an RMS norm of a map "
    "of `normed`.",
    "why.shared_key": "The last {rotated} dimensions of a key are made of `normed` itself, and are "
    "the same in every head.",
    "why.clipped": "clipped, to stay between −{clip} and {clip}: {x} becomes {value}",
    "why.unclipped": "not clipped, since it is between −{clip} and {clip}: {value}",
    "why.head_norm": "The RMS norm of {of} divides by the root of the mean square of all its "
    "dimensions (and ε), and multiplies by a learned weight: {x} ÷ {root} × {weight} = {value}",
    "why.head_norm_layer": "The layer norm of {of} subtracts the mean of all its dimensions, "
    "divides by the root of their variance (and ε), and multiplies by a learned weight{adding}: "
    "({x} − {mean}) ÷ {root} × {weight}{bias} = {value}",
    "why.norm_adds": ", to which it adds a learned bias",
    "why.norm_bias": " + {bias}",
    "why.of_head": "this head",
    "why.of_all_heads": "all heads together",
    "why.rotated_first": "rotated",
    "why.turned": "Dimensions {column} and {partner}, which holds {value}, rotate together by "
    "{angle} radians at this position: cos {cos}, sin {sin}.",
    "why.rotated": "{array} = {x} × {cos} {sign} {partner} × {sin}{factor}{growth} = {value}",
    "why.growth": ", times the query's {growth} at this position",
    "why.factor": ", times the attention factor {factor}",
    "why.heads": "Then column {column} of every head's output is added up.",
    "why.other_heads": "{count} other heads",
    "why.bias": "bias b_O",
    # who wrote it
    "why.split_above": "{gives}: its score is {advantage} above {others}. On the key's side the "
    "largest part of that, {added}, is what {writer} wrote.",
    "why.split_below": "{gives}: its score is {advantage} below {others}. On the key's side "
    "{writer} lowered it most ({added}).",
    "why.split_alone": "`{query}` sees no key beside `{key}`, so this is the score itself; on the "
    "key's side the largest part of it, {added}, is what {writer} wrote.",
    "why.split_blind": "`{query}` sees no key at all. This is the score of `{key}` itself; on the "
    "key's side the largest part of it, {added}, is what {writer} wrote.",
    "why.split_nan": "The score of `{query}` and `{key}` cannot be split: it, or that of another "
    "key that `{query}` sees, is NaN or infinite.",
    "why.gives": "`{query}` gives `{key}` {weight} of its attention",
    "why.gives_hidden": "`{query}` may not look at `{key}` (weight {weight})",
    "why.mean_one": "that of the one other key",
    "why.mean_many": "the mean of the {count} other keys",
    "why.split": "The x of every token is a sum of what the embedding, every earlier head and "
    "every earlier feed-forward network (mlp) wrote. With the scale of the norms kept as it is "
    "here (frozen), query and key are sums too, and the score is the sum over all pairs: each part "
    "of the query times each part of the key, rotated at their own positions where the model "
    "rotates.",
    "why.split_mixed": "In the layers without attention {others} writes in its place.",
    "why.split_latents": "The norms of q_latent and kv_latent, of which queries and keys are made, "
    "are kept so too.",
    "why.split_latent": "The norm of kv_latent, of which keys are made, is kept so too.",
    "why.split_clipped": "Clipping is kept as it is here too, as a factor on every number of a "
    "query and a key.",
    "why.value_plain": "The score, as softmax compares it (`scaled`), is {value}.",
    "why.value_bias": "The score, as softmax compares it (`scaled`, with the bias on positions), "
    "is {value}.",
    "why.value_cap": "The score × scale, before the soft cap bends it, is {value}.",
    "why.advantage": "The mean of the other visible keys is subtracted, since softmax sees "
    "differences only: {value} − {mean} = {advantage}. One more in that difference makes a weight "
    "2.7 times as large beside another.",
    "why.by_key": "who wrote the key: parts of `{key}`, above the mean of the other keys",
    "why.by_key_alone": "who wrote the key: parts of `{key}`",
    "why.by_query": "who wrote the query: parts of `{query}`",
    "why.by_pair": "pairs: part of the query × part of the key",
    "why.column_key": "part of the key",
    "why.column_query": "part of the query",
    "why.column_pair": "query × key",
    "why.column_part": "part",
    "why.column_adds": "adds",
    "why.pair": "{query} × {key}",
    "why.all_others": "all others",
    "why.reconstructed": "All pairs together give the score with an error of {error} of it.",
    "why.reconstructed_small": "All pairs together give the score with an error of {error}.",
    "why.back": "one step back: {where} at `{query}`",
    "why.logit_headline": "After `{query}` the logit of {token} is {logit}, the sum of {parts} "
    "parts; the largest in its direction, {added}, is what {writer} wrote.",
    "why.logit_nan": "After `{query}` the logit of {token} is NaN or infinite and cannot be split.",
    "why.logit_split": "The last x is a sum of what the embedding, every head and every "
    "feed-forward network (mlp) wrote. With {norms} kept as it is here (frozen), "
    "each part adds its own product to the logit (direct logit attribution). What a part does by "
    "way of later layers counts there.",
    "why.norms_last": "the last norm's scale",
    "why.norms_all": "the scale of every norm on the way",
    "why.logit_capped": "The sum is the logit before the soft cap, {cap} · tanh(sum ÷ {cap}) = "
    "{value}.",
    "why.by_part": "what each part adds to the logit of {token} after `{query}`",
    "why.logit_error": "The trace's own logit differs from this sum by {error}.",
    # what stands beside the writers of a split
    "writer.encoder": "encoder",
    "writer.entering_norm": "norm bias",
    "writer.bias_q": "bias b_Q",
    "writer.bias_k": "bias b_K",
    "writer.norm_bias_q": "bias of the query's norm",
    "writer.norm_bias_k": "bias of the key's norm",
    "writer.position_bias": "position bias",
    "writer.content_to_position": "content_to_position",
    "writer.position_to_content": "position_to_content",
    "why.word": "{word} is {count} tokens here ({pieces}); the last, `{last}` at position {place}, "
    "is meant",
}
