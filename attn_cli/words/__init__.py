"""The sentences a user reads: one table per language, looked up by key."""

from attn_cli.words import en

LANGUAGES = {"en": en.SENTENCES}


def sentence(key: str, /, **values: object) -> str:
    """The sentence of `key` with its `{names}` filled in. Raises KeyError for an unknown key."""
    return LANGUAGES["en"][key].format(**values)
