"""Patterns of module names that configs hold."""

import re

# A repeated group that ends with a repetition may be tried in more ways than there is time for.
_ENDLESS = re.compile(r"[*+?}]\)+[*+{]|\|[^()]*\)[*+{]")
_LONGEST = 1000


def matches(pattern: str, name: str) -> bool:
    """Whether a name begins so; what is no pattern, or might never be done, is none's."""
    if len(pattern) > _LONGEST or _ENDLESS.search(pattern):
        return False
    try:
        return bool(re.match(pattern, name))
    except re.error:
        return False
