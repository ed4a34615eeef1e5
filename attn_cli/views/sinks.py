"""What pages show of a sink: one more score in every row of a head, which belongs to no key."""

from collections.abc import Sequence

import numpy as np

from attn_cli.views.items import Grids, Matrix, Say, StepTitle, say
from attn_cli.words import note

NAME = note("column.sink")


def beside(item: Matrix, of_sink_Q: np.ndarray) -> Matrix:
    """A (query, key) array with what its rows have of the sink as one more column; as it is where
    that has size 0."""
    if not of_sink_Q.size:
        return item
    hidden = item.hidden
    return item._replace(
        name=note("sink.beside", name=item.name),
        values=np.concatenate([item.values, of_sink_Q[:, None]], axis=1),
        columns=[*item.columns, NAME],
        hidden=np.pad(hidden, ((0, 0), (0, 1))) if hidden.size else hidden,
    )


def grids(item: Grids, share_HQ: np.ndarray) -> list[Grids | Say]:
    """The weights of several heads with the sink as one more column, and the sentence that says so;
    as they are where the share has size 0."""
    if not share_HQ.size:
        return [item]
    found = item._replace(
        weights=np.concatenate([item.weights, share_HQ[..., None]], axis=2),
        hidden=np.pad(item.hidden, ((0, 0), (0, 1))) if item.hidden.size else item.hidden,
        keys=[*(item.keys or item.names), str(NAME)],
    )
    return [say("sink.grids"), found]


def shares(
    names: Sequence[str], weights_K: np.ndarray, share: np.ndarray, most: int
) -> tuple[list[str], list[float]]:
    """The largest shares of a row, by name, the sink's among them (size 0: there is none)."""
    values, names = np.append(weights_K, share), [*names, str(NAME)]
    order = np.argsort(-values, kind="stable")[:most].tolist()
    return [names[i] for i in order], values[order].tolist()


def softmax_title(temperature: float, *, sunk: bool) -> StepTitle:
    """The title of step 5 at this attention temperature, with a sink in the row or without."""
    kind = f"softmax.title{'' if temperature in (0, 1) else '_heated'}{'_sink' if sunk else ''}"
    return StepTitle(5, note(kind, temperature=f"{temperature:g}"))
