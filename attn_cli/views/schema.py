"""The JSON Schema of each document, derived from the records it is written from."""

from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Facts, Prediction, Prompt
from attn_cli.views.json import FACTS, MODEL, field_names

_VALUES = {
    "values": {
        "description": "numbers nested as the axes say; null is a masked −∞ or not finite",
        "anyOf": [
            {"type": ["number", "boolean", "null"]},
            {"type": "array", "items": {"$ref": "#/$defs/values"}},
        ],
    }
}
_SIMPLE = {
    int: {"type": "integer"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    # What is not finite is null.
    float: {"type": ["number", "null"]},
    np.ndarray: {"$ref": "#/$defs/values"},
}

# What a fact of a model can be, where it is a word.
_WORDS = {
    "stack": vocabulary.STACKS, "embedding": vocabulary.EMBEDDINGS,
    "positions": vocabulary.POSITIONS, "alibi": vocabulary.ALIBIS, "norm": vocabulary.NORMS,
    "head_norm": vocabulary.HEAD_NORMS, "residual": vocabulary.RESIDUALS,
}  # fmt: skip


def schema(command: str, result: tuple[type, ...] = ()) -> dict[str, Any]:
    """The schema of `attn.COMMAND/1`; `result` are the records that its result can be."""
    shared = {
        "schema": {"const": f"attn.{command}/1"},
        "tool": _object({"name": {"const": "attn"}, "version": {"type": "string"}}),
        "model": _facts(),
        "prompt": _prompt(),
        "settings": {"type": "object", "properties": _settings(command)},
        "nonfinite": {"type": "array", "items": _nonfinite()},
        "notes": {"type": "array", "items": {"type": "string"}},
    }
    if command == "trace":
        shared["target"] = {"anyOf": [{"type": "null"}, _prompt()]}
        shared["attention"] = {"type": "array", "items": _block()}
        shared["experts"] = {"type": "array", "items": _experts()}
        shared["next"] = {"type": "array", "items": of_type(Prediction)}
    else:
        shared["result"] = {"anyOf": [of_type(kind) for kind in result]}
        shared["prompt"] = of_type(Prompt)
        for key in ("model", "prompt"):
            shared[key] = {"anyOf": [{"type": "null"}, shared[key]]}
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"attn.{command}/1",
        "$defs": _VALUES,
    }
    return {**head, **_object(shared, ("experts", "nonfinite"))}


def line_schema(document: dict[str, Any]) -> dict[str, Any]:
    """The schema of an ndjson line of a trace: an array, the prediction, or a whole document."""
    shown = document["properties"]
    block = shown["attention"]["items"]["properties"]
    place = {name: block[name] for name in ("stack", "kind", "layer", "queries", "keys")}
    arrays, heads = [], ("head", "kv_head")
    for name, array in block["arrays"]["properties"].items():
        axes = vocabulary.ARRAYS[name].axes
        own = {
            **{h: {"type": "integer" if h in axes else "null"} for h in heads},
            "name": {"const": name},
            **array["properties"],
            "axes": {"const": [axis for axis in axes if axis not in heads]},
        }
        arrays.append(_object({**place, **own}, ("nonfinite",)))
    head = {key: document[key] for key in ("$schema", "$defs")}
    whole = {key: document[key] for key in document if key not in (*head, "title")}
    ends = [_object({name: shown[name]}) for name in ("experts", "next")]
    found = [*arrays, *ends, whole]
    return {**head, "title": f"a line of {document['title']}", "anyOf": found}


