"""Chinese: every sentence a user reads in a result, by key; callers fill in `{names}`."""

from attn_cli.words.zh import (
    commands,
    common,
    compare,
    cost,
    embed,
    exercise,
    heads,
    html,
    inside,
    lens,
    parts,
    routing,
    steps,
    svg,
    tokens,
    trace,
    views,
    why,
    xlsx,
)

TABLES = (
    commands, common, compare, cost, embed, exercise, heads, html, inside, lens, parts, routing,
    steps, svg, tokens, trace, views, why, xlsx,
)  # fmt: skip
SENTENCES = {key: words for table in TABLES for key, words in table.SENTENCES.items()}
