"""A token's logit as the sum of what each part of the last layer's vector adds to it.

Direct logit attribution (Elhage et al. 2021): with the last norm's mean and scale frozen, a logit
is a product of the vector with one direction, so each part adds its own product. A soft cap on the
logits comes after the sum. Axes: W writer, P position, M model, N width of the embedding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attn_cli import session
from attn_cli.analysis.parts import Frozen, Writer, frozen
from attn_cli.errors import ContentError
from attn_cli.model.family import Model, output_bias, output_matrix
from attn_cli.model.weights import NOTHING, bias_of


class Readout(NamedTuple):
    """How vectors of each position become the logit of one token.

    `directions_PM` are multiplied with parts; what `writers` add whatever the vector, the last
    norm's bias and the output bias, is in `constants_WP`.
    """

    directions_PM: np.ndarray
    writers: tuple[Writer, ...]
    constants_WP: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """What parts (…, position, model) add to the logit, (…, position)."""
        return np.einsum("...pm,pm->...p", values, self.directions_PM)

    def logits(self, x_PM: np.ndarray) -> np.ndarray:
        """The logits of whole vectors, before a soft cap."""
        return self.of(x_PM) + self.constants_WP.sum(axis=0)


def refusal(model: Model) -> str:
    """Why the logits of a model that predicts are no sum over parts; empty where they are."""
    facts = model.facts
    if facts.transform:
        return (
            f"the head of {facts.name} has an activation ({facts.transform}) between the last "
            "layer and its logits, so that they are no sum over parts"
        )
    width = model.weights.tensor(output_matrix(model)).shape[1]
    if facts.last_norm and width != facts.model_width:
        return f"{facts.name} has a matrix between its last norm and its output matrix"
    return ""


@np.errstate(all="ignore")
def readout(model: Model, x_PM: np.ndarray, ids: Sequence[int]) -> Readout:
    """How the last layer's vectors give the logit of one token each.

    Raises ContentError for a model whose logits are no sum over parts, or that has none.
    """
    session.check_predicts(model.facts)
    if refused := refusal(model):
        raise ContentError(refused, "attn lens shows what each layer predicts")
    rows_PN = model.weights.rows(output_matrix(model), ids).astype(np.float64)
    rows_PN *= model.facts.logit_scale
    norm, (count, width) = _last_norm(model, x_PM), x_PM.shape
    if not model.facts.last_norm and rows_PN.shape[1] != width:
        # A matrix alone stands there; what it makes of each dimension says which it is.
        rows_PN = rows_PN @ model.family.final(model, np.eye(width, dtype=x_PM.dtype)).T
    writers, constants = [], []
    if norm.bias_M.size:
        writers.append(Writer("final_norm"))
        constants.append(rows_PN @ norm.bias_M)
    if (bias_V := output_bias(model)).size:
        writers.append(Writer("output"))
        constants.append(bias_V[list(ids)])
    constants_WP = np.array(constants, np.float64).reshape(len(writers), count)
    return Readout(norm.back(rows_PN), tuple(writers), constants_WP)


def _last_norm(model: Model, x_PM: np.ndarray) -> Frozen:
    """The norm before the output matrix, frozen; where there is none, what changes nothing."""
    name, weights = model.facts.last_norm, model.weights
    if not name:
        return Frozen(np.ones(len(x_PM)))
    weight_M = weights.get(f"{name}.weight", NOTHING)
    if weight_M.size and model.facts.norm_base:
        weight_M = model.facts.norm_base + weight_M
    return frozen(model.facts, x_PM, weight_M, bias_of(weights, name))
