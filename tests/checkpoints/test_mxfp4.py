"""Experts in floats of four bits: the reference library's numbers, read by rows."""

import numpy as np
import pytest

from attn_cli.checkpoints import tensor
from attn_cli.checkpoints.packed import modules
from attn_cli.checkpoints.packed.mxfp4 import mxfp4
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.maths import cores

NAME = "m.experts.down_proj"


@pytest.fixture
def golden(golden_path):
    with np.load(golden_path / "mxfp4.npz") as archive:
        return dict(archive)


@pytest.fixture
def opened(tmp_path, packed):
    """The tensor that parts make, of (dtype, array) by how their names end."""

    def opened(**parts):
        path = tmp_path / "model.safetensors"
        path.write_bytes(packed({
            f"{NAME}_{end}": (dtype, array.shape, array.tobytes())
            for end, (dtype, array) in parts.items()
        }))  # fmt: skip
        found = modules.unpacked(open_safetensors(path), mxfp4(), "here")
        assert list(found) == [f"{NAME}_blocks"]
        return found[f"{NAME}_blocks"]

    return opened


def parts_of(golden):
    return {"blocks": ("U8", golden["blocks"]), "scales": ("U8", golden["scales"])}


def same_bits(found, wanted):
    return np.array_equal(found.view(np.uint32), np.ascontiguousarray(wanted).view(np.uint32))


def test_numbers_are_those_of_the_reference_to_the_bit(golden, opened):
    """Also the smallest numbers that there are, and the sign of zero."""
    wanted, found = golden["wanted"].swapaxes(1, 2), opened(**parts_of(golden))
    assert found.shape == wanted.shape == (2, 6, 96)
    assert same_bits(found.read(), wanted)
    sizes = np.abs(wanted[wanted != 0])
    assert sizes.min() < 2.0**-126 and sizes.max() > 2.0**120 and np.signbit(wanted[wanted == 0])[0]
    assert found.size == golden["blocks"].size + golden["scales"].size


def test_rows_of_an_expert_are_those_of_the_whole_on_any_threads(golden, opened, monkeypatch):
    monkeypatch.setattr(modules, "_CHUNK", 200)
    cores.use(3)
    try:
        whole, found = golden["wanted"].swapaxes(1, 2), opened(**parts_of(golden))
        assert same_bits(found.rows([1, 0]), whole[[1, 0]])
        for rows in (slice(None), slice(0, 3), slice(1, None, 2)):
            part = found.within(1, rows)
            assert part.shape == whole[1, rows].shape
            assert part.size == found.size // 12 * len(part.read())
            assert same_bits(part.read(), whole[1, rows])
            out = np.full((2, 96), 7.0, np.float32)
            assert part.rows(slice(1, 3), out).base is out
            assert same_bits(out, whole[1, rows][1:3])
    finally:
        cores.use(0)


def test_rows_of_an_expert_are_forgotten_in_each_part(golden, opened, monkeypatch):
    calls = []
    monkeypatch.setattr(tensor, "forget", lambda data, *place: calls.append(data[slice(*place)]))
    opened(**parts_of(golden)).within(1, slice(1, None, 2)).forget(0, 2)
    wanted = [golden[name][1, 1:4].tobytes() for name in ("blocks", "scales")]
    assert sorted(calls) == sorted(wanted)


UNFIT = {
    "scales": (lambda b, s: {"blocks": ("U8", b)}, "down_proj_scales is missing"),
    "blocks": (lambda b, s: {"scales": ("U8", s)}, "down_proj_blocks is missing"),
    "shape": (lambda b, s: {"blocks": ("U8", b), "scales": ("U8", s[:, :4])}, "not 2 × 6 × 3"),
    "dtype": (lambda b, s: {"blocks": ("U8", b), "scales": ("F32", s * np.float32(1))},
              "has dtype F32, not U8"),
    "size": (lambda b, s: {"blocks": ("U8", b[..., :8]), "scales": ("U8", s)},
             "blocks of 8 bytes, not of 16"),
    "axes": (lambda b, s: {"blocks": ("U8", b[0]), "scales": ("U8", s[0])}, "has 3 axes"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_parts_that_do_not_fit_are_refused_by_name(case, golden, opened):
    make, said = UNFIT[case]
    parts = make(*(np.ascontiguousarray(golden[name]) for name in ("blocks", "scales")))
    parts = {end: (dtype, np.ascontiguousarray(array)) for end, (dtype, array) in parts.items()}
    with pytest.raises(ContentError, match=said):
        opened(**parts)


def test_a_scale_that_is_no_number_is_refused_when_it_is_read(golden, opened):
    golden["scales"][1, 2, 0] = 255
    found = opened(**parts_of(golden))
    assert np.isfinite(found.within(0, slice(None)).read()).all()
    with pytest.raises(ContentError, match="down_proj has a scale that is not a finite number"):
        found.within(1, slice(None)).read()
