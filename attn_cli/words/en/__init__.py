"""English: every sentence a user reads in a result, by key; callers fill in `{names}`."""

from attn_cli.words.en import (
    commands,
    common,
    compare,
    cost,
    embed,
    exercise,
    heads,
    inside,
    lens,
    parts,
    routing,
    svg,
    tokens,
    trace,
    views,
    why,
)

TABLES = (
    commands, common, compare, cost, embed, heads, inside, lens, parts, routing, svg, tokens, trace,
    views, why, exercise,
)  # fmt: skip
SENTENCES = {key: words for table in TABLES for key, words in table.SENTENCES.items()}
