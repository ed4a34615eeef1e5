"""Steps 1 and 2 on the page of `attn trace`: what enters a block, and its three projections."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from attn_cli.maths.layers import cosine
from attn_cli.records import Facts
from attn_cli.views import ending, numbers
from attn_cli.views.head_view import HeadView
from attn_cli.views.items import Matrix, Say, StepTitle, Words, paragraph, say
from attn_cli.words import note

_SMALL = 0.3  # a cosine of two directions that have little in common
_PARAMETERS = (
    "w_q", "b_q", "w_q_latent", "w_k", "b_k", "w_k_latent", "w_k_rotated", "b_k_rotated", "w_v",
    "b_v", "w_v_latent",
)  # fmt: skip
_PARTS = ("token_embedding", "position_embedding", "type_embedding")
Items = Iterator[NamedTuple]


def embed(view: HeadView) -> Items:
    """Step 1: the vectors that enter."""
    layer, made = view.block.layer, view.facts.embedding
    if view.crosses:
        yield StepTitle(1, note("embed.title_cross"))
        yield say("embed.cross", query=view.names[view.query])
        yield view.rows("x", view.tokens)
        if view.has("key_x"):
            yield view.rows("key_x", view.keys)
        return
    if layer:
        whole = view.facts.residual in ("after", "onto_normed")
        yield StepTitle(1, note("embed.title_stream"))
        yield say("embed.given" if whole else "embed.stream", layer=layer)
    elif made == "projected" or made.startswith("sum"):
        yield from _embedding_sum(view, made)
        if len(_parts(view)) > 1:
            return
    else:
        yield from _embedding_alone(view, made)
    yield view.rows("x", view.tokens)


def _what_vectors_are(view: HeadView, made: Words = "") -> Say:
    """Where the tokens' vectors are from."""
    return say(f"embed.{_origin(view.facts)}", width=_width(view), made=made)


def _origin(facts: Facts) -> str:
    """Where a model's numbers are from."""
    return "trained" if facts.trained else "by_hand" if facts.by_hand else "random"


def _width(view: HeadView) -> int:
    """How many numbers a token's vector has."""
    stored = view.has("token_embedding")
    return view.arrays["token_embedding"].shape[1] if stored else view.facts.model_width


def _embedding_sum(view: HeadView, made: str) -> Items:
    """Where the position's vector is added to the token's."""
    parts = _parts(view)
    segments, places = "type_embedding" in parts, parts != ["token_embedding", "type_embedding"]
    normed = made.removeprefix("sum") if made.startswith("sum") else ""
    title = {
        "second": note("embed.and_position") if places else "",
        "third": note("embed.and_segment") if segments else "",
    }
    yield StepTitle(1, note(f"embed.title_parts{normed}", **title) if normed else "")
    waves = [say("embed.waves")] * (places and view.facts.positions == "sinusoidal")
    scaled = (
        note("embed.scaled", factor=_factor(view.facts)) if view.facts.embedding_factor != 1 else ""
    )
    said = [_what_vectors_are(view, scaled), *[say("embed.second")] * places, *waves]
    said += [say("embed.third" if places else "embed.second_segment")] * segments
    widths = {"narrow": _width(view), "width": view.facts.model_width}
    said += [say(f"embed.{made}", **widths)] * bool(normed)
    if "positions" in view.trace.settings["without"]:
        said.append(say("embed.removed"))
    yield paragraph(*said)
    if made == "projected":
        yield say("embed.projected")
    if len(parts) > 1:
        yield from (view.rows(name, view.tokens, few=True) for name in parts)
        yield view.rows("x", view.tokens, note(f"embed.{made}_rows" if normed else "embed.sum"))
        if not places:
            return
        yield from _norm_of(view, parts) if made == "sum_normed" else ()
        token, place, x = (view.length(name) for name in (*_PARTS[:2], "x"))
        here = {"query": view.names[view.query], "position": _position(view)}
        segment = {"segment": view.length("type_embedding")} if segments else {}
        key = "embed.here_three" if segments else "embed.here"
        angle = _angle(*(view.arrays[name][view.query] for name in _PARTS[:2]))
        yield say(key, **here, x=x, token=token, place=place, **segment, angle=angle)


def _factor(facts: Facts) -> str:
    """By what the token's vector has been multiplied."""
    factor, width = facts.embedding_factor, facts.model_width
    return f"√{width}" if abs(factor - width**0.5) < 1e-6 else f"{factor:.6g}"


def _angle(token: np.ndarray, place: np.ndarray) -> Words:
    """How far the directions of a token's and its position's vector are apart."""
    if not place.any() or not token.any():
        return ""
    found = cosine(token, place)
    return note("embed.angle" if abs(found) < _SMALL else "embed.angle_wide", cosine=found)


def _norm_of(view: HeadView, parts: Sequence[str]) -> Items:
    """How the sum of the parts, or the only one, becomes x."""
    total = sum(view.arrays[name][view.query] for name in parts)
    own = view.has("w_norm") and not view.has("normed")  # else they are another norm's
    of = note("embed.sum_of_parts") if len(parts) > 1 else parts[0]
    query = view.names[view.query]
    told = own or view.has("normed")
    yield ending.norm_words(view.facts, total, query, "x", parameters=told, of=of)
    if own:
        yield from (view.parameter(name) for name in ("w_norm", "b_norm") if view.has(name))


def _position(view: HeadView) -> int:
    """What the model counts the followed token as."""
    words = [word.partition(":") for word in view.trace.settings["mask"]]
    skipped = sum(int(number) for name, _, number in words if name == "padding-left")
    return max(0, view.query - skipped)


