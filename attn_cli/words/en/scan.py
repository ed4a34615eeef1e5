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
    "scan.lacks": "to write Parquet the package pyarrow is needed",
    "scan.lacks_hint": 'pip install "attn-cli[scan]"',
}
