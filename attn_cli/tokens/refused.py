"""What the library refuses in a tokenizer.json, whose own message names a line and no more.

Each part is given to it alone, beside the smallest model that there is.
"""

import json
from collections import deque
from collections.abc import Iterator
from typing import Any

from attn_cli.errors import shorten
from attn_cli.tokens import guarded

_PARTS = {
    "normalizer": "normalizers", "pre_tokenizer": "pre_tokenizers", "post_processor": "processors",
    "decoder": "decoders", "truncation": "", "padding": "", "added_tokens": "", "version": "",
}  # fmt: skip
_LEAST: dict[str, dict[str, Any]] = {
    "BPE": {"type": "BPE", "vocab": {}, "merges": []},
    "Unigram": {"type": "Unigram", "vocab": [], "unk_id": None},
    "WordLevel": {"type": "WordLevel", "vocab": {}, "unk_token": ""},
    "WordPiece": {"type": "WordPiece", "vocab": {}, "unk_token": "", "max_input_chars_per_word": 9,
                  "continuing_subword_prefix": ""},
}  # fmt: skip
_SMALL = 100_000  # characters of a part that is given alone; a larger one has no such mistake


def what(library: Any, document: dict[str, Any]) -> str:
    """The first thing in a document that the library does not read, or nothing."""
    return next(_problems(library, document), "")


def _problems(library: Any, document: dict[str, Any]) -> Iterator[str]:
    yield from _of_model(library, document.get("model"))
    for part, module in _PARTS.items():
        if part not in document or _is_read(library, {part: document[part]}):
            continue
        for step in _objects(document[part]):
            kind = step.get("type")
            if module and "type" in step and not _known(getattr(library, module), kind):
                yield f"the type {shorten(str(kind))!r} in its {part} is unknown"
            pattern = step.get("Regex")
            if isinstance(pattern, str) and not _compiles(library, pattern):
                yield f"the pattern {shorten(pattern)!r} in its {part} does not compile"
        yield f"its {part} cannot be used"
    yield from _of_template(document.get("post_processor"))


def _of_template(part: Any) -> Iterator[str]:
    """Special tokens of a template that it does not define: the library panics over it later."""
    for step in _objects(part):
        if isinstance(defined := step.get("special_tokens"), dict):
            for piece in _objects([step.get("single"), step.get("pair")]):
                token = piece.get("SpecialToken")
                if isinstance(token, dict) and token.get("id") not in defined:
                    named = shorten(str(token.get("id")))
                    yield f"its post_processor names {named!r}, which its special_tokens lack"


def _of_model(library: Any, model: Any) -> Iterator[str]:
    if not isinstance(model, dict):
        yield "its model is missing" if model is None else "its model is not a JSON object"
        return
    vocabulary = model.get("vocab")
    kind = model.get("type", "BPE" if "merges" in model else "WordPiece")
    if not isinstance(kind, str) or kind not in _LEAST:
        yield f"its model is of the type {shorten(str(kind))!r}, none of {', '.join(_LEAST)}"
        return
    if not isinstance(vocabulary, type(_LEAST[kind]["vocab"])):
        yield "its model has no vocabulary (vocab)"
        return
    yield from _of_pieces(model) if kind == "Unigram" else _of_ids(vocabulary)
    if kind == "BPE":
        yield from _of_merges(model.get("merges"), vocabulary)
    for key, value in model.items():
        asked = _LEAST[kind] | {key: value}
        if key not in {"type", "vocab", "merges", "unk_id"} and not _is_read(library, {}, asked):
            yield f"the key {shorten(key)} of its model is {shorten(json.dumps(value))}"


def _of_ids(vocabulary: dict[str, Any]) -> Iterator[str]:
    for token, id in vocabulary.items():
        if type(id) is not int or not 0 <= id < 2**32:
            told = f"{shorten(token)!r} the id {shorten(json.dumps(id))}"
            yield f"its vocabulary gives {told}, not a whole number from 0 on"


def _of_pieces(model: dict[str, Any]) -> Iterator[str]:
    pieces, unknown = model["vocab"], model.get("unk_id")
    for n, piece in enumerate(pieces):
        match piece:
            case [str(), int() | float()]:
                pass
            case _:
                yield f"entry {n} of its vocabulary is not a text and its score"
    if unknown is not None and (type(unknown) is not int or not 0 <= unknown < len(pieces)):
        told = shorten(json.dumps(unknown))
        yield f"its unk_id is {told}, its vocabulary has {len(pieces)} entries"


def _of_merges(merges: Any, vocabulary: dict[str, int]) -> Iterator[str]:
    if not isinstance(merges, list):
        yield "its model has no merges"
        return
    for n, merge in enumerate(merges):
        match merge.split(" ") if isinstance(merge, str) else merge:
            case [str(left), str(right)]:
                for token in (left, right, left + right):
                    if token not in vocabulary:
                        yield f"its merge {n} needs {shorten(token)!r}, which its vocabulary lacks"
            case _:
                yield f"its merge {n} is not two tokens"


def _is_read(library: Any, parts: dict[str, Any], model: dict[str, Any] | None = None) -> bool:
    """Whether the library reads these parts of a document, beside a model of nothing."""
    text = json.dumps({"added_tokens": [], "model": model or _LEAST["WordLevel"]} | parts)
    if len(text) > _SMALL:
        return True
    try:
        with guarded.quiet():
            library.Tokenizer.from_buffer(text.encode())
    except (ValueError, guarded.Panicked):
        return False
    return True


def _compiles(library: Any, pattern: str) -> bool:
    try:
        with guarded.quiet():
            library.Regex(pattern)
    except Exception:  # the library has no class of its own for it
        return False
    return True


def _known(module: Any, kind: Any) -> bool:
    return isinstance(kind, str) and kind[:1].isupper() and hasattr(module, kind)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Each JSON object in a value, the outer ones first."""
    left = deque([value])
    while left:
        one = left.popleft()
        if isinstance(one, dict):
            yield one
        left += one.values() if isinstance(one, dict) else one if isinstance(one, list) else []
