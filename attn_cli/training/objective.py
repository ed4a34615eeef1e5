"""What a model can be trained for: one record of everything in a run that depends on it.

The loop, the optimiser, saving and the page know nothing else of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from attn_cli.training.layers import LossAndGradients, Parameters
from attn_cli.training.settings import TrainingSettings
from attn_cli.training.watch import Watch


class Needs(NamedTuple):
    """The largest arrays of a run, as numbers of their entries."""

    cells: int  # the attention weights of one layer in the largest part of a batch
    parameters: int
    longest: int  # tokens of the longest row
    shorter: str = ""  # what makes it shorter, if not a smaller context alone
    parts: int = 1  # of a batch, learned from one after the other
    predicted: float = 1.0  # the share of tokens that have logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Everything that follows from what a model is trained for.

    `learn` gives the loss of a batch and the gradients; `attention` (layer, head) is the weight
    that the watched query gives to the watched key, and `order_heads` sorts every layer's heads by
    it. `config` and `tensors` are what is written, under the names of the layout in the reference
    library.
    """

    defaults: Mapping[str, Any]  # settings that differ from those of TrainingSettings
    options: tuple[str, ...]  # settings that act here, but not in every objective
    embedding: str  # the parameter whose rows are the tokens' vectors
    read: Callable[[str], Any]  # from the text to a Corpus; raises ContentError
    of_word: int  # bytes that reading a word of it takes, about
    needs: Callable[[TrainingSettings, Any], Needs]
    initial: Callable[[TrainingSettings, Any, np.random.Generator], dict[str, np.ndarray]]
    draw: Callable[[Any, TrainingSettings, int], Any]  # the Batch of a step; no other state
    learn: Callable[[Parameters, Any, TrainingSettings], LossAndGradients]
    watch: Callable[[Any, TrainingSettings], Watch]  # raises UsageError
    attention: Callable[[Parameters, Watch, TrainingSettings], np.ndarray]
    order_heads: Callable[[Parameters, np.ndarray, int], Parameters]
    config: Callable[[TrainingSettings, Any], dict[str, Any]]
    tensors: Callable[[Parameters], dict[str, np.ndarray]]
