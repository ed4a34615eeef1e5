"""The local store of Ollama: manifests that name blobs. Nothing is fetched.

`manifests/HOST/NAMESPACE/MODEL/TAG` is JSON with layers; the blob of the layer that is the model is
a GGUF file. https://github.com/ollama/ollama
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attn_cli.errors import ContentError, NoModelError, shorten
from attn_cli.files import reason
from attn_cli.strict import MANIFEST, read_json_object

PREFIX = "ollama:"
_HOST, _LIBRARY, _TAG = "registry.ollama.ai", "library", "latest"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HOST_NAME = re.compile(rf"{_PART.pattern}(:[0-9]{{1,5}})?")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_MODEL, _ADAPTER = "application/vnd.ollama.image.model", "application/vnd.ollama.image.adapter"
# A user's own store, and those of services as the installers and distributions make them.
_PLACES = (
    "~/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models",
    "/var/lib/ollama/models",
)  # fmt: skip


def roots() -> list[Path]:
    """The stores to look in: the one that is set, else those that are there."""
    given = os.environ.get("OLLAMA_MODELS")
    places = [Path(os.path.expanduser(place)) for place in ([given] if given else _PLACES)]
    return [place for place in places if given or _is_there(place / "manifests")]


def _is_there(folder: Path) -> bool:
    """Whether there is such a folder, also one that may not be read."""
    try:
        os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def names() -> list[str]:
    """Every model of the stores as `find` takes it, without the prefix."""
    return sorted({name for place in roots() for name in names_in(place)})


def names_in(place: Path) -> list[str]:
    """Those of one store. Raises ContentError for one that cannot be read."""
    return sorted(_shown(parts) for parts in _manifests(place / "manifests"))


def _manifests(folder: Path) -> Iterator[tuple[str, ...]]:
    """Host, namespace, model and tag of each manifest."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise ContentError(f"cannot read {error.filename}: {reason(error)}")

    for place, _, files in os.walk(folder, onerror=refuse):
        parts = Path(place).relative_to(folder).parts
        if len(parts) == 3:
            yield from ((*parts, name) for name in files if _PART.fullmatch(name))


def _shown(parts: tuple[str, ...]) -> str:
    host, namespace, model, tag = parts
    if host != _HOST:
        return f"{host}/{namespace}/{model}:{tag}"
    return f"{model}:{tag}" if namespace == _LIBRARY else f"{namespace}/{model}:{tag}"


def find(name: str) -> tuple[Path, ...]:
    """The GGUF file of `[HOST/][NAMESPACE/]MODEL[:TAG]`, or the parts of one.

    Raises NoModelError and ContentError.
    """
    parts = _parts(name)
    shown = _shown(parts)
    for place in roots():
        manifest = place.joinpath("manifests", *parts)
        if _is_there(manifest):
            _check_inside(manifest, place / "manifests")
            return _blobs(place, manifest, shown)
    where = ", ".join(map(str, roots())) or "there is no store of Ollama on this machine"
    raise NoModelError(
        f"no model {PREFIX}{shorten(shown)} ({where})",
        f"ollama pull {shorten(shown)}; attn models lists what is here",
    )


def _parts(name: str) -> tuple[str, ...]:
    *owners, last = name.split("/")
    model, colon, tag = last.partition(":")
    parts = (*owners, model, tag if colon else _TAG)
    host, rest = (parts[:1], parts[1:]) if len(parts) == 4 else ((), parts)
    named = all(map(_PART.fullmatch, rest)) and all(map(_HOST_NAME.fullmatch, host))
    if len(parts) > 4 or not named or len(name) > 200:
        raise NoModelError(
            f"{PREFIX}{shorten(name)} cannot be a name of Ollama's", "write ollama:MODEL[:TAG]"
        )
    return ((_HOST,) if len(parts) < 4 else ()) + ((_LIBRARY,) if len(parts) < 3 else ()) + parts


def _blobs(place: Path, manifest: Path, shown: str) -> tuple[Path, ...]:
    pull = f"ollama pull {shown} goes on where it stopped"
    layers = read_json_object(manifest, MANIFEST).get("layers")
    kinds = [_layer(layer, manifest) for layer in layers] if isinstance(layers, list) else []
    if any(kind == _ADAPTER for kind, *_ in kinds):
        raise ContentError(f"{shown} is a model with an adapter, which would change its numbers",
                           "open the model it was made from")  # fmt: skip
    models = [(digest, size) for kind, digest, size in kinds if kind == _MODEL]
    if not models:
        raise ContentError(f"{manifest} names no models", pull)
    return tuple(_blob(place, digest, size, shown, pull) for digest, size in models)


def _blob(place: Path, digest: str, size: int, shown: str, pull: str) -> Path:
    blob = place / "blobs" / f"sha256-{digest}"
    if not os.path.exists(blob) and os.path.exists(place / "blobs" / f"sha256:{digest}"):
        blob = place / "blobs" / f"sha256:{digest}"  # as the first versions named them
    if not _is_there(blob):
        partly = any(p.name.startswith(f"{blob.name}-partial") for p in blob.parent.glob("*-part*"))
        what = "is half-downloaded" if partly else f"lacks its blob {blob.name[:20]}…"
        raise ContentError(f"{PREFIX}{shown} {what}", pull)
    _check_inside(blob, place / "blobs")
    if os.path.isfile(blob) and os.path.getsize(blob) != size:
        raise ContentError(
            f"{blob} has {os.path.getsize(blob):,} bytes, its manifest says {size:,}", pull
        )
    return blob


def _check_inside(path: Path, folder: Path) -> None:
    """Raises ContentError for a link out of a folder of the store, which may be one itself."""
    home = os.path.realpath(folder)
    if os.path.commonpath([home, os.path.realpath(path)]) != home:
        raise ContentError(f"{path} is a link that leaves the store")


def _layer(layer: Any, manifest: Path) -> tuple[str, str, int]:
    """A layer's media type, the hex digits of its digest, and its size."""
    values = layer if isinstance(layer, dict) else {}
    kind, digest, size = (values.get(key) for key in ("mediaType", "digest", "size"))
    hexadecimal = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if not isinstance(kind, str) or not hexadecimal or type(size) is not int:
        raise ContentError(f"{manifest} has a layer without media type, digest or size")
    return kind, hexadecimal[1], size
