"""The corpus's entropy by pencil, and how batches are drawn."""

from math import log

import numpy as np
import pytest

from attn_cli.errors import ContentError
from attn_cli.training import next_token


def test_surprise_by_pencil():
    # Four sentences: a b | a b | a c | b.  First tokens: a 3/4, b 1/4.  After a: b 2/3, c 1/3.
    corpus = next_token.read_corpus("a b\na b\na c\nb\n")
    expected = [
        log(4 / 3), log(3 / 2), 0,
        log(4 / 3), log(3 / 2), 0,
        log(4 / 3), log(3), 0,
        log(4), 0,
    ]  # fmt: skip
    np.testing.assert_allclose(corpus.surprise, expected, atol=1e-12)
    assert corpus.floor == pytest.approx(sum(expected) / 11)
    assert list(np.diff(corpus.starts)) == [3, 3, 3, 2]
    assert [int(i) for i in np.flatnonzero(corpus.ids == corpus.end)] == [2, 5, 8, 10]


def test_an_end_is_surprising_where_the_sentence_may_go_on():
    corpus = next_token.read_corpus("a\na b\na b\n")
    np.testing.assert_allclose(
        corpus.surprise, [0, log(3), 0, log(3 / 2), 0, 0, log(3 / 2), 0], atol=1e-12
    )


def test_empty_lines_are_left_out_and_an_empty_corpus_is_refused():
    assert len(next_token.read_corpus("a b\n\n  \nc\n").starts) == 2 + 1
    for text in ("", "\n\n"):
        with pytest.raises(ContentError, match="corpus is empty"):
            next_token.read_corpus(text)


@pytest.mark.parametrize(
    ("context", "expected"),
    [(4, [4]), (16, [16]), (20, [16, 20]), (32, [16, 32]), (256, [16, 32, 64, 128, 256])],
)
def test_row_lengths(context, expected):
    assert next_token.row_lengths(context).tolist() == expected


def sentences(corpus):
    return [
        corpus.ids[a:b].tolist() for a, b in zip(corpus.starts, corpus.starts[1:], strict=False)
    ]


def test_rows_are_whole_sentences_from_position_0(corpus):
    known = sentences(corpus)
    for step in range(1, 30):
        batch = next_token.draw_batch(corpus, seed=5, step=step, context=64, tokens=256)
        assert batch.ids.size == 256
        assert batch.ids.shape[1] in (16, 32, 64)
        np.testing.assert_array_equal(batch.ids[:, 1:], batch.targets[:, :-1])
        for ids, targets, surprise in zip(batch.ids, batch.targets, batch.surprise, strict=True):
            row = [int(ids[0]), *targets.tolist()]
            ends = [place + 1 for place, id in enumerate(row) if id == corpus.end]
            for a, b in zip([0, *ends], ends, strict=False):
                assert row[a:b] in known
            rest = row[ends[-1] :]
            assert any(sentence[: len(rest)] == rest for sentence in known)
            # The floor of each target depends on its sentence's beginning only.
            for place in ends[:-1]:
                first = surprise[place - 1]  # the target at `place`, a first token
                of_first = [s[0] for s in known].count(row[place]) / len(known)
                assert first == pytest.approx(-log(of_first))


def test_a_batch_depends_on_seed_and_step_only(corpus):
    def draw(seed, step):
        return next_token.draw_batch(corpus, seed=seed, step=step, context=32, tokens=64).ids

    np.testing.assert_array_equal(draw(1, 7), draw(1, 7))
    assert len({draw(seed, step).tobytes() for seed in (0, 1) for step in (1, 2, 3)}) == 6


def test_sentences_are_drawn_uniformly_and_short_rows_more_often(corpus):
    firsts, lengths = [], []
    for step in range(1, 2001):
        batch = next_token.draw_batch(corpus, seed=0, step=step, context=64, tokens=64)
        lengths.append(batch.ids.shape[1])
        firsts += batch.ids[:, 0].tolist()
    # 3 of the 5 kinds of line start with `the`.
    share = firsts.count(corpus.tokenizer.id_of("the")) / len(firsts)
    assert share == pytest.approx(3 / 5, abs=0.03)
    counts = [lengths.count(length) / 2000 for length in (16, 32, 64)]
    np.testing.assert_allclose(counts, [4 / 7, 2 / 7, 1 / 7], atol=0.04)


def test_the_mean_floor_of_many_batches_is_that_of_the_corpus(corpus):
    # Positions from 1 on, as the row's first token is no target; the rest is cut without bias
    # only in the long run, so the tolerance is wide.
    floors = [
        next_token.draw_batch(corpus, seed=0, step=step, context=256, tokens=1024).floor
        for step in range(1, 60)
    ]
    assert np.mean(floors) == pytest.approx(corpus.floor, rel=0.05)
