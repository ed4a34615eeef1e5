"""English: every sentence a user reads in a result, by key; callers fill in `{names}`."""

SENTENCES = {
    # notes
    "note.mark": "a byte order mark at the start of {where} was dropped",
    "note.unknown": "not in the vocabulary of {model}, read as [UNK]: {words}",
    "note.older": "these tokens are those of transformers 5; transformers 4 reads this tokenizer "
    "differently and gives the ids {ids}",
    "note.ended": "{count} of {asked} tokens: the model ended its text",
    "note.full": "{count} of {asked} tokens: the context of {context} is full",
    "note.continued": "the {count} tokens after the prompt were added by the unchanged model",
    "note.ignored": "the config key {key} was ignored, as --ignore-config asks",
    "note.keys": "the config has keys that mean nothing to the reference library: {keys}",
    "note.left_aside": "tensors of a head that predicts no tokens were left aside: {tensors}",
    "note.no_output": "{model} has no output matrix, so there is no prediction",
    "note.chat": "the prompt is a user's turn in the chat format {format}, without a system turn",
    "note.untied": "{copy} is in the file and is not {original}; the config says that it is "
    "(tie_word_embeddings), so that {original} is used",
    "note.logits": "{count} logits are NaN or infinite: the prediction cannot be trusted",
    "note.no_tokenizer": "{problem}; tokens are shown as their ids",
    "note.hidden_row": "layer {layer}: no key is visible to query {rows}; its weights and z are 0",
    "note.nonfinite": "layer {layer}: {count} numbers of {name} are NaN or infinite",
    "note.sample_prompt": "no text given: using the sample prompt",
    "note.waiting": "reading the prompt from standard input; Ctrl-D ends it",
    "note.blank_lines": "{count} blank lines were left out",
    # what pages have in common
    "page.model": "{family} · {layers} × {heads} · width {width} ({head_width} per head)",
    "page.layers_one": "1 layer",
    "page.layers_many": "{count} layers",
    "page.heads_one": "1 head",
    "page.heads_many": "{count} heads",
    "page.layer": "layer {layer}",
    "page.head": "layer {layer} · head {head}",
    "page.tokens_one": "1 token",
    "page.tokens_many": "{count} tokens",
    "page.more": "… {count} more",
    "page.terms": "… {count} more terms",
    "column.query": "query",
    "column.key": "key",
    "column.token": "token",
    "column.weight": "weight",
    "column.head_number": "head",
    "column.head": "head {head}",
    "column.probability": "probability",
    "column.name": "name",
    "column.step": "step",
    "column.array": "array",
    # the six steps: what each is, for someone who has never seen the formula
    "embed.what": "Each token becomes a list of {width} numbers that training has placed so that "
    "directions carry meaning. Where the token stands adds a second list; x is their sum.",
    "embed.random": "Each token becomes a list of {width} numbers, random ones here: this model "
    "has not been trained. Where the token stands adds a second list; x is their sum.",
    "embed.plain": "Each token becomes a list of {width} numbers that training has placed so that "
    "directions carry meaning{made}. Its position is not added here: {where}.",
    "embed.token": "",
    "embed.scaled": ", multiplied by √{width} on the way in",
    "embed.normed": ", brought to a common scale by a layer norm on the way in",
    "embed.projected": "The vectors stored are of another width: `token_embedding` is what a "
    "matrix, learned as well, makes of them.",
    "embed.given": "What enters layer {layer}: what the layer before it gave, which is not a mere "
    "sum here: a norm acts on the whole of it in every layer.",
    "embed.turned": "it turns queries and keys in step 2",
    "embed.biased": "it enters in step 4, as a bias on the scores",
    "embed.sum": "x = their sum",
    "embed.title_token": "x = token vector",
    "embed.title_scaled": "x = token vector × √{width}",
    "embed.title_normed": "x = layer norm of the token vector",
    "embed.title_stream": "x = what the layers before have left",
    "embed.stream": "What enters layer {layer}: the token's vector plus everything the layers "
    "before it have added. This sum is called the residual stream.",
    "embed.here": "For `{query}` the token gives a vector of length {token}, position {position} "
    "adds one of length {place}, and their sum x has length {x}.",
    "project.what": "Three linear maps, learned in training, turn each vector into a query, a key "
    "and a value. The query asks, the key answers, the value is what moves.",
    "project.random": "Three linear maps turn each vector into a query, a key and a value. Their "
    "numbers are random here, before any training: what follows is right, but means nothing yet.",
    "parameters.elided": "… part of {name} is left out; --full shows all of it",
    "project.normed": "They start from `normed`: x after the {norm}, which brings every vector "
    "to a common scale.",
    "norm.layer": "layer norm",
    "norm.rms": "RMS norm",
    "project.bias": "To each product the bias of its map is added (--parameters shows W and b).",
    "project.title_heads": "q, k = norm(normed·W_Q, normed·W_K)   v = normed·W_V",
    "project.heads": "Each query and each key is then brought to a common scale by an RMS norm of "
    "its own; what is below comes behind it.",
    "project.partial": "Of the {width} numbers of a head only the first {count} turn.",
    "project.stretched": "What turns is made {ratio} times as long on the way.",
    "project.rotary": "Rotary positions: pairs of numbers of each query and key are turned by an "
    "angle that grows with the position, so that their dot product depends on the distance.",
    "dot.what": "How well does each key answer each query? Multiply number by number and add: one "
    "score for every pair of tokens.",
    "dot.here": "Of the keys it may see, `{key}` answers `{query}` best:",
    "scale.what": "Dividing by √{width}, the root of the head's width, keeps scores in the range "
    "where softmax can still choose.",
    "scale.other": "The scores are multiplied by {scale} to keep them in the range where softmax "
    "can still choose.",
    "scale.title_capped": "scaled = c·tanh(scores × scale / c)   masked = −∞ if hidden",
    "scale.title_biased": "scaled = scores × scale + bias   masked = −∞ where hidden",
    "scale.capped": "Then a soft cap bends each to stay between −{cap} and {cap}: {cap} · "
    "tanh(scaled / {cap}).",
    "scale.biased": "To this a bias is added that depends on positions alone; `scaled` holds it. "
    "Here it is {slope} for each position of the key, so that nearer keys gain on earlier ones.",
    "mask.what": "The mask hides {hidden} of {cells} cells. A hidden cell is −∞, which softmax "
    "turns into 0.",
    "mask.causal": "It keeps the future from the past: while training, each word is guessed from "
    "those before it, so no query may look at a later key.",
    "mask.window": "A window: each query sees itself and, at most, the {before} tokens before it.",
    "mask.nothing": "Nothing is hidden: every query sees every key.",
    "project.title": "q = normed·W_Q   k = normed·W_K   v = normed·W_V",
    "softmax.what": "e to the power of each of a query's scores, divided by the sum of them: each "
    "query's shares add up to 1. Larger scores take more than their part.",
    "softmax.heated": "Before that, every number is divided by the attention temperature "
    "{temperature}.",
    "softmax.here": "`{query}` looks at",
    "sum.what": "Each token takes the values of the tokens it looks at, in those shares. What "
    "`{query}` takes from each, and the sum:",
    "sum.pull": "Through the head's slice of W_O, z becomes head_output: the vector by which this "
    "head pulls each token.",
    "sum.removed": "--without-head removed this head: whatever z is, its head_output is 0, and it "
    "pulls no token.",
    "sum.table": "weight × v   {keys} and the sum",
    "sum.part": "weight × v   {keys} of {all}, the others together, and the sum of all",
    "sum.key_one": "1 key",
    "sum.key_many": "{count} keys",
    "sum.others": "other keys",
    "sum.output": "The block's output adds up the pulls of all {heads} heads{bias}; {then}.",
    "sum.added": "it is added to x",
    "sum.normed": "a norm of its own brings it to scale before it is added to x",
    "sum.after": "it is added to x, and a norm brings the sum to scale",
    "sum.onto_normed": "it is added to `normed`, not to x",
    "sum.bias": " and the bias b_O",
    "sum.here": "This head pulls `{query}` by {pull} (the block's whole pull is {output}; cosine "
    "between them {cosine}).",
    "next.title": "next token after all {layers} layers",
    "next.what_if": "next token after all {layers} layers, under the what-if settings",
    "axes.rows_queries": "rows: queries   columns: keys",
    "axes.rows_keys": "rows: keys   columns: queries",
    "axes.tokens": "rows: tokens   columns: {axis}",
    "axes.matrix": "rows: {rows}   columns: {columns}",
    "trace.too_many": "{count} tables are not printed; --full prints them all, --layer, --head or "
    "--step fewer",
    "trace.what_if": "what-if: {changes}; the arrays it touches are marked",
    # heads
    "heads.headline": "In layer {layer}, head {sharpest} looks most sharply (entropy {entropy} "
    "bits) and head {strongest} pulls `{query}` hardest ({norm}).",
    "heads.nothing": "In layer {layer} no head can be ranked: their numbers are NaN or infinite.",
    "heads.last": "… the last {shown} of {count} tokens; --full shows all",
    "heads.grids": "weights   each row a query, each column a key, fuller = more",
    "heads.columns": "weights   each column a query, each row a key, fuller = more",
    "heads.summary": "each head in one row   shares: mean over the queries after the first",
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
    # mask
    "mask.headline": "{mask}: {removed} of {cells} cells hidden, {added} opened; {effect}, and "
    "{token} goes from {before} to {after}.",
    "mask.headline_alone": "{mask}: {removed} of {cells} cells hidden, {added} opened; {effect}.",
    "mask.moves": "`{query}` moves {moved} of its attention",
    "mask.vanishes": "`{query}` sees no key any more and all its attention is gone",
    "mask.appears": "`{query}` saw no key before and now does",
    "mask.gone": "all gone",
    "mask.new": "all new",
    "mask.none": "no mask",
    "mask.own": "the model's own mask",
    "mask.compared": "before = {before}   after = {after}   layer {layer} · head {head}",
    "mask.picture": "the mask   ● sees   · hidden   − hidden by it   + opened by it",
    "mask.why": "Why the future must not reach the past: in training every position guesses its "
    "next token at once. Could a query see later keys, it would read the answer instead of "
    "predicting it, and at work, when there is no future yet, it would know nothing.",
    "mask.removed": "cells it hides, with the scaled score and the weight they had",
    "mask.added": "cells it opens, with the scaled score they had",
    "mask.more": "… {count} more (--full shows all)",
    "mask.moved": "each token: attention moved to other keys, and how far `output` moves",
    "mask.next": "next token, before and after",
    "mask.weights_before": "weights before",
    "mask.weights_after": "weights after",
    "mask.column_moved": "moved",
    "mask.column_change": "change of output",
    "mask.column_length": "its length before",
    "mask.column_before": "before",
    "mask.column_after": "after",
    "mask.same": "This mask changes nothing here.",
    # sample
    "sample.takes": "Temperature {temperature} takes {amount} from {token}{others}.",
    "sample.gives": "Temperature {temperature} gives {amount} to {token}{others}.",
    "sample.and_gives": " and gives {amount} to {token}",
    "sample.and_takes": " and takes {amount} from {token}",
    "sample.neutral": "Temperature 1 leaves the probabilities as the model gives them.",
    "sample.filtered": "With {filters}, {kept} of {total} tokens are left: {token} goes from "
    "{before} to {after}.",
    "sample.greedy": "Temperature 0 takes the likeliest token, {token}, every time.",
    "sample.order": "applied in this order: {order}",
    "sample.candidates": "candidates for the token after `{query}`   {kept} of {total} tokens left",
    "sample.drawn": "drawn with seed {seed}",
    "sample.text": "{prompt} → {text}",
    "sample.counts": "{draws} draws with seed {seed}: expected and observed shares",
    "sample.sweep": "the same candidates at each temperature",
    "sample.column_position": "position",
    "sample.column_logit": "logit",
    "sample.column_before": "at 1",
    "sample.column_expected": "expected",
    "sample.column_observed": "observed",
    "sample.column_count": "count",
    # loss
    "loss.headline": "{right} of {count} next tokens are the model's best guess; the mean loss is "
    "{mean} nats, as uncertain as choosing among {perplexity} tokens.",
    "loss.what": "One pass answers every row at once: the causal mask lets each position see only "
    "the tokens before it, so {predictions} from one sentence. "
    "loss = −ln(probability of the token that really comes next).",
    "loss.one": "{right} of 1 next token is the model's best guess; the loss is {mean} nats, as "
    "uncertain as choosing among {perplexity} tokens.",
    "loss.nan": "{broken} of {count} losses are not numbers (NaN); {right} of the others are of "
    "the model's best guess.",
    "loss.trained_one": "1 prediction is trained",
    "loss.trained_many": "{count} predictions are trained",
    "loss.title": "each position and its next token",
    "loss.column_after": "after",
    "loss.column_comes": "comes",
    "loss.column_rank": "rank",
    "loss.column_loss": "loss",
    "loss.column_best": "best guess",
    "loss.column_its": "its probability",
    # train
    "training.step": "step {step} / {steps}",
    "training.progress": "{tokens} tokens/s   {left} left",
    "training.loss": "loss {loss}   floor {floor}   above {above}   nats per token",
    "training.attention": "how much the last token of `{prompt}` looks at `{key}`",
    "training.neighbours": "nearest to `{word}`: words of similar vectors, by cosine",
    "training.moved": "`{word}` has moved {moved} from its random start",
    "training.now": "now",
    "training.start": "at the start",
    "training.line": "step {step} of {steps}   loss {loss}   floor {floor}   {tokens} tokens/s   "
    "{left} left",
    "training.result": "{checkpoint}: {steps} steps in {time}; loss {loss} nats per token, {above} "
    "above the entropy floor of what was drawn. Heads are saved in the order of their attention to "
    "the watched token.",
    "training.saved": "saved after step {step}; go on with: {again}",
    "training.saved_model": "the model after step {step} is saved in {directory}",
    # verify
    "verify.headline": "{verdict}: the largest error in {layers} layers is {error}.",
    "verify.what": "An error is max |a − b| / max(1, max |b|) of a row. Below 5e-5 is normal for "
    "float32, 1e-4 or more is suspect.",
    "verify.float64": "against float64: steps 1 and 2 by a whole pass, steps 3 to 6 each from the "
    "step before",
    "verify.reference": "against {source}",
    "verify.column_error": "largest error",
    "verify.column_layer": "in layer",
    "verify.column_verdict": "verdict",
    "verdict.normal": "normal",
    "verdict.high": "high",
    "verdict.suspect": "suspect",
    # models
    "models.package": "in packages",
    "models.hub": "in the Hugging Face cache",
    "models.ollama": "in the store of Ollama",
    "models.broken": "✗ {name}{family} does not open: {reason}",
    "models.looked": "Looked through: {folders}",
    "models.tiny": "trained, in attn",
    "models.packaged": "from a package",
    "models.random": "untrained, any shape",
    "models.folder": "PATH: a .gguf file, or a folder with config.json and its weights",
    "models.parts": "parameters and bytes by part",
    "models.tensors": "tensors",
    "models.config": "config",
    "models.any": "any",
    "models.family": "family",
    "models.parameters": "parameters",
    "models.size": "size",
    "models.quantisation": "quantisation",
    "models.key": "key",
    "models.value": "value",
    "models.each_layer": "{value} in each of {count} layers",
    "models.part": "part",
    "models.total": "total",
    "models.dtype": "dtype",
    "models.shape": "shape",
    "models.tokens": "The tokenizer knows {size} tokens.",
}
