"""English: the page of `attn cost`."""

SENTENCES = {
    "cost.headline": "{model} has {parameters} parameters. At {tokens} its {matrices} "
    "{weights} weights, and attention takes {share} of the operations.",
    "cost.headline_one": "attention matrix holds",
    "cost.headline_many": "{count} attention matrices hold",
    "cost.tokens_one": "1 token",
    "cost.tokens_many": "{count} tokens",
    "cost.bytes": "All parameters take {float32} in float32 (4 bytes each) and {bfloat16} in "
    "bfloat16 (2 bytes each).",
    "cost.parts": "parameters by part",
    "cost.part": "part",
    "cost.shapes": "one layer's tensors",
    "cost.per_layer": "in one layer",
    "cost.layers": "layers",
    "cost.parameters": "parameters",
    "cost.total": "total",
    "cost.up_to": "≤ {count}",
    "cost.embedding": "embedding",
    "cost.positions": "positions",
    "cost.types": "segment types",
    "cost.query_latent": "to q_latent",
    "cost.query": "W_Q",
    "cost.kv_latent": "to kv_latent",
    "cost.key": "W_K",
    "cost.key_rotated": "W_K, rotated",
    "cost.value": "W_V",
    "cost.attention_output": "W_O",
    "cost.sinks": "sinks",
    "cost.feed_forward": "feed-forward",
    "cost.router": "router",
    "cost.shared_experts": "shared expert",
    "cost.experts": "experts",
    "cost.biases": "biases",
    "cost.norms": "norms",
    "cost.norms_outside": "norms outside",
    "cost.output": "output matrix",
    "cost.head_outside": "output, others",
    "cost.other": "other maps",
    "cost.of_encoder": "encoder {part}",
    "cost.of_decoder": "decoder {part}",
    "cost.of_cross": "cross {part}",
    "cost.layers_one": "1 layer",
    "cost.layers_many": "{count} layers",
    "cost.heads_one": "1 head",
    "cost.heads_many": "{count} heads",
    "cost.layer": "layers, × {count}",
    "cost.layer_dense": "dense layers",
    "cost.layer_sparse": "sparse layers",
    "cost.layer_attention": "with attention",
    "cost.layer_mixer": "no attention",
    "cost.embedding_is": "The embedding has a row of {width} numbers for each of {vocabulary} "
    "tokens: {vocabulary} × {width} = {product}.{tied}",
    "cost.tied": " The output matrix is the same one, so it is counted once.",
    "cost.the_head": "The head of a layer",
    "cost.each_head": "Each of the {count} heads of a layer",
    "cost.head": "{heads} has {width} dimensions: its share of W_Q is "
    "{model} × {width} = {share}, and so is that of W_K, W_V and W_O, {four} together.",
    "cost.head_grouped": "{heads} has {width} dimensions: its share "
    "of W_Q is {model} × {width} = {share}, and so is that of W_O. {group} heads share the keys "
    "and values of one kv head, so W_K and W_V have {shares}, not {all}.",
    "cost.shares_one": "1 such share",
    "cost.shares_many": "{count} such shares",
    "cost.head_latent": "{heads} has queries and keys of {width} dimensions and values of {value}: "
    "its share of W_Q is {model} × {width} = {share}. Of the latent, W_K makes the first {key} "
    "dimensions of its key, a share of {latent} × {key} = {of_key}, and W_V its value, {latent} × "
    "{value} = {of_value}. The last {rotated} dimensions of a key, which rotate, are the same in "
    "every head.",
    "cost.shared": "All {layers} layers use the tensors of {stored}: they are counted once, and "
    "multiplied with {layers} times.",
    "cost.cells": "cells: one number for each query, key, head and layer",
    "cost.cells_are": "The mask has n × n cells: {visible}. Each head of each layer has a matrix "
    "of that size: {blocks}.",
    "cost.cells_windowed": "The mask has n × n cells: {visible}. Each head has such a matrix; "
    "where a window bounds the keys of a query, only those are counted: {blocks}.",
    "cost.visible_causal": "n · (n + 1) / 2 are not hidden, those of keys that are not after their "
    "query",
    "cost.visible_all": "none is hidden",
    "cost.visible_window": "not hidden are those within the window",
    "cost.visible_causal_some": "n · (n + 1) / 2 are not hidden in the layers without a window",
    "cost.visible_all_some": "none is hidden in the layers without a window",
    "cost.block": "{heads} × {layers} × {cells}",
    "cost.square": "n²",
    "cost.band": "n·min(n, {keys})",
    "cost.and": "{first} + {rest}",
    "cost.context": "tokens",
    "cost.mask": "mask",
    "cost.visible": "not hidden",
    "cost.weights_one": "in 1 matrix",
    "cost.weights_many": "in {count} matrices",
    "cost.float32": "float32",
    "cost.bfloat16": "bfloat16",
    "cost.cache": "KV cache: what later tokens need of earlier ones",
    "cost.cache_is": "2 · n · {blocks} numbers: a key and a value for each token, kv head and "
    "layer.",
    "cost.cache_block": "{layers} · {kv_heads} · {width}",
    "cost.kv_heads_one": "1 kv head",
    "cost.kv_heads_many": "{count} kv heads",
    "cost.together": "({terms})",
    "cost.cache_grouped": "With keys and values for all {heads} heads it would be {times} times "
    "as large.",
    "cost.latents_are": "n · {layers} · ({latent} + {rotated}) numbers: of each token and layer "
    "the latent, of which every head's key and value are made, and the {rotated} dimensions of the "
    "key that rotate (DeepSeek-AI 2024). The reference library's cache holds these.",
    "cost.cache_whole": "the same as keys and values of every head",
    "cost.whole_is": "n · {layers} · {heads} · ({key} + {value}) numbers: {ratio} times as many. "
    "attn keeps these, so as not to make them again for every token that is added.",
    "cost.cache_windowed": "Where a window bounds the keys, n is at most its width.",
    "cost.cache_cross": "Those of cross-attention are made once, from the source.",
    "cost.no_cache": "An encoder reads a text at once and writes none, so it keeps no keys and "
    "values for later.",
    "cost.numbers": "numbers",
    "cost.operations": "operations of one pass   share: attention's part of both",
    "cost.attention_is": "Attention: 4 · n² · width · layers, half of it for q·kᵀ and half for "
    "weights·v: {blocks}.",
    "cost.attention_windowed": "Attention: 4 · n · keys · width · layers, half of it for q·kᵀ and "
    "half for weights·v: {blocks}.",
    "cost.attention_latents": "Attention: 2 · n² · (width of all queries + width of all values) · "
    "layers, the one for q·kᵀ and the other for weights·v: {blocks}.",
    "cost.work_apart": "2 · {cells} · ({width} + {value}) · {layers}",
    "cost.work": "4 · {cells} · {width} · {layers}",
    "cost.others_are": "The rest: 2 · n · {multiplied}, a multiplication and an addition for each "
    "parameter that a token meets{output}. Norms, softmax and activations are not counted.",
    "cost.of_experts": "Of the {count} experts in a layer a token meets {used}; the parameters "
    "of the others are not counted.",
    "cost.with_output": "; {output} of these are the output matrix, at every token as in training",
    "cost.masked_too": "What a causal mask hides is counted: ordinary programs compute it and "
    "throw it away. Those that skip it do about half of the attention.",
    "cost.attention": "attention",
    "cost.others": "the rest",
    "cost.share": "share",
    "cost.overtakes": "Attention grows with n², the rest with n. They are equal at n = 2 · "
    "{multiplied} / ({times} · {wide}): from {tokens} tokens on, attention takes more{context}.",
    "cost.overtakes_windowed": "Attention takes more than the rest from {tokens} tokens "
    "on{context}.",
    "cost.beyond": ", beyond the {context} that the model was trained on",
    "cost.within": ", within the {context} that the model was trained on",
    "cost.never": "Attention never overtakes the rest: every query has at most {keys} keys, so "
    "beyond that it grows with n, too.",
    "cost.disentangled": "Products of positions with queries and keys (the terms of disentangled "
    "attention) come on top and grow with n.",
    "cost.stacks": "n is the number of tokens in each stack, source and target alike.",
    # notes
    "cost.longer": "{name} was trained on {context} tokens; {tokens} are more: what they cost is "
    "counted, not whether it works",
    "cost.sparse": "{name} was published with sparse attention in every other layer; here every "
    "layer counts as dense",
}
