"""Who wrote a logit: direct logit attribution (Elhage et al. 2021), the last norm frozen."""

from collections.abc import Generator
from typing import NamedTuple

from attn_cli.analysis.components import Wrote, wrote
from attn_cli.analysis.lens import lens_steps
from attn_cli.analysis.parts import Writer
from attn_cli.model.family import Model
from attn_cli.model.what_if import UNCHANGED, Changes
from attn_cli.records import Passed, Prompt


class Attribution(NamedTuple):
    """The logit of one token at one position as the sum of what each writer adds, largest first.

    `total` is the sum, before a `soft_cap` (0: none); `error` is how far the trace's `logit` is
    from it.
    """

    provenance: str
    position: int
    id: int
    token: str
    logit: float
    probability: float
    by: tuple[Wrote, ...]
    total: float
    soft_cap: float
    error: float


def attribution_steps(
    model: Model,
    prompt: Prompt,
    position: int,
    changes: Changes = UNCHANGED,
    max_memory: int = 0,
    *,
    token: int = -1,
) -> Generator[Passed, None, Attribution]:
    """The split of a token's logit, of the likeliest one without `token`.

    Yields each layer that is done. Raises ContentError for a model whose logits are no sum over
    parts, or for what needs more than `max_memory`.
    """
    found = yield from lens_steps(
        model, prompt, (position,), changes, max_memory, watch=token, top=1, per_head=True
    )
    (one,) = found.positions
    watched = one.rows[-1].watched
    writers = [Writer(part.kind, part.layer, part.head) for part in one.parts]
    return Attribution(
        found.provenance, position, watched.id, watched.text, watched.logit, watched.probability,
        wrote(writers, (part.logit for part in one.parts)), one.sum.total,
        model.facts.logit_cap, one.sum.error,
    )  # fmt: skip
