"""English: the pages of the other commands."""

SENTENCES = {
    # mask
    "mask.headline": "{mask}: {removed} of {cells} cells hidden, {added} opened; {effect}{goes}.",
    "mask.moves": "`{query}` moves {moved} of its attention",
    "mask.vanishes": "`{query}` sees no key any more and all its attention is gone",
    "mask.vanishes_sink": "`{query}` sees no key any more and its sink takes all",
    "mask.appears": "`{query}` saw no key before and now does",
    "mask.gone": "all gone",
    "mask.new": "all new",
    "mask.none": "no mask",
    "mask.own": "the model's own mask",
    "mask.compared": "before = {before}   after = {after}   {where} · head {head}",
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
    "mask.moved_sink": "each token: attention moved to other keys or the sink, and how far "
    "`output` moves",
    "mask.next": "{what}, before and after",
    "mask.weights_before": "weights before",
    "mask.weights_after": "weights after",
    "mask.column_moved": "moved",
    "mask.column_change": "change of output",
    "mask.column_length": "its length before",
    "mask.column_before": "before",
    "mask.same": "This mask changes nothing here.",
    "mask.example": ", so `{query}` may not look at `{key}`",
    "mask.infinite": "They become −∞, which softmax turns into 0.",
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
    "training.attention_of": "how much `{query}` in `{prompt}` looks at `{key}`, most first",
    "training.attention_translate": "how much the first word that is written looks at `{key}` in "
    "`{prompt}`, most first",
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
    "training.what_masked": "Some tokens are chosen: 8 in 10 of them are hidden behind [MASK], 1 "
    "behind any word, 1 is left as it is. A loss is −ln p, where p is the probability given to a "
    "token that was chosen; its unit is the nat. The floor is the loss of a model that knows how "
    "often each sentence occurs in this corpus: averaged over all ways to choose and hide, no "
    "model that sees only what is left can go below it.",
    "training.what_translate": "A loss is −ln p, where p is the probability given to the token "
    "that came next in the translation; its unit is the nat. The floor is the loss of a model that "
    "knows how often each source has each translation in this corpus: averaged over the corpus, no "
    "model can go below it.",
    "training.heads": "Here and in the file, a layer's heads are numbered by how much they look at "
    "the token named above, most first.",
    "training.unmasked": "Without the mask each position can read the token it should predict, and "
    "no loss punishes that. When the model writes, that token is not there yet. See: {command}",
    "training.saved": "saved after step {step}; go on with: {again}",
    "training.saved_model": "the model after step {step} is saved in {directory}",
    "training.unlocked": "{directory} cannot be locked: start no other training in it "
    "until this one ends",
    # verify
    "verify.headline": "{verdict}: the largest error in {layers} layers is {error}.",
    "verify.what": "The error of a row a against its reference b is max |a − b| / max(1, max |b|). "
    "For float32, below 5e-5 is normal, from 1e-4 suspect, between them high.",
    "verify.float64": "against float64: steps 1 and 2 by a whole pass, steps 3 to 6 each from the "
    "step before",
    "verify.reference": "against {source}",
    "verify.ending": "the arrays are as exact as their rows say, but what the last layer gives, or "
    "the logits, are NaN or infinite",
    "verify.column_error": "largest error",
    "verify.column_layer": "in layer",
    "verify.column_verdict": "verdict",
    "verdict.normal": "normal",
    "verdict.high": "high",
    "verdict.suspect": "suspect",
    # models
    "models.package": "in packages",
    "models.inside": "in this folder",
    "models.text": "its text part",
    "models.hub": "in the Hugging Face cache",
    "models.ollama": "in the store of Ollama",
    "models.broken": "✗ {name}{family} does not open: {reason}",
    "models.looked": "Looked through: {folders}",
    "models.packaged": "from a package",
    "models.random": "untrained, any shape",
    "models.folder": "PATH: a .gguf file, or a folder with config.json and its weights",
    "models.parts": "parameters and bytes by part",
    "models.tensors": "tensors",
    "models.any": "any",
    "models.family": "family",
    "models.parameters": "parameters",
    "models.size": "size",
    "models.quantisation": "quantisation",
    "models.part": "part",
    "models.total": "total",
    "models.dtype": "dtype",
    "models.shape": "shape",
    "models.mixed": "Layers {which} have attention, the others {others}.",
    "models.tokens": "The tokenizer knows {size} tokens.",
    "models.embedded": "trained, in attn",
    "models.by_hand": "chosen by hand, in attn",
}
