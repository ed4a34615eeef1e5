"""English: the page of `attn lens`."""

SENTENCES = {
    "lens.since": "After `{query}` the model predicts `{token}` ({probability}), which is in first "
    "place from {since} on.",
    "lens.since_mask": "For `{query}` the model predicts `{token}` ({probability}), which is in "
    "first place from {since} on.",
    "lens.last": "After `{query}` the model predicts `{token}` ({probability}); only the last "
    "layer puts it in first place.",
    "lens.last_mask": "For `{query}` the model predicts `{token}` ({probability}); only the last "
    "layer puts it in first place.",
    "lens.place": "`{token}` ends in place {rank} ({probability}): the model predicts `{best}` "
    "({chance}). Its best place is {first}, {where}.",
    "lens.nan": "At {broken} of {count} positions the logits are NaN or infinite, so that nothing "
    "can be ranked there.",
    "lens.many": "At {early} of {count} positions the token that is predicted in the end is in "
    "first place before the last layer; at {late} the last layer changes what is first.",
    "lens.many_watched": "`{token}` is predicted at {right} of {count} positions; it is likeliest "
    "after `{query}`: {probability}, place {rank}.",
    "lens.many_watched_mask": "`{token}` is predicted at {right} of {count} positions; it is "
    "likeliest for `{query}`: {probability}, place {rank}.",
    "lens.before": "before any layer",
    "lens.after": "after {where}",
    "lens.embedding": "embedding",
    "lens.what": "Each row takes the {vectors} as it is after that layer straight through {way}, "
    "as if no layer followed (the logit lens, nostalgebraist 2020). Only the last row is what the "
    "model predicts: {way} were trained for the last layer's vectors, so early rows may mean "
    "little.",
    "lens.vector": "vector of `{query}`",
    "lens.vectors": "vector of each position",
    "lens.way": "the output matrix and its bias",
    "lens.way_norm": "the last norm and the output matrix",
    "lens.way_head": "the prediction head and the output matrix",
    "lens.likeliest": "the likeliest tokens after each layer",
    "lens.watched": "`{token}` after each layer",
    "lens.watched_parts": "`{token}` after each layer, and what the layer adds to its last logit",
    "lens.rank": "place",
    "lens.attention": "attention",
    "lens.cross": "cross-attention",
    "lens.cross_column": "cross",
    "lens.mlp": "feed-forward",
    "lens.mlp_mixed": "the rest",
    "lens.biases": "biases",
    "lens.added": "The columns on the right split the last logit of `{token}`: what each layer's "
    "{parts} add to it, {frozen}(direct logit attribution, Elhage et al. 2021). `logit` is that of "
    "the row's own vector, {own}so it does not grow by these. They are direct "
    "effects: what a part does by way of later layers counts there.",
    "lens.parts": "attention and feed-forward network",
    "lens.parts_mixed": "attention, and the rest (the feed-forward network, and what stands in "
    "place of attention)",
    "lens.parts_cross": "attention, cross-attention and feed-forward network",
    "lens.frozen_layer": "with the mean and the scale of {norms} frozen as they are here ",
    "lens.frozen_rms": "with the scale of {norms} frozen as it is here ",
    "lens.norms_last": "the last norm",
    "lens.norms_all": "every norm on the way",
    "lens.own": "under that row's own norm, ",
    "lens.sum": "{terms} = {total}. The logit is {logit}; the error is {error}.",
    "lens.sum_capped": "{terms} = {total}; the soft cap of {cap} makes {logit} of it. The error is "
    "{error}.",
    "lens.term": "{name} {value}",
    "lens.terms": "{first} + {rest}",
    "lens.heads": "what each head adds to the last logit of `{token}`",
    "lens.cross_heads": "what each head of cross-attention adds to the last logit of `{token}`",
    "lens.heads_elided": "… part of this is left out; --full shows all of it",
    "lens.heads_axes": "rows: layers   columns: heads",
    "lens.strongest": "the parts that add or take most, of {count} that add up to the logit",
    "lens.part": "part",
    "lens.adds": "adds",
    "lens.grid": "the likeliest token after each layer, at each position",
    "lens.grid_rank": "the place of `{token}` after each layer, at each position",
    "lens.each": "at the end: the predicted token of each position, and what adds up to its logit",
    "lens.each_watched": "at the end: `{token}` at each position, and what adds up to its logit",
    "lens.each_plain": "at the end of each position",
    "lens.position": "position",
    "lens.no_sum": "what attention and feed-forward add to a logit is left out: {reason}",
    "lens.spaced": "{option} {word} is read as {read}, with a space before it; without one it is "
    "{option} '<{id}>'",
    "lens.pieces": "{option} {word} is {count} tokens here: the last one, {last}, is watched. What "
    "would come next is the first, {first}",
}
