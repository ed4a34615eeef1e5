"""The page of `attn embed --in`: how one word's vectors part in two texts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attn_cli.errors import shorten
from attn_cli.records import Facts
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, Say, paragraph, say, what_ifs
from attn_cli.views.text import label, visible
from attn_cli.words import Note, counted, note

if TYPE_CHECKING:
    from attn_cli.analysis.contexts import Contexts, Toward

_LETTERS = "AB"
_SHOWN, _NAME = 3, 9  # tokens of a layer, and characters of each


def page(model: Facts, found: "Contexts", settings: Mapping[str, Any]) -> Page:
    """Both texts, the cosine after each layer, and the tokens that each text pulls toward."""
    pulled = any(layer.first or layer.second for layer in found.layers)
    return [
        Heading(model),
        *what_ifs(settings),
        _headline(found),
        *(_side(letter, one) for letter, one in zip(_LETTERS, found.sides, strict=True)),
        _layers(found, pulled=pulled),
        _explained(found, pulled=pulled),
        *([_last(found)] if pulled else []),
    ]


def _headline(found: "Contexts") -> Say:
    names = list(dict.fromkeys(label(one.word) for one in found.sides))
    first, *rest = names
    words = (
        note("embed.both", first=first, rest=rest[0]) if rest
        else note("embed.quoted", token=first)
    )  # fmt: skip
    start, end = numbers.together(found.layers[0].cosine, found.layers[-1].cosine)
    told = {"words": words, "first": start, "last": end, "layers": _all(found)}
    return say("embed.two", "headline", **told)


def _all(found: "Contexts") -> Note:
    count = len(found.layers) - 1
    many = "embed.layers_two" if count == 2 else "embed.layers_many"
    return counted(count, "embed.layers_one", many)


def _side(letter: str, one: Any) -> Say:
    told = {"token": label(one.tokens[one.position]), "position": one.position}
    return say("embed.side", letter=letter, text=shorten(visible(one.text)), **told)


def _layers(found: "Contexts", *, pulled: bool) -> Columns:
    rows = found.layers
    columns = [
        Column(note("embed.after"), [str(row.layers) for row in rows], "right"),
        Column(note("embed.cosine"), [row.cosine for row in rows], "fine"),
    ]
    for n, letter in enumerate(_LETTERS):
        if pulled:
            cells = [_names((row.first, row.second)[n]) for row in rows]
            columns.append(Column(note("embed.toward", letter=letter), cells, "left"))
        else:
            lengths = [row.lengths[n] for row in rows]
            columns.append(Column(note("embed.length", letter=letter), lengths, "fine"))
    return Columns(note("embed.layers") if pulled else note("embed.layers_alone"), columns)


def _names(tokens: "Sequence[Toward]") -> str:
    return "  ".join(label(one.token, _NAME) for one in tokens[:_SHOWN])


def _explained(found: "Contexts", *, pulled: bool) -> Say:
    same = len({one.ids[one.position] for one in found.sides}) == 1
    key = "embed.positions" if same else "embed.positions_two"
    positions = note(key) if found.positioned else ""
    start = note("embed.same_token" if same else "embed.other_token", positions=positions)
    said = [say("embed.starts", same=start)]
    if pulled:
        said.append(say(f"embed.pull_{found.through}"))
    else:
        said.append(say("embed.same" if found.through else "embed.no_pull"))
    return paragraph(*said)


def _last(found: "Contexts") -> Columns:
    last = found.layers[-1]
    both, columns = (last.first, last.second), []
    rows = max(map(len, both))
    for letter, tokens in zip(_LETTERS, both, strict=True):
        blank = [""] * (rows - len(tokens))
        names = [label(one.token, 24) for one in tokens]
        cosines = numbers.column([one.cosine for one in tokens], 2)
        columns += [
            Column(note("embed.toward", letter=letter), names + blank, "left"),
            Column(note("embed.cosine"), cosines + blank, "right"),
        ]
    return Columns(note("embed.last", layers=_all(found)), columns)
