"""`vocab.txt`, as BERT and its relatives were first published: word pieces, one a line."""

from pathlib import Path

from attn_cli.errors import ContentError
from attn_cli.files import read_bytes
from attn_cli.tokens import classes, guarded, special
from attn_cli.tokens.library import IDS_HINT, LibraryTokenizer, load
from attn_cli.tokens.wordpiece import WHITE_SPACE

NAME = "vocab.txt"
_LARGEST = 32_000_000


def read(path: Path) -> LibraryTokenizer:
    """The tokenizer of a vocab.txt and the configs beside it. Raises ContentError."""
    package, folder, config = load(), path.parent, special.settings(path.parent)
    architecture = special.config(folder, "config.json")
    name = classes.name_of(config, {"model_type": "bert", **architecture})
    kind = classes.KINDS.get(name or "")
    if kind is None or kind.model != "WordPiece":
        raise special.unread_class(folder, name, architecture.get("model_type"))
    contents = read_bytes(path, limit=_LARGEST)
    try:
        with guarded.quiet():
            lines = contents.decode().removesuffix("\n").split("\n")
            vocabulary = {line.rstrip(WHITE_SPACE): id for id, line in enumerate(lines)}
            names = special.named(config, kind.names)
            made = package.Tokenizer(package.models.WordPiece(vocabulary, unk_token=names["unk"]))
            for part, value in kind.parts(package, config, None).items():
                setattr(made, part, value)
            special.add(made, config, names)
            made.post_processor = special.around(made, kind.around(names))
            return LibraryTokenizer(made, **classes.answers(name, config, names))
    except Exception as error:  # the library has no class of its own
        raise ContentError(f"{path} cannot be turned into a tokenizer", IDS_HINT) from error