def scan_row(document: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a row of a scan, a line of ndjson, by that of its document."""
    result = document["properties"]["result"]["anyOf"][0]["properties"]
    head = result["heads"]["items"]["properties"]
    measure, text = (of["items"]["properties"] for of in (head["measures"], result["texts"]))
    example = measure["examples"]["items"]["properties"]
    one = {name: example[name] for name in ("value", "query", "key")} | text
    own = {name: v for name, v in {**head, **measure}.items() if name != "measures"}
    return _object({**own, "examples": {"type": "array", "items": _object(one)}})


def scan_line_schema(document: dict[str, Any]) -> dict[str, Any]:
    """The schema of an ndjson line of a scan: a row, or last what a document says beside them."""
    head = {key: document[key] for key in ("$schema", "$defs")}
    whole = {key: document[key] for key in document if key not in (*head, "title")}
    (result,) = whole["properties"]["result"]["anyOf"]
    known = {n: v for n, v in result["properties"].items() if n not in ("texts", "heads")}
    beside = {**whole, "properties": {**whole["properties"], "result": _object(known)}}
    found = [scan_row(document), beside]
    return {**head, "title": f"a line of {document['title']}", "anyOf": found}


def of_type(kind: Any) -> dict[str, Any]:
    """The schema of a record, a tuple of records, or a simple value."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if kind is Facts:
        return _facts()
    if kind is Prompt:
        return _prompt(target=_prompt())
    if kind == Prompt | None:
        return {"anyOf": [{"type": "null"}, of_type(Prompt)]}
    if names := field_names(kind):
        hints = get_type_hints(kind)
        shown = {name: of_type(hints[name]) for name in names}
        return _object(shown, optional=tuple(vocabulary.OF_SOME & {*names}))
    if get_origin(kind) is tuple:
        return {"type": "array", "items": of_type(get_args(kind)[0])}
    if get_origin(kind) is Mapping:
        return {"type": "object"}
    raise TypeError(f"no schema for {kind}")


def _object(properties: Mapping[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _settings(command: str) -> dict[str, Any]:
    """The schemas of the settings that the commands which run a model have in common."""
    if command == "train":
        return {}
    words = {"type": "array", "items": {"type": "string"}}
    typed = {
        name: words if isinstance(setting.neutral, tuple) else {"type": ["number", "null"]}
        for name, setting in vocabulary.WHAT_IFS.items()
    }
    chat = {"type": ["string", "null"]}
    typed |= {key: {"type": ["integer", "null"]} for key in ("seed", "draws", "max_tokens")}
    return {**typed, "special": {"type": "boolean"}, "chat": chat, "pair": {"type": "string"}}


def _facts() -> dict[str, Any]:
    hints = get_type_hints(Facts)
    shown = {name: of_type(hints[name]) for name in (*MODEL, "encoder")}
    # Only where not every layer has attention; only where a model was opened.
    some = {"attention_layers": {"type": "array", "items": {"type": "integer"}}}
    told = {field.name: of_type(hints[field.name]) for field in FACTS}
    for name, words in _WORDS.items():
        told[name] = {"enum": list(words)}
    told["mixers"] = {"type": "array", "items": {"enum": ["", *vocabulary.MIXERS]}}
    some["facts"] = _object(told, optional=tuple(told))
    facts = _object({**shown, **some}, optional=tuple(some))
    facts["properties"]["context"] = {"type": ["integer", "null"]}
    encoder = _object({"layers": {"type": "integer"}, "heads": {"type": "integer"}})
    facts["properties"]["encoder"] = {"anyOf": [{"type": "null"}, encoder]}
    return facts


def _prompt(**more: Any) -> dict[str, Any]:
    """The schema of a prompt; `more` it may have beside."""
    token = {
        "position": {"type": "integer"},
        "id": {"type": "integer"},
        "text": {"type": "string"},
        "bytes": {"type": ["string", "null"], "contentEncoding": "base64"},
        "special": {"type": "boolean"},
    }
    tokens = {"type": "array", "items": _object(token)}
    more = {"given": {"type": "object"}, **more}
    shown = {"text": {"type": ["string", "null"]}, "tokens": tokens}
    return _object({**shown, **more}, optional=tuple(more))


def _block() -> dict[str, Any]:
    numbers = {"type": "array", "items": {"type": "integer"}}
    arrays = {name: _array(spec) for name, spec in vocabulary.ARRAYS.items()}
    return _object(
        {
            "stack": {"enum": list(vocabulary.STACKS)},
            "kind": {"enum": list(vocabulary.KINDS)},
            "layer": {"type": "integer"},
            "heads": numbers,
            "kv_heads": numbers,
            "queries": numbers,
            "keys": numbers,
            "scale": {"type": "number"},
            "soft_cap": {"type": "number"},
            "arrays": {"type": "object", "properties": arrays, "additionalProperties": False},
        },
        optional=("soft_cap",),
    )


def _experts() -> dict[str, Any]:
    numbers = {"type": "array", "items": {"type": "integer"}}
    return _object(
        {
            "stack": {"enum": list(vocabulary.STACKS)},
            "layer": {"type": "integer"},
            "count": {"type": "integer"},
            "queries": numbers,
            "provenance": {"enum": [vocabulary.REAL, vocabulary.WHAT_IF]},
            "chosen": {"type": "array", "items": numbers},
            "shares": {"$ref": "#/$defs/values"},
        }
    )


def _nonfinite() -> dict[str, Any]:
    """How many numbers of a tensor, an array or a result are NaN or infinite, and where."""
    where = {"type": ["string", "null"]}
    return _object({"name": _SIMPLE[str], "where": where, "count": _SIMPLE[int]})


def _array(spec: vocabulary.ArraySpec) -> dict[str, Any]:
    provenance = [vocabulary.REAL, vocabulary.DERIVED, vocabulary.WHAT_IF]
    return _object(
        {
            "step": {"const": spec.step or None},
            "axes": {"const": list(spec.axes)},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "provenance": {"enum": provenance},
            "nonfinite": {"type": "integer"},
            "values": {"$ref": "#/$defs/values"},
        },
        optional=("nonfinite",),
    )
