"""English: every sentence a user reads in a result, by key; callers fill in `{names}`."""

from attn_cli.words.en import commands, common, lens, parts, trace, why

SENTENCES = (
    common.SENTENCES | trace.SENTENCES | commands.SENTENCES | lens.SENTENCES | parts.SENTENCES
    | why.SENTENCES
)  # fmt: skip
