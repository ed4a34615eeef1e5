"""English: which experts tokens are sent to."""

SENTENCES = {
    "routing.title": "experts: {used} of {count} for each token",
    "routing.title_what_if": "experts: {used} of {count} for each token, under the what-if "
    "settings",
    "routing.what": "The feed-forward network of a layer below is a mixture of {count} experts, "
    "each a network of its own. A router, one more learned matrix, scores them for each token by "
    "what they would read, and the token passes {experts}: the output of each is multiplied by its "
    "share, and these are added.",
    "routing.one": "the best one",
    "routing.many": "the best {count}",
    "routing.shared": "A further network, the shared expert, is passed by every token.",
    "routing.groups": "The experts stand in {groups} groups, and only those of a token's best "
    "{kept} groups can be chosen.",
    "routing.corrected": "What is chosen by is the score with a learned correction, which is no "
    "part of the share.",
    "routing.not_one": "The shares of a token need not add up to 1 in this model.",
    "routing.layer": "layer {layer}",
    "routing.pairs": "expert: share",
    "routing.pair": "{expert}: {share}",
    "routing.gap": "{first}  {rest}",
    "routing.comma": "{first}, {rest}",
    "routing.used": "Of these {tokens}, so many passed an expert of layer {layer}: {used}.",
    "routing.times": "{expert} ×{times}",
    "routing.others": "{count} others",
    "routing.unused_one": "1 by none",
    "routing.unused": "{count} by none",
    "routing.layers": "layer",
    "routing.often": "expert ×tokens",
    "routing.table": "the experts of `{query}`, and how many of all {tokens} passed an expert",
}
