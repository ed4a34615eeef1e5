"""English: the HTML page of the six steps, where it says more than the terminal's."""

SENTENCES = {
    "html.title": "Attention in {model}, number by number",
    "html.model": "{name} · {family} · {layers} layers of {heads} heads · width {width} "
    "({head_width} per head)",
    "html.noscript": "This page computes in the browser and needs JavaScript.",
    "html.controls": "what is followed and what is changed",
    "html.choose": "follow",
    "html.layer": "layer",
    "html.head": "head",
    "html.query": "query",
    "html.change": "what if",
    "html.temperature": "attention temperature",
    "html.scale": "scale",
    "html.reset": "reset",
    "html.what_if": "what-if",
    "html.changed": "what-if: {changes}. Only this head is computed anew, from its q, k and v; "
    "later layers and the prediction stay as they were.",
    "html.set_temperature": "attention temperature {temperature}",
    "html.set_scale": "scale {scale}",
    "html.set_mask": "cells of the mask changed: {count}",
    "html.result": "what-if: `{query}` now looks at `{key}` most, with weight {now}, before "
    "{before}; the length of its head_output is {length}, before {length_before}.",
    "html.result_none": "what-if: `{query}` now sees no key, so it takes nothing; the length of "
    "its head_output is {length}, before {length_before}.",
    "html.result_nan": "what-if: the weights of `{query}` are NaN; the length of its head_output "
    "is {length}, before {length_before}.",
    "html.restored": "Everything is as it was.",
    "html.step_1": "Embed: what enters",
    "html.step_2": "Project: queries, keys, values",
    "html.step_3": "Dot products: how well each key matches",
    "html.step_4": "Scale and mask",
    "html.step_5": "Softmax: shares of 1",
    "html.step_6": "Weighted sum: what is taken",
    "html.tokens": "a row for each token",
    "html.square": "rows: queries, columns: keys",
    "html.cell": "{name}: query `{query}`, key `{key}`",
    "html.entry": "{name} of `{token}`, {column}: {value}",
    "html.lengths": "The page holds the lengths of these vectors, not their numbers.",
    "html.of_q": "What this token asks with: step 3 multiplies it with every key.",
    "html.of_k": "What this token is matched by: step 3 multiplies it with every query.",
    "html.of_v": "What others take from this token: step 6 adds it up by weight.",
    "html.press": "Click a cell of `visible`, or press Enter on it, to hide a key from a query or "
    "to show it.",
    "html.sees": "{query} may look at {key}",
    "html.sees_not": "{query} may not look at {key}",
    "html.flipped": "what-if: cells of this mask that were changed here: {count}.",
    "html.scaled": "scaled = scores × {scale} (what-if)",
    "html.hidden": "The mask hides `{key}` from `{query}`, so masked = {masked}.",
    "html.sink": "The sink is one more score that the head has learned. It is neither scaled nor "
    "masked, and belongs to no key.",
    "html.products": "q · k of `{query}` and `{key}`, the largest products first",
    "html.term": "{name} = {value}: what the distance between the two adds.",
    "html.row": "the row of `{query}`, the largest first",
    "html.sum": "Σ",
    "html.summed": "z of `{query}`, {column}: weight × v of every key that it sees",
    "html.pulled": "head_output of `{query}`, {column}: z times a column of W_O",
    "html.length": "The length of z·W_O for `{query}` is {length}. The page holds no W_O, but a "
    "triangle that gives the same lengths.",
    "html.sum_what": "What `{query}` and the others take from each token's value, by weight.",
    "html.looks": "`{query}` looks at, the most first",
    "html.weight_now": "weight",
    "html.weight_before": "before",
    "html.rest": "`output` is the sum of every head's `head_output`, as the model computed it.",
    "html.rest_changed": "`output` is the sum of every head's `head_output`, as it was before the "
    "what-if.",
    "html.why": "The arithmetic of a cell",
    "html.invite": "Point at a cell, or go to a table with Tab and walk in it with the arrow keys: "
    "what the number is made of stands here.",
    "html.invite_next": " So it is with the logits at the end.",
    "html.ending": "The way to the prediction",
    "html.stream": "In every layer attention and a feed-forward network add to x. What they add, "
    "by its length:",
    "html.stream_of": "lengths of the vectors of `{query}`",
    "html.stream_x": "x",
    "html.stream_attention": "attention",
    "html.stream_cross": "cross-attention",
    "html.stream_middle": "normalised",
    "html.stream_mlp": "feed-forward",
    "html.stream_inner": "normalised again",
    "html.stream_convolution": "convolution",
    "html.stream_next": "x after the layer",
    "html.elsewhere": "This is not the query that is followed above: the prediction is made at "
    "position {position}.",
    "html.stays": "The prediction is the one before the what-if. To see it move, type the change: "
    "attn trace with --attention-temperature, --mask or --without scale.",
    "html.nothing_next": "Nothing is predicted here.",
    "html.candidates": "candidates, the likeliest first",
    "html.candidate": "{token}: {column}",
    "html.share": "A probability is a token's power of e as a share of all tokens' powers.",
    "html.logit": "final · the row of {token} in the output matrix, the largest products first",
    "html.dot": "dot product",
    "html.square_cross": "rows: queries (target), columns: keys (source)",
    "html.all_tokens": "the tokens",
    "html.rows_shown": "rows {first}–{last} of {count}",
    "html.columns_shown": "columns {first}–{last} of {count}",
    "html.turn_rows_back": "{name}: earlier rows",
    "html.turn_rows_on": "{name}: later rows",
    "html.turn_columns_back": "{name}: earlier columns",
    "html.turn_columns_on": "{name}: later columns",
    "html.value": "value",
    "html.of_token_embedding": "What this token's row of the embedding table holds here.",
    "html.of_position_embedding": "What the vector of this position holds here.",
    "html.of_type_embedding": "What the vector of this token's segment holds here.",
    "html.of_key_x": "What the encoder gave for this token of the source: keys and values are "
    "made of it.",
    "html.of_mlp_output": "What the layer's feed-forward network gives for this token, before "
    "any norm that follows.",
    "html.sum_of": "{name}, column {column}: a sum",
    "html.no_facts": "The document does not say how the model makes this number.",
    "html.no_angles": "It is rotated by angles that the document does not hold.",
    "html.x_of": "x of {place}",
    "html.x_given": "This entry of x is what the part of the model before this one gave.",
    "html.x_made": "This entry of x is made of the embedding by a matrix that the page does not "
    "hold.",
    "html.no_map": "It is multiplied with a learned matrix that this page does not hold: one of "
    "fewer layers and heads, or of a smaller model, does.",
    "html.product": "product",
    "html.mapped": "{name} × column {column} of the matrix, the largest products first",
    "html.clipped": "Clipped, to stay between −{clip} and {clip}: {value}",
    "html.then_rotated": "This is rotated by the position and then normalised.",
    "html.norm": "{name} = ({of}{minus}) ÷ root{times}{plus} = {sum} = {value}",
    "html.norm_mean": " − mean",
    "html.norm_weight": " × weight",
    "html.norm_bias": " + bias",
    "html.norm_unknown": "A norm makes of this {sum}, and then, by what it has learned for this "
    "column and the page does not hold, {value}",
    "html.norm_then_clipped": "This model normalises it and then clips the result, which does not "
    "follow from what the page holds.",
    "html.norm_of_all": "A norm of all heads together follows, and this page holds only some of "
    "them.",
    "html.unrotated": "Dimension {column} is not rotated: it is as it was.",
    "html.output_of_all": "It is the sum of every head's head_output at this column, and of the "
    "bias if there is one. This page does not hold all of these numbers.",
    "html.of_distance": "{name}: a product with the vector of the distance, the largest first",
    "html.bias_learned": "bias = {value}: what this head has learned for the distance between "
    "the two.",
    "html.bias_position": "bias = {slope} × the key's position {key} = {value}",
    "html.bias_rounded": "bias = {slope} × the key's position {key} = {value}, position and "
    "product rounded to bfloat16",
    "html.bias_distance": "bias = {slope} × (the key's position {key} − {last}) = {value}",
    "html.logit_is": "logit = {x}{scale}{bias} = {value}",
    "html.logit_scale": " × {scale}",
    "html.logit_bias": " + {bias}",
    "html.logit_capped": "logit = {cap} · tanh(({x}{scale}{bias}) ÷ {cap}) = {value}",
    "html.power": "e^(logit − largest) = e^({logit} − {top}) = {power}",
    "html.share_is": "probability = power ÷ sum of all powers = {power} ÷ {total} = {value}",
    "html.others": "All other tokens together: their powers add up to {power}, and {power} ÷ "
    "{total} = {value}.",
    "html.choice": "choice {rank}",
    "html.expert": "`{token}` passes expert {expert}",
    "html.expert_share": "The output of expert {expert} is multiplied by {share} before those of "
    "all chosen experts are added.",
    "html.vectors": "Vectors of the model's width are told by their lengths, so that the page "
    "stays small. A page of fewer layers or heads shows their numbers.",
    "html.halves": "Vectors of the model's width are kept in half precision here, about three "
    "digits; q, k and v are float32.",
    "html.too_large": "{tokens} of these layers and heads make a page of {size} MB; it holds at "
    "most {most} MB and {most_tokens} tokens",
    "html.fits": "--layer and --head choose fewer; with these {tokens} tokens fit",
    "html.fits_none": "--layer and --head choose fewer",
}
