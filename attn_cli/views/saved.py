"""Documents read again: the records that a page is made from, or what is wrong with a document."""

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np
import orjson

from attn_cli import vocabulary
from attn_cli.errors import ContentError
from attn_cli.maths import masks
from attn_cli.model.what_if import removed_heads
from attn_cli.records import Address, Attention, Facts, Prediction, Prompt, Trace
from attn_cli.routing import Experts
from attn_cli.tokens.token import MASKS, Token, telling
from attn_cli.views.check import DAMAGED, array_of, fault
from attn_cli.views.json import MODEL, field_names
from attn_cli.views.text import named, visible
from attn_cli.words import Note, note

_SCHEMA = re.compile(r"attn\.([a-z]{1,20})/([0-9]{1,9})", re.ASCII)
_FROM = "attn COMMAND --json writes what can be read here"
_MOST = 10**9
# What a document begins with, and what it says of a pass beside its own.
_FIRST = ("model", "prompt", "settings")


class Saved(NamedTuple):
    """A document and what was made of it: `result` is the record of its result, or the trace."""

    command: str
    document: Mapping[str, Any]
    model: Facts | None
    prompt: Prompt | None
    settings: Mapping[str, Any]
    result: Any
    notes: tuple[Note, ...]


def parsed(data: bytes) -> dict[str, Any]:
    """The object that JSON holds. Raises ContentError."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise ContentError(
            f"it is not JSON (at {where})" if data else "it is empty", _FROM
        ) from None
    if not isinstance(found, dict):
        raise ContentError("it is JSON, but no document of attn", _FROM)
    return found


def command_of(document: Mapping[str, Any], known: Sequence[str]) -> str:
    """Which command wrote a document. Raises ContentError for another one's, or a later version."""
    name = document.get("schema")
    match = _SCHEMA.fullmatch(name) if isinstance(name, str) else None
    if not match:
        lines = {"provenance", "values"} <= document.keys() or document.keys() == {"next"}
        raise ContentError(
            "this is a line of --format ndjson, without its prompt" if lines
            else "it has no schema of attn",
            "write whole documents: --json, or --each line --format ndjson" if lines else _FROM,
        )  # fmt: skip
    command, version = match.groups()
    if command not in known:
        raise ContentError(f"its schema is {name}, which no command writes", _FROM)
    if version != "1":
        raise ContentError(f"its schema is {name}; this attn reads attn.{command}/1", "update attn")
    return command


def read(
    document: Mapping[str, Any], command: str, schema: Mapping[str, Any], kinds: Sequence[type]
) -> Saved:
    """The records of a document that its schema allows; `kinds` are those of its result.

    Raises ContentError, where its parts contradict each other too.
    """
    problem = fault(schema, document)
    if problem:
        raise ContentError(f"it does not follow attn.{command}/1: {problem}", DAMAGED)
    facts, prompt, settings = _told_first(document)
    for one in _placed(document) if facts else ():
        _check_address(facts, one)
    notes = tuple(note("show.note", said=said) for said in document["notes"])
    if command == "trace":
        facts = replace(
            facts, partial=True
        )  # much of what its page tells of the model is elsewhere
        result: Any = _trace(document, facts, prompt, settings)
    else:
        result = of_json(_fitting(kinds, schema, document["result"]), document["result"])
    return Saved(command, document, facts, prompt, settings, result, notes)


def _fitting(kinds: Sequence[type], schema: Mapping[str, Any], result: Any) -> type:
    """The record that a result was written from."""
    (*others, last) = zip(kinds, schema["properties"]["result"]["anyOf"], strict=True)
    defs = {"$defs": schema["$defs"]}
    return next((kind for kind, own in others if not fault({**own, **defs}, result)), last[0])


def of_json(kind: Any, value: Any, text: Callable[[str], str] = named) -> Any:
    """The value of a type that `views.json.record` has written. Null was a number that is not
    finite. Of each `text` what a screen may show is kept, if it is for one; names, which are all
    but what is called text, are no longer than a page may have them."""
    if names := field_names(kind):
        hints = get_type_hints(kind)
        if names == _FIRST:
            return kind(*_told_first(value))
        there = (name for name in names if name in value)
        read = {"text": visible if text is named else text}
        return kind(
            **{name: of_json(hints[name], value[name], read.get(name, text)) for name in there}
        )
    if get_origin(kind) is tuple:
        return tuple(of_json(get_args(kind)[0], item, text) for item in value)
    if kind is str:
        return text(value)
    if kind is np.ndarray:
        return array_of(value)
    if kind is float:
        return _number(value)
    return int(value) if kind is int else _frozen(value)


