"""English: every sentence a user reads in a result, by key; callers fill in `{names}`."""

SENTENCES = {
    # notes
    "note.mark": "a byte order mark at the start of {where} was dropped",
    "note.unknown": "not in the vocabulary of {model}, read as [UNK]: {words}",
    "note.letters": "not in the vocabulary of {model}, cut into pieces: {words}; {case}another "
    "--model may have them",
    "note.older": "these tokens are those of transformers 5; transformers 4 reads this tokenizer "
    "differently and gives the ids {ids}",
    "note.ended": "{count} of {asked} tokens: the model ended its text",
    "note.full": "{count} of {asked} tokens: the context of {context} tokens is full",
    "note.continued": "the {count} tokens after the prompt were added by the unchanged model",
    "note.continued_what_if": "the {count} tokens after the prompt were added under the what-ifs",
    "note.no_window": "{mask} has no effect: there is no window (--mask window:N)",
    "note.no_effect": "{changes} changes nothing that is shown here",
    "note.ignored": "the config key {key} counts as absent, as --ignore-config asks",
    "note.keys": "the config has keys that mean nothing to the reference library: {keys}",
    "note.aside": "tensors of an output head that predicts no tokens were left aside: {tensors}",
    "note.no_output": "{model} has no output matrix, so there is no prediction",
    "note.chat": "the prompt is a user's turn in the chat format {format}, without a system turn",
    "note.untied": "{copy} in the file differs from {original}, but the config ties the two "
    "(tie_word_embeddings); {original} is used",
    "note.logits": "{count} logits are NaN or infinite: the prediction cannot be trusted",
    "note.no_tokenizer": "{problem}; tokens are shown as their ids",
    "note.hidden_row": "layer {layer}: no visible key for query {rows}; weights and z are 0",
    "note.nonfinite": "layer {layer}: {count} numbers of {name} are NaN or infinite",
    "note.sample_prompt": "no text given: using the sample prompt",
    "note.waiting": "reading the prompt from standard input; Ctrl-D ends it",
    "note.unused": "{option} changes nothing here: {format} is written in full",
    "note.blank_lines": "{count} blank lines were left out",
    "note.blank_line": "1 blank line was left out",
    "note.no_step": "--parameters adds nothing to the steps that are shown",
    "note.case": "lower case or ",
    # what pages have in common
    "page.model": "{family} · {layers} × {heads} · width {width} ({head_width} per head)",
    "page.layers_one": "1 layer",
    "page.layers_many": "{count} layers",
    "page.heads_one": "1 head",
    "page.heads_many": "{count} heads",
    "page.what_if": "what-if: {changes}",
    "page.layer": "layer {layer}",
    "page.head": "layer {layer} · head {head}",
    "page.tokens_one": "1 token",
    "page.tokens_many": "{count} tokens",
    "page.more": "… {count} more",
    "page.opening": "A model reads text as {tokens}, and turns each into a vector of {width} "
    "numbers. It has {layers}; in each, {heads} tokens take information from one another. This "
    "page follows `{query}` {through}{onward}. A token plays three parts, so it gets three "
    "vectors: its query asks, its key is matched with queries, its value is what others "
    "take.{marks}",
    "page.tokens": "tokens, here {count}",
    "page.head_one": "1 head lets",
    "page.head_many": "{count} heads let",
    "page.through": "through head {head} of layer {layer}",
    "page.all": "through the heads below",
    "page.marks": " In token names, {marks}.",
    "page.mark_space": "`␣` is a space that belongs to the token",
    "page.mark_pieces": "`##` continues the word before it",
    "page.mark_twice": "`·0` is the position, where two tokens look alike",
    "page.two": "{first}, and {rest}",
    "page.try": "try next",
    "page.try_mask": "`{query}` looks at `{key}` most. Hide it: {command}",
    "page.try_heads": "All heads of this layer side by side: {command}",
    "page.onward": " and on to the next token",
    "page.on": "{first} {rest}",
    "table.colours": "Colours: blue above zero, red below; bold where a number is more than half "
    "its table's largest.",
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
    "column.length": "length",
    "column.after": "after",
    "column.logit": "logit",
    "column.others": "{count} others",
    # the six steps: what each is, for someone who has never seen the formula
    "embed.random": "These vectors of {width} numbers are random: this model has not been trained.",
    "embed.plain": "The position is not added here: {where}.",
    "embed.scaled": ", multiplied by √{width} on the way in",
    "embed.normed": ", brought to a common scale by a layer norm on the way in",
    "embed.projected": "The stored vectors have another width; a learned matrix projects them to "
    "`token_embedding`.",
    "embed.given": "This is the output of the layer before. In this model it is not a plain sum: "
    "every layer normalises it.",
    "embed.turned": "it rotates queries and keys in step 2",
    "embed.biased": "it enters in step 4, as a bias on the scores",
    "embed.sum": "x = their sum",
    "embed.title_token": "x = token vector",
    "embed.title_scaled": "x = token vector × √{width}",
    "embed.title_normed": "x = layer norm of the token vector",
    "embed.title_stream": "x = what the layers before have left",
    "embed.stream": "The input of layer {layer}: the x of layer 0 plus all that earlier layers "
    "have added. This sum is called the residual stream.",
    "embed.here": "Lengths of these vectors of `{query}`: token {token}, position {position}: "
    "{place}, x {x}.",
    "embed.removed": "--without positions left that second vector out.",
    "embed.trained": "Training has set these vectors of {width} numbers so that directions carry "
    "meaning{made}.",
    "embed.second": "A second vector says where the token stands.",
    "project.what": "Three linear maps, learned in training, turn each vector into a query, a key "
    "and a value.",
    "project.random": "Three linear maps, random here, before any training, turn each vector into "
    "a query, a key and a value.",
    "parameters.elided": "… part of {name} is left out; --full shows all of it",
    "project.normed": "They start from `normed`: x after the {norm}, which brings every vector "
    "to a common scale.",
    "norm.layer": "layer norm",
    "norm.rms": "RMS norm",
    "norm.formula_layer": "{name} = (x − mean) ÷ √(variance + ε) × w_norm + b_norm with ε = "
    "{epsilon}{base}{weights}. For `{query}` the mean is {mean}, the root {root}.",
    "norm.formula_rms": "{name} = x ÷ √(mean of x² + ε) × w_norm with ε = "
    "{epsilon}{base}{weights}. For `{query}` the root is {root}.",
    "norm.formula_plain": "{name} = (x − mean) ÷ √(variance + ε) with ε = {epsilon}. For `{query}` "
    "the mean is {mean}, the root {root}.",
    "norm.one_more": "; w_norm is 1 + the weight in the file",
    "norm.hidden": " (--parameters shows the learned numbers)",
    "project.bias": "Each map adds its bias to the product (--parameters shows W and b).",
    "project.title_heads": "q, k = norm(normed·W_Q, normed·W_K)   v = normed·W_V",
    "project.heads": "An RMS norm then normalises each query and each key; q and k below show the "
    "result.",
    "project.partial": "Only the first {count} of a head's {width} dimensions are rotated.",
    "project.stretched": "The attention factor makes what is rotated {ratio} times as long.",
    "project.rotary": "Rotary position embedding (RoPE): dimensions i and i + {half} rotate "
    "together, (a, b) → (a·cos − b·sin, a·sin + b·cos), by an angle proportional to the position, "
    "so that position affects a dot product only through the distance. The angles of `{query}`, "
    "in radians:",
    "dot.what": "How well does each key match each query? Multiply dimension by dimension and add: "
    "one score for every pair of tokens.",
    "dot.table": "q × k of `{query}`",
    "dot.score": "score",
    "scale.what": "Dividing by √{width} = {root} keeps large scores from saturating softmax.",
    "scale.other": "The scores are multiplied by {scale}, so that large ones do not saturate "
    "softmax.",
    "scale.title_cap": "scaled = {cap}·tanh(scores × {scale} ÷ {cap})   masked = {masked} where "
    "hidden",
    "scale.title_biased": "scaled = scores × {scale} + bias   masked = {masked} where hidden",
    "scale.capped": "A soft cap then bends each score to stay between −{cap} and {cap}.",
    "scale.biased": "Then a bias (ALiBi) is added, and `scaled` includes it. Here it is {slope} × "
    "the key's position, so that nearer keys gain on earlier ones.",
    "scale.title_root": "scaled = scores ÷ √{width}   masked = {masked} where hidden",
    "scale.title_factor": "scaled = scores × {scale}   masked = {masked} where hidden",
    "scale.title_plain": "scaled = scores   masked = {masked} where hidden",
    "scale.plain": "Nothing is divided here: the scale is 1.",
    "scale.value": "With --mask-value they hold {value} instead of −∞.",
    "mask.what": "The mask hides {hidden} of {cells} cells.",
    "mask.causal": "It hides later tokens from earlier ones: this model writes from left to "
    "right{example}. (--layout columns draws queries as columns, as some animations do.)",
    "mask.window": "A window: each query sees itself and, at most, the {before} tokens before it.",
    "mask.nothing": "Nothing is hidden: every query sees every key.",
    "project.title": "q = normed·W_Q   k = normed·W_K   v = normed·W_V",
    "project.angles": "angle",
    "project.pairs": "pairs",
    "project.unturned": "--without positions makes every angle 0.",
    "softmax.what": "Each query's weights add up to 1. The exponential favours larger scores.",
    "softmax.heat": "First the attention temperature {temperature} divides each masked − largest.",
    "softmax.here": "`{query}` looks at",
    "softmax.title": "weights = e^(masked − largest) ÷ their sum, for each query",
    "softmax.title_heated": "weights = e^((masked − largest) ÷ {temperature}) ÷ their sum",
    "softmax.row": "For `{query}` the largest is {top} and the powers of e add up to {total}.",
    "softmax.cold": "At attention temperature 0 the largest score of a row takes all; equal ones "
    "share it.",
    "softmax.hidden": "A hidden cell gets 0 and is drawn as ·.",
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
    "sum.normed": "a norm of its own brings it to scale before it is added to x",
    "sum.after": "it is added to x, and a norm brings the sum to scale",
    "sum.onto_normed": "it is added to `normed`, not to x",
    "sum.bias": " and the bias b_O",
    "sum.here": "Length of the pull on `{query}`: {pull}; of `output`: {output}; their cosine: "
    "{cosine}.",
    "next.title": "next token after {layers}",
    "next.what_if": "next token after {layers}, under the what-if settings",
    "next.after_one": "the only layer",
    "next.after_many": "all {count} layers",
    "next.what": "A token's logit is the dot product of `final` and the token's row of the "
    "output matrix{cap}; softmax turns all {tokens} logits into probabilities.",
    "next.cap": ", bent by a soft cap: {cap} · tanh(dot ÷ {cap})",
    "next.table": "from x to `final`",
    "next.rows": "vectors",
    "next.power": "e^(logit − largest)",
    "next.total": "All {tokens} powers add up to {total}; each probability is its share of that.",
    "next.position": "The prediction is made at the last token, `{query}`.",
    "axes.rows_queries": "rows: queries   columns: keys",
    "axes.rows_keys": "rows: keys   columns: queries",
    "axes.tokens": "rows: tokens   columns: {axis}",
    "axes.matrix": "rows: {rows}   columns: {columns}",
    "trace.too_many": "{count} tables are not printed; --full prints them all, --layer, --head or "
    "--step fewer",
    "trace.what_if": "what-if: {changes}; the arrays it touches are marked",
    "after.title": "the rest of layer {layer}",
    "after.what": "Attention's output is added to x. A feed-forward network then works on each "
    "token alone, and its output is added too.",
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
    # heads
    "heads.headline": "In layer {layer}, head {sharpest} looks most sharply (entropy {entropy} "
    "bits) and head {strongest} pulls `{query}` hardest ({norm}).",
    "heads.some": "Of heads {heads} of layer {layer}, head {sharpest} looks most sharply (entropy "
    "{entropy} bits) and head {strongest} pulls `{query}` hardest ({norm}).",
    "heads.one": "Head {heads} of layer {layer} has an entropy of {entropy} bits and pulls "
    "`{query}` by {norm}; {left_out} of {all} heads are not shown.",
    "heads.nothing": "In layer {layer} no head can be ranked: their numbers are NaN or infinite.",
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
    "heads.sharp": "In layer {layer}, head {sharpest} looks most sharply (entropy {entropy} bits); "
    "no head shown pulls `{query}`.",
    # mask
    "mask.headline": "{mask}: {removed} of {cells} cells hidden, {added} opened; {effect}{goes}.",
    "mask.moves": "`{query}` moves {moved} of its attention",
    "mask.vanishes": "`{query}` sees no key any more and all its attention is gone",
    "mask.appears": "`{query}` saw no key before and now does",
    "mask.gone": "all gone",
    "mask.new": "all new",
    "mask.none": "no mask",
    "mask.own": "the model's own mask",
    "mask.compared": "before = {before}   after = {after}   layer {layer} · head {head}",
    "mask.picture": "the mask   ● sees   · hidden   − newly hidden   + newly opened",
    "mask.why": "Why the future must not reach the past: in training all positions predict their "
    "next tokens at the same time. If a query could see later keys, the model would read the "
    "answer instead of predicting it. In generation there are no later keys, and it would have "
    "learned nothing.",
    "mask.value": "{value} where hidden",
    "mask.value_gets": "With {value}, those keys still get weight: `{query}` gives them {share} of "
    "its attention, and {left} is left for the visible keys.",
    "mask.value_low": "With {value}, hidden keys get almost no weight: e to that power is tiny "
    "beside those of the visible keys.",
    "mask.value_why": "Softmax takes e to the power of every score. e⁰ is 1, as large as that of "
    "an ordinary score; only e to the power of −∞ is 0. Setting weights to 0 after softmax would "
    "not do: those of the visible keys would no longer sum to 1.",
    "mask.valued": "hidden cells, which get a number instead of −∞",
    "mask.shares": "the weights of each query, summed over the keys that it may see and the others",
    "mask.column_visible": "visible keys",
    "mask.column_hidden": "hidden keys",
    "mask.column_weight": "weight before",
    "mask.removed": "newly hidden cells, with their scores and weights",
    "mask.added": "newly opened cells, with their scores and the weights they get",
    "mask.more": "… {count} more (--full shows all)",
    "mask.moved": "each token: attention moved to other keys, and how far `output` moves",
    "mask.next": "next token, before and after",
    "mask.weights_before": "weights before",
    "mask.weights_after": "weights after",
    "mask.column_moved": "moved",
    "mask.column_change": "change of output",
    "mask.column_length": "its length before",
    "mask.column_before": "before",
    "mask.same": "This mask changes nothing here.",
    "mask.example": ", so `{query}` may not look at `{key}`",
    "mask.infinite": "They are drawn as −∞, which softmax turns into 0.",
    "mask.goes": ", and {token} goes from {before} to {after}",
    # sample
    "sample.moves": "Temperature {temperature} moves {moved} of the probability: {loser} loses "
    "most ({lost}), {gainer} gains most ({gained}).",
    "sample.unmoved": "Temperature {temperature} moves no probability here.",
    "sample.formula": "p = softmax(logits / T): every logit is divided by the temperature T first.",
    "sample.formula_zero": "p = softmax(logits / T) for T → 0: the largest logit takes all.",
    "sample.neutral": "Temperature 1 leaves the probabilities as the model gives them.",
    "sample.filtered": "With {filters}, {kept} of {total} tokens are left: {token} goes from "
    "{before} to {after}.",
    "sample.greedy": "Temperature 0 takes the likeliest token, {token}, every time.",
    "sample.order": "applied in this order: {order}",
    "sample.filters": "applied in this order: {order}; what is left is divided by its sum.",
    "sample.candidates": "candidates for the token after `{query}`   {kept} of {total} tokens left",
    "sample.drawn": "drawn with seed {seed}",
    "sample.text": "{prompt} → {text}",
    "sample.counts": "{draws} draws with seed {seed}: expected and observed shares",
    "sample.sweep": "the same candidates at each temperature",
    "sample.column_position": "position",
    "sample.column_before": "at 1",
    "sample.column_expected": "expected",
    "sample.column_observed": "observed",
    "sample.column_count": "count",
    # loss
    "loss.headline": "{right} of {count} next tokens are the model's best guess; the mean loss is "
    "{mean} nats, {means}.",
    "loss.what": "One pass predicts every next token: the causal mask lets each position see only "
    "itself and earlier tokens, so one sentence gives {predictions}.",
    "loss.open": "One pass predicts every next token. Where the mask shows a position the token "
    "that comes next, there is nothing to predict.",
    "loss.formula": "loss = −ln(probability of the token that really comes next), in nats.",
    "loss.one": "{right} of 1 next token is the model's best guess; the loss is {mean} nats, "
    "{means}.",
    "loss.uncertain": "perplexity {perplexity}: as if choosing evenly among that many tokens",
    "loss.confident": "more than the {blind} nats of an even guess among all {vocabulary} tokens: "
    "where the model is wrong, it is confidently wrong",
    "loss.nan": "{broken} of {count} losses are not numbers (NaN); in {right} of the others the "
    "next token is the model's best guess.",
    "loss.trained_one": "1 training example",
    "loss.trained_many": "{count} training examples",
    "loss.title": "each position and its next token",
    "loss.column_comes": "comes",
    "loss.column_rank": "rank",
    "loss.column_loss": "loss",
    "loss.column_best": "best guess",
    "loss.column_its": "its probability",
    # train
    "training.step": "step {step} / {steps}",
    "training.progress": "{tokens} tokens/s   {left} left",
    "training.loss": "loss {loss}   floor {floor}   {side}   nats per token, the mean of up to "
    "{recent} steps",
    "training.attention": "how much the last token of `{prompt}` looks at `{key}`, most first",
    "training.neighbours": "nearest to `{word}`: words of similar vectors, by cosine",
    "training.moved": "`{word}` has moved {moved} from its random start",
    "training.now": "now",
    "training.start": "at the start",
    "training.line": "step {step} of {steps}   loss {loss}   floor {floor}   {tokens} tokens/s   "
    "{left} left",
    "training.result": "{checkpoint}: {steps} steps in {time}; loss {loss} nats per token (the "
    "mean of the last {last} steps), {side}.",
    "training.above": "{amount} above the floor",
    "training.below": "{amount} below the floor",
    "training.over": "above {amount}",
    "training.under": "below {amount}",
    "training.what": "A loss is −ln p, where p is the probability given to the token that came "
    "next; its unit is the nat. The floor is the loss of a model that knows how often each word "
    "follows each beginning of a sentence in this corpus: averaged over the corpus, no model that "
    "sees only earlier words can go below it.",
    "training.heads": "Here and in the file, a layer's heads are numbered by how much they look at "
    "the token named above, most first.",
    "training.unmasked": "Without the mask each position can read the token it should predict, and "
    "no loss punishes that. When the model writes, that token is not there yet. See: {command}",
    "training.saved": "saved after step {step}; go on with: {again}",
    "training.saved_model": "the model after step {step} is saved in {directory}",
    # verify
    "verify.headline": "{verdict}: the largest error in {layers} layers is {error}.",
    "verify.what": "The error of a row a against its reference b is max |a − b| / max(1, max |b|). "
    "For float32, below 5e-5 is normal, from 1e-4 suspect, between them high.",
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
    "models.value": "value",
    "models.each_layer": "{value} in each of {count} layers",
    "models.part": "part",
    "models.total": "total",
    "models.dtype": "dtype",
    "models.shape": "shape",
    "models.tokens": "The tokenizer knows {size} tokens.",
}