def _parts(view: HeadView) -> list[str]:
    """What x is the sum of, as far as it is shown."""
    return [name for name in _PARTS if view.has(name)]


def _embedding_alone(view: HeadView, made: str) -> Items:
    """Where the token's vector is all that x is made from."""
    later = view.facts.positions == "rotary" and not view.facts.rotates(view.block.layer)
    where = note("embed.enters_later" if later else f"embed.enters_{view.facts.positions}")
    factor = _factor(view.facts)
    scaled = note(f"embed.{made}", factor=factor) if made != "token" else ""
    yield StepTitle(1, note(f"embed.title_{made}", factor=factor))
    yield paragraph(_what_vectors_are(view, scaled), say("embed.plain", where=where))
    if view.has("token_embedding") and made != "token":
        yield view.rows("token_embedding", view.tokens)
        yield from _norm_of(view, ["token_embedding"]) if made == "normed" else ()


def project(view: HeadView) -> Items:
    """Step 2: queries, keys and values."""
    facts, normed = view.facts, view.has("normed")
    kind = "cross" if view.crosses else "latent" if facts.kv_latent else facts.head_norm
    words = {"x": "normed" if normed else "x", "q": "q_latent" if facts.q_latent else "normed"}
    title = note(f"project.title_{kind}" if kind else "project.title", **words)
    yield StepTitle(2, title if normed or kind else "")
    origin = _origin(view.facts)
    hidden = "" if view.has("w_q") else note("project.hidden")
    said = [say("project.what" if origin == "trained" else f"project.{origin}", hidden=hidden)]
    if view.crosses:
        said.append(say("project.cross"))
    if normed:
        key = "project.normed_queries" if view.crosses else "project.normed"
        said.append(say(key, norm=note(f"norm.{view.facts.norm}")))
        if view.has("x"):
            x, query = view.arrays["x"][view.query], view.names[view.query]
            parameters = view.has("w_norm")
            said.append(ending.norm_words(view.facts, x, query, "normed", parameters=parameters))
    yield paragraph(*said)
    if normed:
        yield from (view.parameter(name) for name in ("w_norm", "b_norm") if view.has(name))
        yield view.rows("normed", view.tokens)
    yield from _latents(view)
    if any(view.has(name) for name in _PARAMETERS if name.startswith("w_")):
        yield from (view.parameter(name) for name in _PARAMETERS if view.has(name))
    elif view.has("b_q"):
        yield say("project.bias", hidden=note("project.hidden_bias"))
    heads_norm = note(f"norm.one_{facts.norm}")
    if facts.head_norm in ("each", "all"):
        yield say(f"project.heads_{facts.head_norm}", norm=heads_norm)
    if facts.clipped:
        key = "project.clipped_then" if facts.head_norm else "project.clipped"
        yield say(key, clip=f"{facts.clipped:g}")
    if facts.positions == "rotary" and not facts.rotates(view.block.layer):
        yield say("project.unrotated")
    if view.has("q_unrotated", "k_unrotated"):
        yield from _rotation(view)
    if facts.head_norm == "rotated":
        yield say("project.heads_rotated", norm=heads_norm)
    yield from (view.rows("q", view.queries), view.rows("k", view.keys), view.rows("v", view.keys))
    of_distances = [name for name in ("q_position", "k_position") if view.has(name)]
    if of_distances:
        yield say("project.distances", names=ending.listed(of_distances))
        yield from map(view.parameter, of_distances)


def _latents(view: HeadView) -> Items:
    """What stands between `normed` and the keys and values of all heads, where something does."""
    facts = view.facts
    if not facts.kv_latent:
        return
    sizes = {"count": facts.kv_latent, "plain": facts.rotated_from, "rotated": facts.rotated}
    said = [say("project.latent", **sizes)]
    said += [say("project.latent_queries", count=facts.q_latent)] * bool(facts.q_latent)
    yield paragraph(*said)
    for letter, positions in (("q", view.queries), ("kv", view.keys)):
        made = (f"w_{letter}_down", f"b_{letter}_down", f"w_{letter}_latent_norm")
        yield from (view.parameter(name) for name in made if view.has(name))
        if view.has(f"{letter}_latent"):
            yield view.rows(f"{letter}_latent", positions)


def _rotation(view: HeadView) -> Items:
    """By how much queries and keys rotate, after what they were."""
    facts = view.facts
    yield from (view.rows("q_unrotated", view.queries), view.rows("k_unrotated", view.keys))
    angles = view.block.shown["angles"][view.query][None]
    half = angles.shape[1]
    if "positions" in view.trace.settings["without"]:
        yield say("project.unturned")
    key = "project.neighbours" if facts.interleaved else "project.halves"
    last = note("project.of_last", count=facts.rotated) if facts.rotated_from else ""
    then = facts.grown or facts.head_norm == "rotated"
    so = note("project.so_then" if then else "project.so")
    pair = note(key, half=half, last=last)
    yield say("project.rotary", pair=pair, so=so, query=view.names[view.query])
    axes = note("axes.matrix", rows="1", columns=note("project.pairs"))
    yield Matrix(note("project.angles"), angles, [""], range(half), axes)
    factor = float(view.block.shown["attention_factor"])
    if facts.rotated < facts.head_width:
        key = "project.partial_last" if facts.rotated_from else "project.partial"
        yield say(key, width=facts.head_width, count=facts.rotated)
    if factor != 1:
        yield say("project.stretched", ratio=numbers.number(factor, 3))
    if "query_factor" in view.block.shown:
        more = numbers.number(float(view.block.shown["query_factor"][view.query]), 4)
        yield say("project.grown", query=view.names[view.query], factor=more)
