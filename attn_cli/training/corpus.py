"""What every objective's corpus and batches tell; their form is the objective's own."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from attn_cli.tokens.wordpiece import WordPiece


class Corpus(Protocol):
    """A text that has been read for an objective, which gives it fields of its own."""

    contents: Mapping[str, Any]  # what tokenizer.json holds
    tokenizer: WordPiece
    sha256: str

    @property
    def used(self) -> np.ndarray:
        """The ids that a batch can hold."""
        ...

    @property
    def floor(self) -> float:
        """The mean loss, in nats, that no model can go below; NaN where it is not known."""
        ...


class Batch(Protocol):
    """One step's examples; their form is the objective's own."""

    @property
    def tokens(self) -> int:
        """How many tokens go through the model."""
        ...

    @property
    def floor(self) -> float:
        """The mean loss, in nats, of a model that knows the corpus's distribution exactly."""
        ...
