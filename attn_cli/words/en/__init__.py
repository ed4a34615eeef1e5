"""English: every sentence a user reads in a result, by key; callers fill in `{names}`."""

from attn_cli.words.en import commands, common, tokens, trace

SENTENCES = common.SENTENCES | trace.SENTENCES | commands.SENTENCES | tokens.SENTENCES
