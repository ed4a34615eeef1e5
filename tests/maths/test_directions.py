"""Cosines against each pair by itself, whatever the blocks."""

import numpy as np
import pytest

from attn_cli.maths import cores, directions
from attn_cli.maths.directions import compared, cosine, cosines, length
from attn_cli.maths.products import Map, of_matrix


@pytest.fixture
def vectors():
    rng = np.random.default_rng(3)
    return rng.normal(size=(4, 7)), rng.normal(size=(23, 7))


def test_cosines_are_those_of_each_pair(vectors):
    x, w = vectors
    dots, lengths = compared(x, of_matrix(w.T))
    found = cosines(dots, length(x)[:, None], lengths)
    for i, one in enumerate(x):
        for j, other in enumerate(w):
            angle = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            assert found[i, j] == pytest.approx(angle, abs=1e-12)
            assert cosine(one, other) == pytest.approx(angle, abs=1e-12)
    assert cosine(x[0], 3 * x[0]) == pytest.approx(1)
    assert cosine(x[0], -x[0]) == pytest.approx(-1)


def test_a_vector_without_a_length_has_no_direction():
    zero = np.zeros(3)
    assert cosine(zero, np.ones(3)) == 0 == cosine(zero, zero)
    tiny = np.full(3, 1e-25, np.float32)
    assert cosine(tiny, tiny) == pytest.approx(1)
    one, dot = np.float32(1e-25), np.float64(1e-50)
    assert cosines(dot, one, one) == pytest.approx(1)


def test_only_some_rows_of_a_matrix_are_there_at_a_time(vectors, monkeypatch):
    x, w = vectors
    monkeypatch.setattr(directions, "MADE", 42)
    asked, given = [], []

    def rows(part):
        asked.append(part.stop - part.start)
        return w[part]

    of = Map(len(w), rows, made=True, release=lambda part: given.append(part.stop - part.start))
    dots, lengths = compared(x, of)
    assert max(asked) == 3 and sum(asked) == len(w)
    assert sorted(given) == sorted(asked)
    np.testing.assert_allclose(dots, x @ w.T, rtol=1e-12)
    np.testing.assert_allclose(lengths, np.linalg.norm(w, axis=1), rtol=1e-12)


def test_no_digit_depends_on_the_cores():
    rng = np.random.default_rng(4)
    x, w = (rng.normal(size=(n, 96)).astype(np.float32) for n in (3, 9000))
    found = []
    for count in (1, 3):
        cores.use(count)
        found.append(compared(x, of_matrix(w.T)))
    cores.use(0)
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
