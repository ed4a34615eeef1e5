"""The likeliest tokens of a prediction, and how their scores come about."""

from collections.abc import Mapping, Sequence

import numpy as np

from attn_cli.maths.attention import softmax
from attn_cli.model import family
from attn_cli.model.family import Model
from attn_cli.model.weights import NOTHING, bias_of
from attn_cli.reading import token_of
from attn_cli.records import Candidate, Ending, Prediction


@np.errstate(all="ignore")
def ending_of(
    model: Model, x_PM: np.ndarray, logits_V: np.ndarray, candidates: Sequence[Candidate]
) -> Ending:
    """From a layer's vector (1, model) to every token's score, and which of these are shown."""
    weights, name = model.weights, model.facts.last_norm
    norm = weights.get(f"{name}.weight", NOTHING)
    bias_V, ids = family.output_bias(model), [c.id for c in candidates]
    if model.facts.norm_base and norm.size:
        norm = model.facts.norm_base + norm
    finite_V = logits_V[np.isfinite(logits_V)]
    top = float(finite_V.max()) if finite_V.size else float("nan")
    return Ending(
        x=x_PM[0],
        final=model.family.final(model, x_PM)[0],
        w_norm=norm,
        b_norm=bias_of(weights, name),
        vectors=weights.rows(family.output_matrix(model), ids),
        biases=bias_V[ids] if bias_V.size else NOTHING,
        top=top,
        total=float(np.exp(logits_V.astype(np.float64) - top).sum()),
        others=logits_V.size - len(candidates),
        share=max(0.0, 1 - sum(c.probability for c in candidates)),
    )


def rank(
    model: Model, logits_V: np.ndarray, top: int, also: Sequence[int] = ()
) -> tuple[Candidate, ...]:
    """The `top` likeliest tokens, the lowest id first among equals; then others that are `also`
    asked for, each with its place among all."""
    ids = likeliest(logits_V, top).tolist()
    places = dict(zip(ids, range(1, len(ids) + 1), strict=True))
    places |= {id: place_of(logits_V, id) for id in also if id not in places}
    probabilities = softmax(logits_V.astype(np.float64))
    return tuple(
        Candidate(
            rank=place,
            id=id,
            text=token_of(model, id).text,
            logit=float(logits_V[id]),
            probability=float(probabilities[id]),
        )
        for id, place in places.items()
    )


def followed(
    prediction: Prediction, logits_V: np.ndarray, texts: Mapping[int, str]
) -> tuple[Candidate, ...]:
    """The tokens of `texts` (id → text) by rank; from the logits where the prediction left them."""
    known = {c.id: c for c in prediction.candidates}
    missing = [id for id in texts if id not in known]
    if missing:
        probabilities = softmax(logits_V.astype(np.float64))
        for id in missing:
            known[id] = Candidate(
                rank=place_of(logits_V, id), id=id, text=texts[id], logit=float(logits_V[id]),
                probability=float(probabilities[id]),
            )  # fmt: skip
    return tuple(sorted((known[id] for id in texts), key=lambda c: c.rank))


def place_of(values_V: np.ndarray, id: int) -> int:
    """The place of one id among all, counted from 1, as `likeliest` orders them."""
    comparable = np.where(np.isnan(values_V), -np.inf, values_V)
    before = (comparable > comparable[id]).sum() + (comparable[:id] == comparable[id]).sum()
    return int(before) + 1


def likeliest(values_V: np.ndarray, count: int) -> np.ndarray:
    """The ids of the `count` largest values, largest first, the lowest id first among equals."""
    count = min(count, values_V.size)
    comparable = np.where(np.isnan(values_V), -np.inf, values_V)
    threshold = np.partition(comparable, -count)[-count]
    ids = np.flatnonzero(comparable >= threshold)
    return ids[np.argsort(-comparable[ids], kind="stable")][:count]
