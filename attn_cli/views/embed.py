"""The page of `attn embed`: the tokens nearest to a word, or to a sum of words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attn_cli.records import Facts, Prompt
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, Say, paragraph, say
from attn_cli.views.text import label, named
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.analysis.embed import Nearest, Term

# Words of a meaning are not so alike, and hardly as many as this.
_SAME, _SEVERAL = 0.99, 3


def page(model: Facts, prompt: Prompt, found: "Nearest") -> Page:
    """What the words come to, the tokens that point the same way, and what was left out."""
    length = numbers.Number(found.length, [found.length, *(row.length for row in found.nearest)])
    return [
        Heading(model, prompt),
        _headline(found),
        say("embed.what", placed=note(f"embed.{'' if found.trained else 'not_'}placed")),
        _looked_up(found.terms),
        *_spaces(found.terms),
        *([say("embed.sum_is", length=length)] if _is_sum(found) else []),
        *_table(model, found, length),
        *([say("embed.alike")] if found.trained and _alike(found) else []),
        _left_out(found),
        *(say("embed.analogy", plus=label(one.plus), minus=label(one.minus),
              answer=label(one.answer), other=label(one.other), cosine=one.cosine)
          for one in found.analogies),
    ]  # fmt: skip


def _alike(found: "Nearest") -> bool:
    """Whether several tokens have all but the same direction."""
    return sum(row.cosine > _SAME for row in found.nearest) >= _SEVERAL


def _is_sum(found: "Nearest") -> bool:
    return len(found.terms) > 1 or found.terms[0].sign < 0


def _headline(found: "Nearest") -> Say:
    if not found.nearest:
        return say("embed.alone", "headline", sum=_sum(found.terms))
    first = found.nearest[0]
    told = {"first": label(first.token), "cosine": first.cosine, "sum": _sum(found.terms)}
    return say("embed.answer" if _is_sum(found) else "embed.nearest", "headline", **told)


def _sum(terms: "Sequence[Term]") -> Note | str:
    """`father − man + woman`, as tokens."""
    *before, last = terms
    name = label(last.token)
    if not before:
        return name if last.sign > 0 else note("embed.negative", rest=name)
    return note("embed.plus" if last.sign > 0 else "embed.minus", first=_sum(before), rest=name)


def _looked_up(terms: "Sequence[Term]") -> Columns:
    return Columns(
        note("embed.terms"),
        (
            Column(note("embed.sign"), ["+" if term.sign > 0 else "−" for term in terms], "left"),
            Column(note("embed.word"), [named(term.word) for term in terms], "left"),
            Column(note("column.token"), [label(term.token) for term in terms], "left"),
            Column(note("embed.id"), [str(term.id) for term in terms], "right"),
            Column(note("column.length"), [term.length for term in terms], "fine"),
        ),
    )


def _spaces(terms: "Sequence[Term]") -> Page:
    """Which of two tokens was taken, where a word has one with a leading space."""
    if not any(term.token.startswith(" ") for term in terms):
        return []
    others = [term for term in terms if term.other]
    said = [say("embed.spaces")]
    if others:
        names = _listed([note("embed.quoted", token=label(term.other)) for term in others])
        said.append(say("embed.bare", tokens=names, word=named(others[0].word)))
    return [paragraph(*said)]


def _listed(names: Sequence[Note]) -> Note:
    first, *rest = names
    return note("embed.and", first=first, rest=_listed(rest)) if rest else first


def _table(model: Facts, found: "Nearest", length: numbers.Number) -> Page:
    rows = found.nearest
    cosines = [row.cosine for row in rows]
    count = numbers.count(model.vocabulary)
    columns = (
        Column(note("embed.rank"), [numbers.count(row.rank) for row in rows], "right"),
        Column(note("column.token"), [label(row.token, 24) for row in rows], "left"),
        Column(note("embed.id"), [str(row.id) for row in rows], "right"),
        Column(note("embed.cosine"), cosines, "fine"),
        Column("", cosines, "bar"),
        Column(note("embed.dot"), [row.dot for row in rows], "fine"),
        Column(note("column.length"), [row.length for row in rows], "fine"),
    )
    return [Columns(note("embed.table", count=count, length=length), columns)] if rows else []


def _left_out(found: "Nearest") -> Say:
    terms = [
        note("embed.left_out_one", token=label(row.token), rank=numbers.count(row.rank),
             cosine=row.cosine)
        for row in found.left_out
    ]  # fmt: skip
    return say(
        "embed.left_out" if _is_sum(found) else "embed.left_out_itself", terms=_listed(terms)
    )
