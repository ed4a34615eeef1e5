"""Rotary settings at the edge of what they may be, in models that are opened and run."""

import json

import numpy as np
import pytest

from attn_cli import session
from attn_cli.errors import ContentError


def changed(folder, rope=None, **values):
    """The folder, with some values of its config replaced."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["rope_parameters"] |= rope or {}
    path.write_text(json.dumps(config | values))
    return str(folder)


@pytest.mark.parametrize("share", [0.01, 1.0001, 1e308])
def test_a_share_that_is_no_part_of_a_head_is_refused(golden_copy, share):
    folder = golden_copy("neox-serial")
    with pytest.raises(ContentError, match="in pairs"):
        session.load(changed(folder, {"partial_rotary_factor": share}))


def test_the_whole_of_an_odd_head_has_one_dimension_without_a_pair(golden_copy):
    folder = golden_copy("neox-serial")
    with pytest.raises(ContentError, match=r"of 5 .* in pairs"):
        session.load(changed(folder, num_attention_heads=4))


@pytest.mark.parametrize(
    ("original", "factor"), [(10, np.sqrt(1 + np.log(29 / 10) / np.log(10))), (29, 1.0), (64, 1.0)]
)
def test_longrope_makes_vectors_longer_only_where_the_context_has_grown(
    golden_copy, original, factor
):
    folder = changed(
        golden_copy("phi3-short"),
        {"original_max_position_embeddings": original, "partial_rotary_factor": 1.0,
         "short_factor": [1.0] * 4, "long_factor": [1.0] * 4},
        original_max_position_embeddings=original,
    )  # fmt: skip
    trace = session.trace(ids=[5, 6, 7], model=folder, layer=0, arrays={"q", "q_unrotated"})
    arrays = trace.attention[0].arrays
    lengths = (np.linalg.norm(arrays[name], axis=-1) for name in ("q", "q_unrotated"))
    assert next(lengths) == pytest.approx(factor * next(lengths), rel=1e-5)
