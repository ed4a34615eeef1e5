"""English: notes, and what pages have in common."""

SENTENCES = {
    # notes
    "note.mark": "a byte order mark at the start of {where} was dropped",
    "note.not_compared": "{where} also holds what is not compared: {names}",
    "note.unknown": "not in the vocabulary of {model}, read as {unknown}: {words}",
    "note.letters": "not in the vocabulary of {model}, cut into pieces: {words}; {case}another "
    "--model may have them",
    "note.older": "these tokens are those of transformers 5; transformers 4 reads this tokenizer "
    "differently and gives the ids {ids}",
    "note.ended": "{count} of {asked} tokens: the model ended its text",
    "note.full": "{count} of {asked} tokens: the context of {context} tokens is full",
    "note.beyond": "{tokens}, {more} more than the context that {model} was trained on",
    "note.within": "--force-context changes nothing here: nothing is beyond the context of {model}",
    "note.continued": "the unchanged model added {tokens} after the {read}",
    "note.continued_what_if": "{tokens} after the {read}: added by the model under the what-ifs",
    "note.no_window": "{mask} has no effect: there is no window (--mask window:N)",
    "note.no_effect": "{changes} changes nothing that is shown here",
    "note.ignored": "the config key {key} counts as absent, as --ignore-config asks",
    "note.keys": "the config has keys that mean nothing to the reference library: {keys}",
    "note.text": "only the text part of this model is read and counted: {tensors} for pictures, "
    "with {parameters} parameters, left out",
    "note.tensors_one": "1 tensor",
    "note.tensors_many": "{count} tensors",
    "note.aside": "tensors of an output head that predicts no tokens were left aside: {tensors}",
    "note.quantised": "the weights are quantised ({how}): attn computes in float32 with the "
    "numbers that they stand for",
    "note.unpacked": "the config says that the weights are quantised ({how}), but the file has "
    "plain numbers: these are read, as they are",
    "note.rounds": "the weights are quantised ({how}): attn computes in float32 with the numbers "
    "that they stand for, and does not round what enters a matrix, as the library that they are "
    "for does",
    "note.no_output": "{model} has no output matrix, so there is no prediction",
    "note.chat": "the prompt is a user's turn in the chat format {format}, without a system turn",
    "note.untied": "{copy} differs from {original}, so it is the output matrix, although the "
    "config ties the two (tie_word_embeddings): transformers 5 does the same",
    "note.logits": "NaN or infinite logits: {count:,}; the prediction cannot be trusted",
    "note.no_tokenizer": "{problem}; tokens are shown as their ids",
    "note.hidden_row": "{where}: no visible key for query {rows}; weights and z are 0",
    "note.hidden_row_sink": "{where}: no visible key for query {rows}; weights and z are 0, the "
    "sink has all",
    "note.tensor": "NaN or infinite numbers in {name}: {count:,} of {all:,}",
    "note.more_tensors": "{count} further tensors hold such numbers too",
    "note.layer": "{where} is the first whose vectors hold NaN or infinity: {count:,} of {all:,} "
    "numbers",
    "note.nonfinite": "{where}: NaN or infinite numbers in {name}: {count:,}",
    "note.numbers": "NaN or infinite numbers in this result: {count:,} of {all:,}; attn trace says "
    "where they begin",
    "note.sample_prompt": "no text given: using the sample prompt",
    "note.waiting": "reading the prompt from standard input; Ctrl-D ends it",
    "note.unused": "{option} changes nothing here: {format} is written in full",
    "note.blank_lines": "{count} blank lines were left out",
    "note.blank_line": "1 blank line was left out",
    "note.no_step": "--parameters adds nothing to the steps that are shown",
    "note.case": "lower case or ",
    "note.no_mask_token": "the prompt has no {mask}, so there is no prediction",
    "note.no_target": "no --target: the decoder reads its start token {start} alone",
    "note.written": "what the decoder writes from here, always with the likeliest token: `{text}`",
    "note.no_weights": "weights are left out beyond {most:,} tokens; attn trace gives those of "
    "chosen heads and queries",
    "note.no_mask_known": "the tokenizer of {model} does not say which token is its mask, so "
    "there is no prediction",
    "note.said": "note: {said}",
    # while a pass goes on
    "progress.line": "{where} {done} of {layers} · {elapsed} ({left} left) · {tokens} · "
    "{read} of {size} read",
    "progress.scan": "{parts} · {read} of {size} · {tokens}, {speed} a second · "
    "{elapsed} ({left} left) · {workers}",
    "progress.scan_begun": "{parts} · {tokens}, {speed} a second · {elapsed} · {size} to "
    "read · {workers}",
    "progress.parts_one": "{count} part",
    "progress.parts_many": "{count} parts",
    "progress.workers_one": "{count} worker",
    "progress.workers_many": "{count} workers",
    "progress.encoder": "encoder layer",
    "progress.decoder": "layer",
    "progress.passes": "passes without heads: layer",
    # what pages have in common
    "page.model": "{family} · {stack} · width {width} ({head_width} per head)",
    "mixer.convolution": "a gated short convolution",
    "mixer.other": "something else than attention",
    "page.layers_some": "{layers}, with attention in {which} and {others} in the others",
    "page.each": "in each",
    "page.each_some": "in each with attention",
    "page.layers_one": "1 layer",
    "page.layers_many": "{count} layers",
    "page.heads_one": "1 head",
    "page.heads_many": "{count} heads",
    "page.what_if": "what-if: {changes}",
    "page.layer": "layer {layer}",
    "page.head": "{where} · head {head}",
    "page.tokens_one": "1 token",
    "page.tokens_many": "{count} tokens",
    "page.more": "… {count} more",
    "page.opening": "A model reads text as {tokens}, and turns each into a vector of {width} "
    "numbers. It has {layers}; {each}, {heads} tokens take information from one another. This "
    "page follows `{query}` {through}{onward}. A token plays three parts, so it gets three "
    "vectors: its query asks, its key is matched with queries, its value is what others "
    "take.{marks}",
    "page.tokens": "tokens, here {count}",
    "page.head_one": "1 head lets",
    "page.head_many": "{count} heads let",
    "page.through": "through head {head} of {where}",
    "page.all": "through the heads below",
    "page.marks": " In token names, {marks}.",
    "page.mark_space": "`␣` is a space that belongs to the token",
    "page.mark_pieces": "`##` continues the word before it",
    "page.mark_twice": "`·0` is the position, where two tokens look alike",
    "page.two": "{first}, and {rest}",
    "page.try": "try next",
    "page.try_why": "Every term of `{query}` · `{key}`, and the way to its weight: {command}",
    "page.try_mask": "`{query}` looks at `{key}` most. Hide it: {command}",
    "page.try_heads": "All heads of this layer side by side: {command}",
    "page.onward": " and on to the next token",
    "page.on": "{first} {rest}",
    "page.layer_encoder_self": "encoder layer {layer}",
    "page.layer_decoder_self": "decoder layer {layer}",
    "page.layer_decoder_cross": "decoder layer {layer} (cross-attention)",
    "page.stacks": "an encoder of {encoder} and a decoder of {decoder}",
    "page.onward_mask": " and on to the token that fills it",
    "page.stack": "{layers} × {heads}",
    "page.target": "target",
    "page.model_two": "{family} · width {width} ({head_width} per head)",
    "page.stacks_of": "encoder {encoder} · decoder {decoder}",
    "page.try_cross": "What the decoder takes from the source: {command}",
    "table.colours": "Colours: blue above zero, red below; bold where a number is more than half "
    "its table's largest.",
    "column.query": "query",
    "column.key": "key",
    "column.sink": "(sink)",
    "column.token": "token",
    "column.weight": "weight",
    "column.head_number": "head",
    "column.head": "head {head}",
    "column.probability": "probability",
    "column.name": "name",
    "column.step": "step",
    "column.array": "array",
    "column.length": "length",
    "column.after": "after",
    "column.logit": "logit",
    "column.others": "{count} others",
}
