"""What a training run says besides, in English."""

SENTENCES = {
    "training.attention_of": "how much `{query}` in `{prompt}` looks at `{key}`, most first",
    "training.what_masked": "A loss is −ln p, where p is the probability given to a token that was "
    "hidden behind [MASK]; its unit is the nat. No other token counts. The floor is the loss of a "
    "model that knows how often each sentence occurs in this corpus: averaged over all ways to "
    "mask, no model that sees only the other tokens can go below it.",
}