def _number(value: float | None) -> float:
    """What was written: a float32 where these are its shortest digits."""
    if value is None:
        return np.nan
    with np.errstate(all="ignore"):
        small = np.float32(value)
    return float(small) if float(str(small)) == value else float(value)


def _frozen(value: Any) -> Any:
    """The lists of a mapping as tuples."""
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


# --- the model and the prompt --------------------------------------------------------------------


def _told_first(
    document: Mapping[str, Any],
) -> tuple[Facts | None, Prompt | None, Mapping[str, Any]]:
    """The model, the prompt and the settings of a document, or of what has these beside."""
    model, prompt, settings = (document[name] for name in _FIRST)
    facts = _facts(model, _stack(document)) if model else None
    if prompt:
        prompt = _prompt(prompt, settings, facts, document.get("target", prompt.get("target")))
    return facts, prompt, settings


def _stack(document: Mapping[str, Any]) -> str:
    """The stack that predicts: the decoder, or the only one, which blocks and results name."""
    if document["model"]["encoder"]:
        return "decoder"
    named = [*(one["stack"] for one in _with(document, "stack")), document["settings"].get("stack")]
    return next((name for name in named if name in vocabulary.STACKS), "decoder")


def _placed(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a document says of a block, or of one of its numbers."""
    return _with(document, "stack", "kind", "layer")


def _with(document: Mapping[str, Any], *keys: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a document that have these keys."""
    result = document.get("result", {})
    lists = [document.get("attention"), *result.values(), [result]]
    for found in lists:
        for one in found if isinstance(found, list) else ():
            if isinstance(one, dict) and {*keys} <= one.keys():
                yield one


def _check_address(facts: Facts, one: Mapping[str, Any]) -> None:
    """Raises ContentError for a block that the model does not have."""
    if (one["stack"], one["kind"]) not in facts.attentions:
        raise ContentError("it names an attention that its model does not have", DAMAGED)
    _check_places([one["layer"]], facts.layers_of(one["stack"]), "layers")


def _facts(model: Mapping[str, Any], stack: str) -> Facts:
    sizes = ("layers", "heads", "kv_heads", "model_width", "head_width")
    encoder = model["encoder"] or {}
    counts = [*(model[name] for name in sizes), *encoder.values()]
    if not 1 <= min(counts) <= max(counts) < _MOST:
        raise ContentError("its model has sizes that none can have", DAMAGED)
    if model["heads"] % model["kv_heads"]:
        raise ContentError("its model's heads are not divided among its kv_heads", DAMAGED)
    whole = {n: int(v) if isinstance(v, float) else v for n in MODEL for v in (model[n],)}
    counts = tuple(int(encoder[name]) for name in ("layers", "heads")) if encoder else ()
    whole["context"] = whole["context"] or 0
    attending = model.get("attention_layers")
    mixers: tuple[str, ...] = ()
    if attending is not None:
        _check_places(attending, whole["layers"], "attention_layers")
        mixers = tuple("" if n in attending else "other" for n in range(whole["layers"]))
    told = {"stack": stack, "masked": stack == "encoder", "mixers": mixers, "partial": True}
    if "facts" in model:
        hints = get_type_hints(Facts)
        told = {
            name: _frozen(value) if _of_config(value) else of_json(hints[name], value)
            for name, value in model["facts"].items()
        }
        if list(map(bool, told.get("mixers", ()))) != list(map(bool, mixers)):
            raise ContentError("its model's mixers are not of its other layers", DAMAGED)
    return Facts(**whole, encoder=counts, **told)


def _of_config(value: Any) -> bool:
    """Whether these are numbers, which keep the digits that the model's config gave them."""
    every = value if isinstance(value, list) else [value]
    return {type(one) for one in every} <= {int, float}


def _prompt(
    found: Mapping[str, Any],
    settings: Mapping[str, Any],
    facts: Facts | None,
    target: Mapping[str, Any] | None,
) -> Prompt:
    tokens = _tokens(found)
    pair = settings.get("pair")
    follow = telling(tokens, masks_of(tokens)) if facts and facts.encodes else -1
    return Prompt(
        text=found["text"] or "", has_text=found["text"] is not None, tokens=tokens,
        special=settings.get("special", True), chat=settings.get("chat") or "",
        pair=pair or "", types=(0,) * len(tokens) if pair is not None else (),
        other_keys=found.get("given", {}), follow=follow,
        target=target and _prompt(target, {}, None, None),
    )  # fmt: skip


def masks_of(tokens: Sequence[Token]) -> list[int]:
    """The positions of the tokens that a masked-language model fills, as far as names tell."""
    return [i for i, token in enumerate(tokens) if token.special and token.text in MASKS]


def _tokens(found: Mapping[str, Any]) -> tuple[Token, ...]:
    tokens = []
    for place, token in enumerate(found["tokens"]):
        if token["position"] != place:
            raise ContentError("its tokens are not in the order of their positions", DAMAGED)
        try:
            raw = b64decode(token["bytes"] or "", validate=True)
        except ValueError:
            raise ContentError(f"the bytes of its token {place} are not base64", DAMAGED) from None
        tokens.append(Token(
            id=int(token["id"]), text=token["text"], span=(0, 0), bytes=raw,
            special=token["special"],
        ))  # fmt: skip
    if not tokens:
        raise ContentError("its prompt has no tokens", DAMAGED)
    return tuple(tokens)


# --- the trace -----------------------------------------------------------------------------------


def _trace(
    document: Mapping[str, Any], facts: Facts, prompt: Prompt, settings: Mapping[str, Any]
) -> Trace:
    missing = [name for name in vocabulary.WHAT_IFS if name not in settings]
    if missing:
        raise ContentError(f"its settings lack {missing[0]}", DAMAGED)
    blocks = tuple(_block(found, facts, prompt, settings) for found in document["attention"])
    if len({block.address for block in blocks}) < len(blocks) or not blocks:
        raise ContentError("its attention has no block, or one twice", DAMAGED)
    next = of_json(tuple[Prediction, ...], document["next"], str)
    _check_places([entry.position for entry in next], len(prompt.last.tokens), "next")
    experts = tuple(_experts(one, blocks) for one in document.get("experts", ()))
    if len({(of.stack, of.layer) for of in experts}) < len(experts):
        raise ContentError("its experts have a layer twice", DAMAGED)
    shared = {"model": facts, "prompt": prompt, "settings": settings}
    return Trace(**shared, attention=blocks, experts=experts, next=next)


def _experts(found: Mapping[str, Any], blocks: Sequence[Attention]) -> Experts:
    """Where a layer's tokens were sent. Raises ContentError for what no router can say."""
    layer, count, shares = int(found["layer"]), int(found["count"]), array_of(found["shares"])
    own = [b for b in blocks if (b.stack, b.kind, b.layer) == (found["stack"], "self", layer)]
    queries, chosen = tuple(map(int, found["queries"])), found["chosen"]
    if not own or queries != own[0].queries:
        raise ContentError(f"its experts of layer {layer} are of other tokens", DAMAGED)
    shape = len(chosen), *{len(row) for row in chosen}
    if shares.dtype == bool or shares.shape != shape or shape[:1] != (len(queries),):
        raise ContentError(f"its experts of layer {layer} have no share each", DAMAGED)
    for query, row in zip(queries, chosen, strict=True):
        if len(set(row)) < len(row):
            raise ContentError(
                f"in layer {layer} it sends token {query} to the same expert twice", DAMAGED
            )
        if not 0 <= min(row, default=-1) <= max(row) < count:
            raise ContentError(
                f"in layer {layer} it sends token {query} to an expert that is not one of {count}",
                DAMAGED,
            )
    return Experts(
        stack=found["stack"], layer=layer, count=count, queries=queries,
        chosen=np.array(chosen, np.int64), shares=shares,
        what_if=found["provenance"] == vocabulary.WHAT_IF,
    )  # fmt: skip


def _check_places(numbers: Sequence[int], count: int, what: str) -> None:
    """Raises ContentError unless the numbers are different ones from 0 to below `count`."""
    if len({*numbers}) < len(numbers) or (
        numbers and not 0 <= min(numbers) <= max(numbers) < count
    ):
        raise ContentError(f"its {what} are out of range, or one stands there twice", DAMAGED)


def _removed(
    at: Address, heads: Sequence[int], arrays: Mapping[str, np.ndarray], facts: Facts,
    settings: Mapping[str, Any],
) -> tuple[int, ...]:  # fmt: skip
    """The heads of a block that --without-head took away: they were named, and pull nowhere."""
    sizes = [(facts.layers_of(stack), facts.heads_of(stack)) for stack, _ in facts.attentions]
    layers, count = map(max, zip(*sizes, strict=True))
    named = {one for word in settings["without_head"] for one in removed_heads(word, layers, count)}
    output = arrays.get("head_output", np.zeros((len(heads), 0)))
    return tuple(
        head for place, head in enumerate(heads)
        if (at.layer, head) in named and not output[place].any()
    )  # fmt: skip


def _block(
    found: Mapping[str, Any], facts: Facts, prompt: Prompt, settings: Mapping[str, Any]
) -> Attention:
    at = Address(found["stack"], found["kind"], int(found["layer"]))
    heads, kv_heads, queries, keys = (
        tuple(map(int, found[name])) for name in ("heads", "kv_heads", "queries", "keys")
    )
    sides = [len(side.tokens) for side in prompt.sides(at.stack, at.kind)]
    group = facts.group_of(at.stack)
    counts = (facts.heads_of(at.stack), facts.heads_of(at.stack) // group, *sides)
    named = {"heads": heads, "kv_heads": kv_heads, "queries": queries, "keys": keys}
    for (name, numbers), count in zip(named.items(), counts, strict=True):
        _check_places(numbers, count, name)
    if not (heads and queries and keys) or {head // group for head in heads} - {*kv_heads}:
        raise ContentError("a block of it has no heads, queries or keys", DAMAGED)
    sizes = {
        "head": len(heads), "kv_head": len(kv_heads), "query": len(queries), "key": len(keys),
    }  # fmt: skip
    arrays = _arrays(found["arrays"], sizes, facts)
    whole = "visible" in arrays and [queries, keys] == [tuple(range(count)) for count in sides]
    changed = {n for n, one in found["arrays"].items() if one["provenance"] == vocabulary.WHAT_IF}
    scale, soft_cap = (_number(found.get(name, 0)) for name in ("scale", "soft_cap"))
    if not scale:
        raise ContentError("a block of it has no scale", DAMAGED)
    return Attention(
        **at._asdict(), **named, scale=scale, soft_cap=soft_cap, arrays=arrays,
        removed=_removed(at, heads, arrays, facts, settings), what_if=frozenset(changed),
        reach=_reach(arrays["visible"]) if whole else None,
    )  # fmt: skip


def _reach(visible_QK: np.ndarray) -> masks.Reach:
    at = masks.looks(lambda at_Q, at_K: visible_QK[np.ix_(at_Q, at_K)], 0, *visible_QK.shape)
    return masks.reach(at)


def _arrays(found: Mapping[str, Any], sizes: dict[str, int], facts: Facts) -> dict[str, np.ndarray]:
    """The arrays of a block, whose axes agree. Raises ContentError."""
    arrays, sizes = {}, {**sizes, "model": facts.model_width}
    for name in filter(found.__contains__, vocabulary.ARRAYS):
        values = array_of(found[name]["values"])
        shape = list(values.shape)
        axes = vocabulary.ARRAYS[name].axes
        free = {"bucket"} | ({"model"} if name in vocabulary.EMBEDDING_PARTS else set())
        # Queries and keys come of latents of their own, and a key of two parts.
        free |= {"latent", "width"} if "latent" in axes or name.endswith("_k_rotated") else set()
        fits = shape == found[name]["shape"] and len(shape) == len(axes)
        for axis, size in zip(axes, shape, strict=False):
            fits = fits and (axis in free or sizes.setdefault(axis, size) == size)
        if not fits or (values.dtype == bool) != (name == "visible"):
            raise ContentError(f"the values of {name} do not have its shape", DAMAGED)
        arrays[name] = values
    if "masked" in arrays:
        _restore_masked(arrays, found["masked"].get("nonfinite", 0))
    return arrays


def _restore_masked(arrays: dict[str, np.ndarray], bad: int) -> None:
    """Puts −∞ where null means that; elsewhere it is a number that is not finite."""
    masked = arrays["masked"]
    hidden = ~arrays["visible"] if "visible" in arrays else np.bool_(not bad)
    masked[np.isnan(masked) & hidden] = -np.inf
