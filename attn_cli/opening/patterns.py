"""Patterns of module names that configs hold."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

# A repeated group that ends with a repetition may be tried in more ways than there is time for.
_ENDLESS = re.compile(r"[*+?}]\)+[*+{]|\|[^()]*\)[*+{]")
_LONGEST = 1000
MOST = 1 << 12  # patterns of a config
# What is a pattern for sure, and done at once.
_PLAIN = re.compile(r"(?:[\w.^$-]|\\\W){1,200}", re.ASCII)


def matches(pattern: str, name: str) -> bool:
    """Whether a name begins so; what is no pattern, or might never be done, is none's."""
    compiled = _compiled(pattern)
    return bool(compiled and compiled.match(name))


@lru_cache(maxsize=MOST)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    if len(pattern) > _LONGEST or _ENDLESS.search(pattern):
        return None
    try:
        return re.compile(pattern)
    except re.error:
        return None


def first_of(patterns: Iterable[str]) -> Callable[[str], str]:
    """What finds the first pattern of `modules_to_not_convert` that means a module, or nothing.

    As the reference has it: a module's name ends with it, or begins with it up to a dot. Those
    without groups are asked all at once, since there may be hundreds, for every expert of a model.
    """
    every = tuple(patterns)
    at_a_dot = {one: rf"(?:{one})(?:(?<=\.)|(?=\.|$))" for one in every}
    alone = [one for one in every if not _PLAIN.fullmatch(one)]
    together = re.compile("|".join(at_a_dot[one] for one in every if one not in alone) or "(?!)")

    def means(one: str, module: str) -> bool:
        return module.endswith(one) or matches(at_a_dot[one], module)

    def first(module: str) -> str:
        if not together.match(module) and not module.endswith(every):
            return next((one for one in alone if means(one, module)), "")
        return next((one for one in every if means(one, module)), "")

    return first
