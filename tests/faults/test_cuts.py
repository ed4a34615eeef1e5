"""Every small valid file cut at every byte, and with every byte of its header changed.

Only an error of ours may escape, soon; and what is read must be what was read of the whole file,
but where no check could know. These are, by kind of file:

- GGUF: the norms' epsilon; the type of a vector whose padded size is the same in both types; which
  tokens merge, which is judged when a text needs all of them;
- the oldest PyTorch form, which has no checksum: names, shapes, offsets and strides of its table
  (a model that is opened asks for certain names and shapes);
- JSON: digits, letters of a text, of a key that may be missing or is only noted; a seed, a score;
- vocab.txt, merges.txt, SentencePiece: the letters of a piece, its score, and how many lines of
  text there are.

With `ATTN_FAULTS=all` no case is left out (see CONTRIBUTING).
"""

import os
import warnings
from collections.abc import Iterator

import pytest
from faults.damaged import BINARY, KINDS, TEXTS, Kind, Refused

from attn_cli.errors import AttnError

EVERY = os.environ.get("ATTN_FAULTS") == "all"
PATTERNS = (lambda byte: byte ^ 1, lambda byte: byte ^ 0x80, lambda byte: 0, lambda byte: 0xFF)
# How many cases of a kind are too many, and of those that take a run of the command.
MOST, SLOW = 6000, 700
FEW = ("safetensors", "gguf F32", "zip.bin", "config", "index", "manifest", "reference", "npz")


def damages(kind: Kind, whole: bytes) -> Iterator[tuple[int, int]]:
    """Cuts and flips: where, and the byte that stands there then; -1 where nothing does."""
    yield from ((size, -1) for size in range(len(whole)))
    for place in kind.header(whole):
        bytes_ = {change(whole[place]) for change in PATTERNS} - {whole[place]}
        yield from ((place, byte) for byte in sorted(bytes_))


def faults_of(kind: Kind, place, most: int) -> list[str]:
    """What went wrong, of so many cases at the most."""
    path = kind.make(place)
    whole = path.read_bytes()
    wanted, cases = kind.read(place), [*damages(kind, whole)]
    step = max(1, -(-len(cases) // most))
    found, others = [], 0
    for at, byte in cases[:: step + (step % 2 == 0)]:  # so that no pattern is always passed over
        name = f"byte {at} is {byte:#x}" if byte >= 0 else f"cut at {at}"
        path.unlink(missing_ok=True)  # it may be mapped
        path.write_bytes(whole[:at] + (bytes([byte]) + whole[at + 1 :] if byte >= 0 else b""))
        try:
            same = kind.read(place) == wanted
        except (AttnError, Refused):
            continue
        except Exception as problem:
            found.append(f"{name}: {problem!r}")
            continue
        if not same:
            others += 1
            found += [] if kind.unseen else [f"{name}: read as another file"]
    assert others < len(cases) / 3  # or nothing is checked
    return found


@pytest.fixture(autouse=True)
def own_stores(monkeypatch):
    """What a kind sets in the environment ends with the test."""
    for name in ("OLLAMA_MODELS", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, "none")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", FEW)
def test_some_damages_of_a_file_are_refused(tmp_path, name):
    assert faults_of(KINDS[name], tmp_path, 60) == []


@pytest.mark.faults
@pytest.mark.parametrize("name", KINDS)
def test_no_damage_of_a_file_is_a_fault_or_another_file(tmp_path, name):
    slow = name.startswith("show") or name in ("npz", "answers", "mask")
    most = 10**9 if EVERY else SLOW if slow else MOST
    assert faults_of(KINDS[name], tmp_path, most) == []


def test_what_is_damaged_is_of_every_kind():
    assert len(BINARY) + len(TEXTS) == len(KINDS) > 50


def _loop(path):
    path.symlink_to(path.name)


OTHERS = {
    "pipe": os.mkfifo, "folder": os.mkdir, "loop": _loop,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "nothing": lambda path: path.symlink_to("nowhere"), "empty": lambda path: path.touch(),
}  # fmt: skip
# Of these an empty one says nothing, and of these a missing one is told of otherwise.
EMPTY, UNNAMED = ("merges.txt",), ("settings",)


@pytest.mark.faults
@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_file_is_refused_at_once(tmp_path, name):
    for number, (other, put) in enumerate(OTHERS.items()):
        place = tmp_path / str(number)
        place.mkdir()
        path = KINDS[name].make(place)
        path.unlink()
        put(path)
        if other == "empty" and name in EMPTY:
            assert KINDS[name].read(place)
            continue
        with pytest.raises((AttnError, Refused)) as refused:
            KINDS[name].read(place)
        said = getattr(refused.value, "message", str(refused.value))
        assert path.name in said or other in ("nothing", "empty") or name in UNNAMED, said
