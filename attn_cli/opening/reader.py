"""A model for its tokenizer alone: the model itself, or what reads texts where it does not open."""

from typing import Any

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError, NoModelError
from attn_cli.model.family import Model
from attn_cli.model.weights import Weights
from attn_cli.opening import places
from attn_cli.opening.load import family_of, load, tokenizer_of
from attn_cli.records import Facts
from attn_cli.tokens.absent import Absent
from attn_cli.tokens.token import Tokenizer
from attn_cli.words import Note, note


def load_reader(name: str, **options: Any) -> tuple[Model, tuple[Note, ...]]:
    """What `load` opens; else a model of no layers with the tokenizer that stands there, and a note
    of what the rest lacks.

    Raises NoModelError, UsageError, and ContentError: about a tokenizer that does not open, or
    about the model where there is none.
    """
    try:
        return load(name, **options), ()
    except NoModelError:
        raise
    except ContentError as problem:
        place = places.find(name)
        tokenizer = _tokenizer(place)
        if tokenizer is None:
            raise
        said = note("note.reader", name=place.name, reason=problem.message)
    facts = Facts(
        name=place.name, family=family_of(name), source=place.source, layers=0, heads=0,
        kv_heads=0, model_width=0, head_width=0, vocabulary=tokenizer.size, context=0,
        parameters=0, stack="encoder",
    )  # fmt: skip
    weights = Weights(tensors={}, stored={})
    found = Model(
        facts=facts, family=None, config=None, weights=weights, end_tokens=(),
        open_tokenizer=lambda: tokenizer,
    )  # fmt: skip
    return found, (said,)


def _tokenizer(place: places.Place) -> Tokenizer | None:
    """The tokenizer of a folder or of a GGUF file, None without one. Raises ContentError."""
    if place.path.is_dir():
        found = tokenizer_of(place.path)
    else:
        from attn_cli.tokens import gguf

        found = gguf.from_metadata(Gguf(place.path).metadata, str(place.path))
    return None if isinstance(found, Absent) else found
