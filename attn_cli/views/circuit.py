"""The page of `attn heads --circuit L.H`: what one head's two matrices match and copy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from attn_cli.notes import place
from attn_cli.records import Address, Facts, Prompt
from attn_cli.views.items import Column, Columns, Heading, Page, Say, paragraph, say
from attn_cli.views.text import label
from attn_cli.words import note

if TYPE_CHECKING:
    from attn_cli.analysis.circuit import Circuit, LowRank

_VALUES = 4


def page(model: Facts, prompt: Prompt, found: "Circuit") -> Page:
    """Headline, the two matrices in numbers, which tokens match, and what is copied."""
    where = place(model, Address(found.stack, found.kind, found.layer))
    return [
        Heading(model, prompt, note("circuit.where", where=where, head=found.head)),
        say(
            "circuit.headline_latent" if found.unrotated else "circuit.headline", "headline",
            head=f"{found.layer}.{found.head}", rank=found.qk.rank, ov_rank=found.ov.rank,
            width=model.model_width,
        ),
        paragraph(*_left_out(model, found)),
        _matrices(found),
        paragraph(say("circuit.half_in"), say("circuit.symmetric", share=found.symmetric)),
        *_matches(found),
        *_first_alone(prompt, found),
        say("circuit.copying", copying=found.copying),
        *_copies(found),
    ]  # fmt: skip


def _first_alone(prompt: Prompt, found: "Circuit") -> Page:
    """Says how many tokens are told, where the prompt has more."""
    sides = prompt.sides(found.stack, found.kind)
    if max(len(set(side.ids)) for side in sides) <= found.most:
        return []
    return [say("circuit.first", count=found.most)]


def _left_out(model: Facts, found: "Circuit") -> list[Say]:
    """What is part of the matrices and what is not."""
    folded = "circuit.folded_cross" if found.kind == "cross" else "circuit.folded"
    factor, (limit, longer) = model.attention_factor(found.layer), model.longer
    stretched = [say("circuit.stretched", factor=f"{factor:.6g}")] * (factor != 1 or limit > 0)
    stretched += [say("circuit.longer", limit=f"{limit:,}", factor=f"{longer:.6g}")] * (limit > 0)
    if found.unrotated:
        return _through_latents(found) + stretched
    weightless = not model.affine and model.residual == "added"
    follows = f"_{model.residual}" if model.residual in ("normed", "after") else ""
    unfolded = "circuit.weightless" if weightless else f"circuit.unfolded{follows}"
    said = [say(folded if found.folded else unfolded)]
    if model.rotates(found.layer):
        said += [say("circuit.rotary"), *stretched]
        said += [say("circuit.grown")] * model.grown
    said += passed_after(model)
    group = model.group_of(found.stack)
    if group > 1:
        first = found.kv_head * group
        shared = ", ".join(str(head) for head in range(first, first + group))
        said.append(say("circuit.grouped", heads=shared))
    return said


def passed_after(model: Facts) -> list[Say]:
    """What queries, keys and the attention's output pass after the matrices, which lack it."""
    said = []
    if model.head_norm:
        said.append(say("circuit.all_norm" if model.head_norm == "all" else "circuit.head_norm"))
    if model.residual == "normed":
        said.append(say("circuit.norm_after"))
    if model.clipped:
        said.append(say("circuit.clipped"))
    return said


def _through_latents(found: "Circuit") -> list[Say]:
    """The same where the way leads through latents, whose norms stand between two maps."""
    queries = "q_latent" in found.through
    return [
        say("circuit.folded_latents" if queries else "circuit.folded_latent"),
        say("circuit.roots" if queries else "circuit.root"),
        say("circuit.unrotated", count=found.unrotated),
    ]


def _matrices(found: "Circuit") -> Columns:
    """Rank, norm, and the first singular values of both."""
    both: Sequence[LowRank] = (found.qk, found.ov)
    columns = [
        Column(note("circuit.matrix"), ["W_QK", "W_OV"], "left"),
        Column(note("circuit.rank"), [str(one.rank) for one in both], "right"),
        Column(note("circuit.half"), [str(_half(one.singular_values)) for one in both], "right"),
        Column(note("circuit.norm"), [one.norm for one in both], "fine"),
    ]
    least = min(len(one.singular_values) for one in both)
    for at in range(min(_VALUES, least)):
        header = note("circuit.value", number=at + 1)
        columns.append(Column(header, [one.singular_values[at] for one in both], "fine"))
    return Columns(note("circuit.matrices"), columns)


def _half(values: Sequence[float]) -> int:
    """In how many directions half of a matrix's squared norm is."""
    parts = np.cumsum(np.square(values))
    return int(np.searchsorted(parts, parts[-1] / 2)) + 1 if parts.size else 0


def _matches(found: "Circuit") -> Page:
    """The vocabulary along the first directions, and the prompt's tokens with one another."""
    if not found.directions:
        return [say("circuit.no_tokens")]
    ways, pairs = found.directions, found.attractions
    return [
        Columns(
            note("circuit.directions"),
            [
                Column("σ", [one.singular_value for one in ways], "fine"),
                Column(note("circuit.share"), [one.share for one in ways], "fine"),
                Column(note("circuit.queries"), [_some(one.queries) for one in ways], "left"),
                Column(note("circuit.keys"), [_some(one.keys) for one in ways], "left"),
            ],
        ),
        Columns(
            note("circuit.pairs"),
            [
                Column(note("column.query"), [label(pair.query) for pair in pairs], "left"),
                Column(note("column.key"), [label(pair.key) for pair in pairs], "left"),
                Column(note("circuit.score"), [pair.score for pair in pairs], "fine"),
                Column(note("circuit.reverse"), [pair.reverse for pair in pairs], "fine"),
            ],
            "first",
        ),
        say("circuit.scores_latent" if found.unrotated else "circuit.scores"),
    ]


def _copies(found: "Circuit") -> Page:
    if not found.copies:
        return [say("circuit.no_outputs")]
    own = sum(one.rank == 1 for one in found.copies)
    return [
        Columns(
            note("circuit.copies"),
            [
                Column(note("column.key"), [label(one.token) for one in found.copies], "left"),
                Column(note("circuit.own"), [f"{one.rank:,}" for one in found.copies], "right"),
                Column(note("circuit.outputs"), [_some(o.outputs) for o in found.copies], "left"),
            ],
            "first",
        ),
        say("circuit.copied", own=own, count=len(found.copies)),
    ]


def _some(texts: Sequence[str]) -> str:
    return "  ".join(label(text) for text in texts)
