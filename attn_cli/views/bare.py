"""A step's arrays and no more, where too little is known to say what happens in it."""

from collections.abc import Iterator
from typing import NamedTuple

from attn_cli import vocabulary
from attn_cli.views.head_view import HeadView
from attn_cli.views.items import StepTitle
from attn_cli.words import note

_TITLES = {1: "bare.title_embed", 2: "bare.title_project"}


def step(view: HeadView, number: int) -> Iterator[NamedTuple]:
    """The title of a step, where it is the same in every model its equation, and its arrays."""
    yield StepTitle(number, note(_TITLES.get(number, "bare.title")))
    beside = {name for of, name in vocabulary.SINKS.items() if view.has(of)}
    for name, spec in vocabulary.ARRAYS.items():
        if spec.step == number and name not in {"visible", *beside} and view.has(name):
            yield view.any(name)
