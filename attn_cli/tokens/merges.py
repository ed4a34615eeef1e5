"""`vocab.json` and `merges.txt`, as GPT-2 and Qwen were first published: byte-level pieces."""

from pathlib import Path
from typing import Any

from attn_cli.errors import ContentError
from attn_cli.files import decode, read_bytes
from attn_cli.strict import VOCABULARY
from attn_cli.tokens import classes, guarded, special
from attn_cli.tokens.library import IDS_HINT, LibraryTokenizer, load

NAMES = ("vocab.json", "merges.txt")
_CLASSES = (
    "GPT2Tokenizer", "Qwen2Tokenizer", "Qwen3_5Tokenizer", "GPTNeoXTokenizer", "RobertaTokenizer",
    "BartTokenizer", "LongformerTokenizer",
)  # fmt: skip


def read(folder: Path) -> LibraryTokenizer:
    """The tokenizer of the two files and the configs beside them. Raises ContentError."""
    package, config = load(), special.settings(folder)
    architecture = special.config(folder, "config.json")
    name = classes.name_of(config, {"model_type": "gpt2", **architecture})
    if name not in _CLASSES:
        raise special.unread_class(folder, name, architecture.get("model_type"))
    kind = classes.KINDS[name]
    vocabulary = special.config(folder, NAMES[0], VOCABULARY)
    place = folder / NAMES[1]
    lines, _ = decode(read_bytes(place, limit=VOCABULARY.bytes), str(place))
    pairs = [line.split(" ") for line in lines.splitlines() if line and line[:8] != "#version"]
    try:
        with guarded.quiet():
            merges = [(left, right) for left, right in pairs]
            _check(vocabulary, merges)
            made = package.Tokenizer(package.models.BPE(vocabulary, merges))
            for part, value in kind.parts(package, config, None).items():
                setattr(made, part, value)
            names = special.named(config, kind.names)
            special.add(made, config, names)
            form = kind.around(names) if kind.around else special.ends(config, names)
            made.post_processor = special.around(made, form)
            return LibraryTokenizer(made, **classes.answers(name, config, names))
    except Exception as error:  # the library has no class of its own
        what = f"{folder} has a {NAMES[0]} and a {NAMES[1]} that do not go together"
        raise ContentError(what, IDS_HINT) from error


def _check(vocabulary: dict[str, Any], merges: list[tuple[str, str]]) -> None:
    """A ValueError for what the library would panic over, or that has no place for an id."""
    ids = vocabulary.values()
    if not all(type(id) is int and 0 <= id < 2**31 for id in ids) or len(set(ids)) < len(ids):
        raise ValueError
    made = {left + right for left, right in merges}
    parts = {part for pair in merges for part in pair}
    if not (made | parts) <= vocabulary.keys():
        raise ValueError
