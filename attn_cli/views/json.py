"""Documents: strict JSON. Masked −∞ and every non-finite is null."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import orjson

from attn_cli import __version__, vocabulary
from attn_cli.notes import NONFINITE
from attn_cli.records import Attention, Facts, Prompt, Trace, nonfinite
from attn_cli.tokens.token import Token
from attn_cli.words import Note, in_english

# What a document says of a model, beside `encoder`.
MODEL = (
    "name", "family", "source", "layers", "heads", "kv_heads", "model_width", "head_width",
    "vocabulary", "context", "parameters",
)  # fmt: skip
# What it says under `facts`, each where it is not as usual.
FACTS = tuple(
    field for field in fields(Facts)
    if field.name not in (*MODEL, "encoder", "partial", "adapter")
)  # fmt: skip
T = TypeVar("T")
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
_SMALLEST, _LARGEST = (float(getattr(np.finfo(np.float32), n)) for n in ("tiny", "max"))


def encode(value: Any, *, line: bool = False) -> bytes:
    """Strict JSON bytes; float32 with the shortest digits that read back to the same number.

    As a `line` it has a newline at its end.
    """
    option = _OPTIONS | (orjson.OPT_APPEND_NEWLINE if line else 0)
    try:
        return orjson.dumps(value, default=_other, option=option)
    except orjson.JSONEncodeError:
        return orjson.dumps(_without_surrogates(value), default=_other, option=option)


def _without_surrogates(value: Any) -> Any:
    """The same with every character that UTF-8 lacks (from a file's name, say) as `?`."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value


def encode_pretty(value: Any) -> bytes:
    """The same, indented for a reader, with a final newline."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _other(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value) if value.ndim else value.item()
    raise TypeError(f"no JSON form for {type(value)}")


def trace_document(trace: Trace, *, values: bool = True) -> dict[str, Any]:
    """The `attn.trace/1` document, or all of it but the `values` of arrays."""
    blocks = [_block(block, values=values) for block in trace.attention]
    return {**_before(trace), "attention": blocks, **_after(trace)}


def trace_pieces(trace: Trace) -> Iterator[bytes]:
    """The same as a line in pieces, an array's each: a whole one may be larger than the trace."""
    yield encode(_before(trace))[:-1] + b',"attention":['
    for place, block in enumerate(trace.attention):
        if place:
            yield b","
        yield from _block_pieces(block)
    yield b"]," + encode(_after(trace), line=True)[1:]


def told(notes: Iterable[Note]) -> dict[str, Any]:
    """The notes of a document, and of those on numbers that are NaN or infinite what is counted
    there: of which tensor, array or other numbers, and where."""
    found = [
        {
            "name": note.values.get("name") or NONFINITE[note.key],
            "where": in_english(note.values["where"]) if "where" in note.values else None,
            "count": note.values["count"],
        }
        for note in notes
        if note.key in NONFINITE
    ]
    more = {"nonfinite": found} if found else {}
    return {**more, "notes": list(map(in_english, notes))}


def _before(trace: Trace) -> dict[str, Any]:
    """What stands before the blocks of a trace's document."""
    shared = envelope("trace", trace.model, trace.prompt, trace.settings)
    settings = shared.pop("settings")
    target = prompt_document(trace.prompt.target) if trace.prompt.target else None
    return {**shared, "target": target, "settings": settings}


def _after(trace: Trace) -> dict[str, Any]:
    """What stands after them."""
    following = [record(entry) for entry in trace.next]
    return {**experts(trace), "next": following, **told(trace.notes)}


def experts(trace: Trace) -> dict[str, Any]:
    """Where the routers of a mixture sent the tokens, layer by layer; nothing of other models."""
    if not trace.experts:
        return {}
    layers = [
        {
            "stack": of.stack,
            "layer": of.layer,
            "count": of.count,
            "queries": list(of.queries),
            "provenance": of.provenance,
            "chosen": of.chosen,
            "shares": of.shares,
        }
        for of in trace.experts
    ]
    return {"experts": layers}


def document(
    command: str,
    model: Facts | None,
    prompt: Prompt | None,
    settings: Mapping[str, Any],
    result: Any,
    notes: tuple[Note, ...],
) -> dict[str, Any]:
    """The `attn.COMMAND/1` document of another command; `result` is an analysis record."""
    shared = envelope(command, model, prompt, settings)
    return {**shared, "prompt": record(prompt), "result": record(result), **told(notes)}


def envelope(
    command: str, model: Facts | None, prompt: Prompt | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What every document begins with."""
    return {
        "schema": f"attn.{command}/1",
        "tool": {"name": "attn", "version": __version__},
        "model": None if model is None else _facts(model),
        "prompt": None if prompt is None else prompt_document(prompt),
        "settings": dict(settings) | (model.settings if model else {}),
    }


def _facts(model: Facts) -> dict[str, Any]:
    encoder = dict(zip(("layers", "heads"), model.encoder, strict=True)) if model.encoder else None
    shown = {name: getattr(model, name) for name in MODEL}
    if model.mixers:
        shown["attention_layers"] = list(model.attending(model.stack))
    if not model.partial:
        told = {field.name: getattr(model, field.name) for field in FACTS}
        usual = {field.name: field.default for field in FACTS}
        shown["facts"] = {name: one for name, one in told.items() if one != usual[name]}
    return {**shown, "context": model.context or None, "encoder": encoder}


def prompt_document(prompt: Prompt) -> dict[str, Any]:
    """Text (null for ids) and tokens; the other keys of a JSON line where it had some."""
    tokens = [_token(i, token) for i, token in enumerate(prompt.tokens)]
    given = {"given": dict(prompt.other_keys)} if prompt.other_keys else {}
    return {"text": prompt.text if prompt.has_text else None, "tokens": tokens, **given}


def _token(position: int, token: Token) -> dict[str, Any]:
    from base64 import b64encode

    return {
        "position": position,
        "id": token.id,
        "text": token.text,
        "bytes": b64encode(token.bytes).decode() if token.bytes else None,
        "special": token.special,
    }


def field_names(value: Any) -> tuple[str, ...]:
    """The fields of a record, or of a class of records; none of anything else."""
    if is_dataclass(value):
        return tuple(field.name for field in fields(value))
    return getattr(value, "_fields", ())


def record(value: Any) -> Any:
    """A record as JSON, field by field. Computed floats carry float32's precision and digits."""
    if isinstance(value, Facts):
        return _facts(value)
    if isinstance(value, Prompt):
        target = {"target": prompt_document(value.target)} if value.target else {}
        return {**prompt_document(value), **target}
    if names := field_names(value):
        found = {name: getattr(value, name) for name in names}
        return {name: record(one) for name, one in found.items() if not _absent(name, one)}
    if isinstance(value, tuple | list):
        return [record(item) for item in value]
    if isinstance(value, Mapping):
        return {key: record(item) for key, item in value.items()}
    return _float(value) if isinstance(value, float) else value


def _float(value: float) -> Any:
    """What float32 cannot hold keeps its own digits; NaN and infinity become null either way."""
    return np.float32(value) if _SMALLEST <= abs(value) <= _LARGEST else value


def as_written(value: T) -> T:
    """A record with the numbers that its document has, for a page that counts digits."""
    if isinstance(value, float):
        return float(_float(value))
    if isinstance(value, tuple):
        inner = map(as_written, value)
        return type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
    return value


def _absent(name: str, value: Any) -> bool:
    """Whether a field is of what only some models have, and this one has none."""
    if name not in vocabulary.OF_SOME:
        return False
    if isinstance(value, int):
        return not value
    return bool(np.isnan(value)) if isinstance(value, float) else not len(value)


def _block_pieces(block: Attention) -> Iterator[bytes]:
    yield encode(_of_block(block))[:-1] + b',"arrays":{'
    for place, (name, array) in enumerate(block.arrays.items()):
        yield b"," * bool(place) + encode(name) + b":"
        yield encode(array_document(block, name, array))
    yield b"}}"


def _block(block: Attention, *, values: bool) -> dict[str, Any]:
    arrays = {name: array_document(block, name, array) for name, array in block.arrays.items()}
    for found in () if values else arrays.values():
        del found["values"]
    return {**_of_block(block), "arrays": arrays}


def _of_block(block: Attention) -> dict[str, Any]:
    """What a block's document says before its arrays."""
    return {
        "stack": block.stack,
        "kind": block.kind,
        "layer": block.layer,
        "heads": list(block.heads),
        "kv_heads": list(block.kv_heads),
        "queries": list(block.queries),
        "keys": list(block.keys),
        "scale": np.float32(block.scale),
        **({"soft_cap": np.float32(block.soft_cap)} if block.soft_cap else {}),
    }


def array_document(
    block: Attention, name: str, values: np.ndarray, axes: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """An array of a block with what its values are; `axes` are those of a part of it."""
    spec = vocabulary.ARRAYS[name]
    found = {
        "step": spec.step or None,
        "axes": list(spec.axes if axes is None else axes),
        "shape": list(values.shape),
        "provenance": block.provenance(name),
    }
    bad = nonfinite(name, values)
    if bad:
        found["nonfinite"] = bad
    return {**found, "values": values}
