"""The model in numbers on the page of `attn models`: its facts and its config, row by row.

A row is there where there is something to say. What only tells how tensors are stored is not told:
the tensors themselves are listed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

from attn_cli.records import Facts
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Words
from attn_cli.views.text import named
from attn_cli.words import note

Config = Mapping[str, Any]
Rows = Iterator[tuple[Words, Words]]


def table(facts: Facts, config: Config) -> Columns:
    """What there is to say, each row with its name."""
    rows = [row for part in _PARTS for row in part(facts, config)]
    return Columns(note("inside.title"), [
        Column(note("inside.what"), list(map(_name, rows)), "left"),
        Column(note("inside.is"), [value for _, value in rows], "left"),
    ])  # fmt: skip


def _name(row: tuple[Words, Words]) -> Words:
    return note(f"inside.{row[0]}") if isinstance(row[0], str) else row[0]


def _sizes(facts: Facts, config: Config) -> Rows:
    stacks = (("layers", facts.layers, 0), ("heads", facts.heads, 1))
    for name, own, at in stacks:
        other = facts.encoder[at] if facts.encoder else 0
        both = note("inside.stacks", encoder=other, decoder=own)
        yield name, both if other else numbers.count(own)
    if facts.kv_heads != facts.heads:
        group = facts.heads // facts.kv_heads
        yield "kv_heads", note("inside.shared", count=facts.kv_heads, group=group)
    yield "head_width", numbers.count(facts.head_width)
    if facts.of_values != facts.head_width:
        yield "value_width", numbers.count(facts.of_values)
    if facts.kv_latent:
        key = "inside.latent_both" if facts.q_latent else "inside.latent"
        yield "latents", note(key, kv=facts.kv_latent, q=facts.q_latent)
    yield "model_width", numbers.count(facts.model_width)
    yield "vocabulary", _tokens(facts.vocabulary)
    yield "context", _tokens(facts.context) if facts.context else note("inside.unbounded")


def _tokens(count: int) -> Words:
    return note("inside.tokens", count=numbers.count(count))


def _positions(facts: Facts, config: Config) -> Rows:
    if facts.embedding_factor != 1:
        yield "embedding_factor", numbers.exact(facts.embedding_factor)
    known = note(f"inside.positions_{facts.positions}")
    if facts.unrotated:
        known = note("inside.unrotated", which=_layers(facts.unrotated))
    yield "positions", known
    rope = config.get("rope")
    if rope and rope.get("frequencies"):
        yield "rope", _rotation(facts, rope["frequencies"])
        local = config.get("local_rope")
        if local and any(config.get("windows", ())) and local != rope:
            yield "local_rope", _rotation(facts, local["frequencies"])
        if rope["limit"]:
            limit = note("inside.long_rope", limit=numbers.count(int(rope["limit"])))
            yield limit, _rotation(facts, rope["long_frequencies"])
        if growth := rope.get("growth"):
            beta, length = growth
            words = {"beta": numbers.exact(beta), "length": numbers.count(int(length))}
            yield "growth", note("inside.grown", **words)


def _rotation(facts: Facts, turned: Sequence[float]) -> Words:
    ends = {"first": numbers.exact(turned[0]), "last": numbers.exact(turned[-1])}
    key = "inside.pairs" if len(turned) > 1 else "inside.pair"
    return note(key, pairs=len(turned), width=facts.head_width, **ends)


def _attention(facts: Facts, config: Config) -> Rows:
    if any(windows := config.get("windows", ())):
        yield "window", _windows(facts, windows)
    yield from _scale(facts, config)
    if cap := config.get("attention_cap"):
        yield "attention_cap", note("inside.within", cap=numbers.exact(cap))
    if facts.clipped:
        yield "clipped", note("inside.within", cap=numbers.exact(facts.clipped))
    if facts.sinks:
        yield "sinks", note("inside.sink")


def _scale(facts: Facts, config: Config) -> Rows:
    """What scores are multiplied by, where the config says."""
    width = facts.head_width
    root = note("inside.root", width=width, value=numbers.exact(1 / sqrt(width)))
    by_layer = config.get("scale_by_layer")
    if "scale_by_width" in config:
        if by_layer:
            key = "inside.by_layer" if config["scale_by_width"] else "inside.by_layer_alone"
            yield "scale", note(key, width=width)
        else:
            yield "scale", root if config["scale_by_width"] else note("inside.no_scale")
    elif "scale" in config:
        scale = config["scale"]
        yield "scale", root if not scale else numbers.exact(scale)


def _norms(facts: Facts, config: Config) -> Rows:
    kind = facts.norm if facts.affine else "plain"
    name = note(f"inside.norm_{kind}", epsilon=numbers.exact(facts.epsilon))
    if facts.norm_base:
        name = note("inside.more", norm=name, base=numbers.exact(facts.norm_base))
    yield "norm", name
    stand = {"added": "beside" if facts.parallel else "added", "onto_normed": "onto"}
    stand["normed"] = "both" if facts.norm_first else "normed"
    yield "norms", note(f"inside.stand_{stand.get(facts.residual, facts.residual)}")
    if facts.head_norm:
        yield "head_norm", note(f"inside.head_norm_{facts.head_norm}")


def _network(facts: Facts, config: Config) -> Rows:
    routed = _routed(facts, config)
    name = named(str(config.get("activation", "")))
    if "alpha" in config and "limit" in config:
        of = {"alpha": numbers.exact(config["alpha"]), "limit": numbers.exact(config["limit"])}
        yield "activation", note("inside.clamped", **of)
        yield "clamp", note("inside.limits", **of)
    elif name:
        yield "activation", note("inside.gated", name=name) if config.get("gated") else name
    if len(routed) < facts.layers and (inner := config.get("inner_width")):
        yield "inner_width", numbers.count(inner)
    if routed:
        count, used, shared = facts.experts
        which = _which(routed, facts.layers)
        key = "inside.mixture_shared" if shared else "inside.mixture"
        yield "experts", note(key, count=count, used=used, which=which)
        width = config.get("expert_width") or config.get("mixture", {}).get("inner")
        yield "expert_width", numbers.count(width)
    if facts.residual_factor != 1:
        yield "residual_factor", numbers.exact(facts.residual_factor)


def _routed(facts: Facts, config: Config) -> Sequence[int]:
    """The layers that are mixtures of experts."""
    if not facts.experts:
        return ()
    return config.get("sparse") or range(config.get("mixture", {}).get("first", 0), facts.layers)


def _output(facts: Facts, config: Config) -> Rows:
    kind = "none" if not facts.predicts else "tied" if config.get("tied") else "own"
    yield "output", note(f"inside.{kind}")
    if facts.logit_scale != 1:
        yield "logit_scale", numbers.exact(facts.logit_scale)
    if facts.logit_cap:
        yield "logit_cap", note("inside.within", cap=numbers.exact(facts.logit_cap))


_PARTS: Sequence[Callable[[Facts, Config], Rows]] = (
    _sizes, _positions, _norms, _attention, _network, _output,
)  # fmt: skip


def _windows(facts: Facts, windows: Sequence[int]) -> Words:
    """How many keys a query sees in which layers; 0 is all of them."""
    widths = dict.fromkeys(width for width in windows if width)
    told = []
    for width in widths:
        which = _which([n for n, one in enumerate(windows) if one == width], len(windows))
        keys = note("inside.keys" if facts.writes else "inside.near", count=numbers.count(width))
        told.append(note("inside.in_layers", value=keys, which=which))
    return _listed(told)


def _which(layers: Sequence[int], count: int) -> Words:
    return note("inside.every_layer") if len(layers) == count else _layers(layers)


def _layers(layers: Sequence[int]) -> Words:
    """`layers 0–4, layer 7`: runs of neighbours."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and runs[-1][1] == layer - 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    if len(runs) > 1 and all(first == last for first, last in runs):
        return note("inside.singles", numbers=", ".join(str(first) for first, _ in runs))
    return _listed([
        note("inside.layer", number=first) if first == last
        else note("inside.layer_range", first=first, last=last) for first, last in runs
    ])  # fmt: skip


def _listed(parts: Sequence[Words]) -> Words:
    if len(parts) < 2:
        return parts[0] if parts else ""
    return note("inside.first_of", first=parts[0], rest=_listed(parts[1:]))
