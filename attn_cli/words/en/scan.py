"""English: the page of `attn scan`."""

SENTENCES = {
    "scan.headline": "{heads} heads over {prompts} of {files}: {tokens}.",
    "scan.prompts_one": "{count} prompt",
    "scan.prompts_many": "{count} prompts",
    "scan.files_one": "{count} file",
    "scan.files_many": "{count} files",
    "scan.ranking": "all heads by the mean of `{column}`, the {order} first",
    "scan.deviation": "±",
    "scan.p05": "5 %",
    "scan.p50": "median",
    "scan.p95": "95 %",
    "scan.effective_keys": "effective",
    "scan.what": "Every number is a mean over all queries that have it, in a decoder without each "
    "prompt's first. ± is the standard deviation; 5 %, median and 95 % come from a sketch and are "
    "at most 1/64 of themselves away. `effective` is 2 to the power of the entropy: among how many "
    "keys a query shares its weight out. `weighted` is what the first key gets where each weight "
    "is multiplied by the length of its value after W_O, each row divided by its sum (Kobayashi et "
    "al. 2020); `weighted previous` and so on are those of the other keys.",
    "scan.examples": "the best examples of {head}, one from each prompt",
    "scan.pairs": "what {head} joins most: the key that a query weighs most, the first token left "
    "out",
    "scan.query": "query",
    "scan.key": "key",
    "scan.line": "line",
    "scan.file": "file",
    "scan.count": "queries",
    "scan.failed_one": "{count} line could not be measured and is left out",
    "scan.failed_many": "{count} lines could not be measured and are left out",
    "scan.blind_one": "{count} query of all blocks saw no key; its measures are 0",
    "scan.blind_many": "{count} queries of all blocks saw no key; their measures are 0",
    "scan.pairs_below": "there are more pairs than are kept: those of tokens with ids below "
    "{below} are counted, all of them",
    "scan.nonfinite": "{count} measured numbers are NaN, infinite or too large, and left out",
    "scan.lacks": "for Parquet the package pyarrow is needed",
    "scan.lacks_hint": 'pip install "attn-cli[scan]"',
    "scan.head": "{head}: `{column}` {mean} ± {deviation} over {queries}.",
    "scan.head_none": "{head}: no query has `{column}`.",
    "scan.queries_one": "{count} query",
    "scan.queries_many": "{count} queries",
    "scan.spread": "every measure of this head over all queries that have it",
    "scan.measure": "measure",
    "scan.mean": "mean",
    "scan.minimum": "least",
    "scan.p25": "25 %",
    "scan.p75": "75 %",
    "scan.maximum": "most",
    "scan.around": "the query among the tokens around it",
    "scan.no_examples": "No query has `{column}`, so there is no example.",
    "scan.drawn": "The attention in these examples is computed again: it gives every number that "
    "was measured. Of a long prompt the tokens up to the query are rows, and the keys that it "
    "weighs most are columns.",
    "scan.example": "{value}: {query} → {key}, line {line}",
    "scan.not_drawn": "The attention in these examples is not drawn: {why}.",
    "scan.again_path": "`--model` opens {model}, which results from elsewhere do not open by "
    "themselves",
    "scan.again_fails": "{why}",
    "scan.again_pair": "its prompts were pairs of segments, which results do not keep",
    "scan.again_sizes": "{model} has other sizes than the model that was scanned",
    "scan.again_lengths": "the model reads fewer tokens than were scanned",
    "scan.again_other": "{model} gives {found} where {value} was measured, so it is another model, "
    "or reads its prompts in another way",
    "scan.picture": "the mean of `{column}` of every head{which}",
    "scan.axes": "layers are rows, heads are columns",
    "scan.of_encoder_self": " of the encoder",
    "scan.of_decoder_self": " of the decoder",
    "scan.of_decoder_cross": " of the decoder's cross-attention",
    "shifts.headline": "{head} has moved most: `{measure}` from {left} to {right}, {size} pooled "
    "deviations.",
    "shifts.constant": "{head}: `{measure}` is {left} in every query of A and {right} in every "
    "query of B.",
    "shifts.none": "Not one of {count} means differs.",
    "shifts.counts": "Of {all} means of heads {small} have moved by at least 0.2 pooled "
    "deviations, {large} by at least 0.8.",
    "shifts.same": "Model, corpus and settings are the same, as far as the results say.",
    "shifts.differs": "what the two results are of, where that differs",
    "shifts.setting": "setting",
    "shifts.size": "size",
    "shifts.ranking": "means of heads, those that have moved most first",
    "shifts.what": "`size` is B − A over the deviation of both together: how far a mean has moved "
    "beside how much queries differ. It is no test: the queries of a prompt are not independent.",
    "shifts.only_left": "{heads} only A has are left out.",
    "shifts.only_right": "{heads} only B has are left out.",
    "shifts.heads_one": "{count} head that",
    "shifts.heads_many": "{count} heads that",
    "shifts.note_heads": "some heads are in one of the results only, and left out",
    "shifts.picture": "how far the measure of every head{which} that has moved most has moved",
    "scan.spread_short": "spread",
    "scan.spread_told": "5 % {low}, 25 % {first}, median {median}, 75 % {third}, 95 % {high}",
    "scan.examples_of": "Its best examples of {column}, one from each prompt: the query is "
    "underlined, the key that it weighs most has a border.",
    "scan.example_at": "{value}: {query} → {key}, line {line} of {file}",
    "scan.shaded": "Attention is computed again, and gives every number that was measured: each "
    "key is as dark as the query weighs it; of a long prompt those that it weighs most.",
    "scan.unlocked": "{folder} cannot be locked: start no other scan with this --out until this "
    "one ends",
}
