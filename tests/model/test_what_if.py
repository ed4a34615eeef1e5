"""What-if settings: the words that are understood, what they change, and what they are called."""

import itertools
import math

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.errors import ContentError, UsageError
from attn_cli.maths import masks
from attn_cli.model.what_if import parse_mask, read_what_if

IDS = [3, 1, 4, 1, 5]
N = len(IDS)
LAYERS, HEADS = 3, 2  # of gpt2-c
CAUSAL = masks.square(masks.causal, N)


@pytest.fixture
def trace(golden_copy):
    """Traces the same prompt through the same model under the settings given."""
    model = session.load(str(golden_copy("gpt2-c")))
    return lambda **given: session.trace(ids=IDS, model=model, arrays=vocabulary.ARRAYS, **given)


@pytest.fixture
def mask_file(tmp_path):
    def write(content):
        path = tmp_path / "mask.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def read(*words, temperature=1.0, without_head=(), **more):
    return read_what_if(
        words, attention_temperature=temperature, without_head=without_head, layers=LAYERS,
        heads=HEADS, **more,
    )  # fmt: skip


def visible(found, own=masks.causal, *, both_sides=False):
    """What the settings let each query see, as one square."""
    return masks.square(found.visible(own, N, N, both_sides=both_sides), N)


def by_loops(rule):
    return [[rule(q, k) for k in range(N)] for q in range(N)]


def words(rows):
    """A boolean matrix as the text of a mask file."""
    return "\n".join(" ".join("1" if cell else "0" for cell in row) for row in rows)


# --- mask words ----------------------------------------------------------------------------------

GOOD = {
    "causal": lambda q, k: k <= q,
    "none": lambda q, k: True,
    "window:1": lambda q, k: k == q,
    "window:2": lambda q, k: 0 <= q - k < 2,
    "window:999999999": lambda q, k: k <= q,
    "prefix:0": lambda q, k: k <= q,
    "prefix:3": lambda q, k: k <= q or k < 3,
    "prefix:5": lambda q, k: True,
    "padding:0": lambda q, k: k <= q,
    "padding:2": lambda q, k: k <= q and k < 3,
    "padding:5": lambda q, k: False,
    "block:0:0": lambda q, k: k <= q and (q, k) != (0, 0),
    "block:4:2": lambda q, k: k <= q and (q, k) != (4, 2),
    "block:2:4": lambda q, k: k <= q,
}


@pytest.mark.parametrize("word", GOOD)
def test_a_mask_word_is_its_rule(word):
    assert visible(read(word)).tolist() == by_loops(GOOD[word])


@pytest.mark.parametrize(
    "word",
    [
        *("", " ", "causal ", "CAUSAL", "sliding", "no/such/file", "a\0b", "x" * 5000, "::"),
        *("causal:", "causal:1", "none:0", "window", "window:", "window:0", "window:-1"),
        *("window:x", "window:1.5", "window: 2", "window:1:2", "window:1_000", "window:٣"),
        *("window:9999999999", "window:" + "9" * 5000, "window:+2", "prefix", "prefix:-1"),
        *("padding:", "padding:-2", "block", "block:1", "block:1:", "block:1:2:3", "block:a:b"),
        *("block:-1:0", "file", "file:"),
    ],
)
def test_what_is_no_mask_word_is_refused(word):
    with pytest.raises(UsageError) as refused:
        parse_mask(word)
    assert refused.value.message.startswith("--mask ")
    assert len(refused.value.message) < 120
    known = word.partition(":")[0]
    assert known in refused.value.hint or "window:N" in refused.value.hint


@pytest.mark.parametrize(
    ("word", "most"), [("block:5:0", 4), ("block:0:5", 4), ("padding:6", 5), ("prefix:6", 5)]
)
def test_a_number_beyond_the_prompt_is_refused_with_the_range(word, most):
    with pytest.raises(UsageError) as refused:
        visible(read(word))
    assert word in refused.value.message
    assert refused.value.hint == f"give 0 to {most}"


@pytest.mark.parametrize(
    "given", [("causal", "none"), ("window:2", "block:1:0", "prefix:1"), ("causal", "causal")]
)
def test_two_bases_are_refused(given):
    with pytest.raises(UsageError, match="two base masks") as refused:
        read(*given)
    assert given[0] in refused.value.message
    assert given[-1] in refused.value.message


def test_a_file_is_a_base_too(mask_file):
    path = mask_file(words(CAUSAL))
    with pytest.raises(UsageError, match="two base masks"):
        read(path, "none")


@pytest.mark.parametrize("base", [(), ("none",), ("window:3",)])
def test_the_order_of_words_does_not_matter(base):
    rule = {(): GOOD["causal"], ("none",): GOOD["none"], ("window:3",): lambda q, k: 0 <= q - k < 3}
    wanted = by_loops(lambda q, k: rule[base](q, k) and k < 4 and (q, k) not in ((3, 2), (4, 3)))
    for given in itertools.permutations([*base, "padding:1", "block:3:2", "block:4:3"]):
        assert visible(read(*given)).tolist() == wanted


def test_hides_start_from_the_models_own_mask_and_a_base_replaces_it():
    def own(at_Q, at_K):
        return masks.window(at_Q, at_K, 2)

    hidden = masks.square(own, N).tolist()
    hidden[3][2] = False
    assert visible(read("block:3:2"), own).tolist() == hidden
    assert visible(read("causal"), own).tolist() == CAUSAL.tolist()
    assert read().visible(own, N, N, both_sides=False) is own


def test_a_window_looks_to_both_sides_in_an_encoder():
    found = visible(read("window:2"), masks.none, both_sides=True)
    assert found.tolist() == by_loops(lambda q, k: abs(q - k) < 2)


# --- mask files ----------------------------------------------------------------------------------

PATTERN = by_loops(lambda q, k: (q * 7 + k * 3) % 4 < 2)
TEXT = words(PATTERN)


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        TEXT + "\n",
        TEXT.replace(" ", "\t"),
        TEXT.replace(" ", "   ").replace("\n", "\r\n\r\n"),
        "\n\n  " + TEXT + " \n\n",
        b"\xef\xbb\xbf" + TEXT.encode(),
    ],
)
def test_a_mask_file_is_its_cells(mask_file, content):
    path = mask_file(content)
    for word in (path, f"file:{path}"):
        assert visible(read(word)).tolist() == PATTERN


def test_hides_take_away_from_a_file(mask_file):
    wanted = [row[:] for row in PATTERN]
    assert wanted[0][0]
    wanted[0][0] = False
    assert visible(read("block:0:0", mask_file(TEXT))).tolist() == wanted


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1 0\n1\n", "row 2 has 1 cells, row 1 has 2"),
        ("1 0\n\n1 1 1\n", "row 2 has 3 cells, row 1 has 2"),
        ("1 0\n1 2\n", "row 2 has the cell '2'"),
        ("1 0\nx 1\n", "row 2 has the cell 'x'"),
        ("1.0 0\n0 1\n", "row 1 has the cell '1.0'"),
        ("10\n11\n", "row 1 has the cell '10'"),
        ("1,0\n1,1\n", "row 1 has the cell '1,0'"),
        ("１ 0\n1 1\n", "row 1 has the cell '１'"),
        ("1 " + "y" * 9999, "9,999 characters"),
        ("", "holds no rows"),
        (" \n\n", "holds no rows"),
        (b"1 0\n\xff 1\n", "not valid UTF-8: byte 0xff at offset 4"),
        (b"\xff\xfe1\x00", "UTF-16"),
    ],
)
def test_a_malformed_mask_file_is_refused(mask_file, content, reason):
    path = mask_file(content)
    with pytest.raises(ContentError) as refused:
        parse_mask(f"file:{path}")
    assert path in refused.value.message
    assert reason in refused.value.message


@pytest.mark.parametrize(("rows", "columns"), [(4, 5), (5, 4), (1, 1), (6, 6)])
def test_a_mask_file_of_another_size_is_refused(mask_file, rows, columns):
    path = mask_file(words(np.ones((rows, columns))))
    with pytest.raises(ContentError) as refused:
        visible(read(path))
    assert path in refused.value.message
    assert f"{rows} × {columns} cells" in refused.value.message
    assert "needs 5 × 5" in refused.value.message


def test_a_mask_file_that_is_none_is_refused(tmp_path):
    for path, reason in ((tmp_path / "missing", "no file"), (tmp_path, "is a folder")):
        with pytest.raises(ContentError, match=reason) as refused:
            parse_mask(f"file:{path}")
        assert str(path) in refused.value.message
    with pytest.raises(ContentError, match="is a folder"):
        parse_mask(str(tmp_path))


# --- attention temperature, heads ----------------------------------------------------------------


@pytest.mark.parametrize("temperature", [math.nan, math.inf, -math.inf, -1.0, -5e-324])
def test_no_such_attention_temperature(temperature):
    with pytest.raises(UsageError, match="attention temperature"):
        read(temperature=temperature)


@pytest.mark.parametrize("temperature", [0.0, -0.0, 5e-324, 1.0, 1e308])
def test_attention_temperatures_that_are_taken(temperature):
    assert read(temperature=temperature).attention_temperature == temperature


def test_heads_are_named_by_layer_and_head():
    found = read(without_head=["0.1", "2.0", "-1.-1", "0.1"]).without_head
    assert found == {(0, 1), (2, 0), (2, 1)}


@pytest.mark.parametrize(
    "word",
    [
        *("", "0", "0.", ".1", ".", "0.1.2", "a.b", "0,1", "0:1", "0.1_0", "0.٣", "+0.1"),
        *("0.2", "3.0", "-4.0", "0.-3", "9999999999.0", "0." + "1" * 5000),
    ],
)
def test_what_is_no_head_is_refused(word):
    with pytest.raises(UsageError) as refused:
        read(without_head=[word])
    assert refused.value.message.startswith("--without-head")
    assert len(refused.value.message) < 120


# --- what they change ----------------------------------------------------------------------------


def test_attention_temperature_changes_the_weights_and_nothing_before_them(trace):
    before, after = trace().block(0), trace(attention_temperature=0.5).block(0)
    for name in ("q", "k", "scores", "scaled", "visible", "masked"):
        assert np.array_equal(after.arrays[name], before.arrays[name])
    assert after.scale == before.scale
    for head, query in itertools.product(range(HEADS), range(N)):
        row = before.masked[head, query, : query + 1].astype(float).tolist()
        shares = [math.exp((x - max(row)) / 0.5) for x in row]
        wanted = [share / sum(shares) for share in shares] + [0] * (N - query - 1)
        np.testing.assert_allclose(after.weights[head, query], wanted, rtol=0, atol=1e-6)
    assert np.abs(after.weights - before.weights).max() > 0.01


def test_a_mask_acts_on_every_layer(trace):
    found = trace(mask=["window:2"], layer=[0, 2])
    for block in found.attention:
        assert block.visible.tolist() == by_loops(lambda q, k: 0 <= q - k < 2)
        assert (block.weights[:, ~block.visible] == 0).all()
        assert np.array_equal(np.isneginf(block.masked), np.stack([~block.visible] * HEADS))
        np.testing.assert_allclose(block.weights.sum(axis=-1), 1, rtol=1e-6)


def test_a_query_that_sees_nothing_gets_zeros_and_a_note(trace):
    found = trace(mask=["block:0:0"])
    for block in found.attention:
        assert not block.weights[:, 0].any()
        assert not block.z[:, 0].any()
        assert np.isfinite(block.output).all()
    assert any("no visible key for query 0" in note for note in map(str, found.notes))


@pytest.mark.parametrize(("layer", "head"), list(itertools.product(range(LAYERS), range(HEADS))))
def test_without_a_head_the_output_is_lowered_by_its_pull(trace, layer, head):
    before, after = trace(), trace(without_head=[f"{layer}.{head}"])
    for earlier in range(layer):
        for name, array in before.block(earlier).arrays.items():
            assert np.array_equal(after.block(earlier).arrays[name], array)
    old, new = before.block(layer), after.block(layer)
    for name in ("x", "q", "scores", "weights", "z"):
        assert np.array_equal(new.arrays[name], old.arrays[name])
    assert old.head_output[head].any()
    assert not new.head_output[head].any()
    assert np.array_equal(new.head_output[1 - head], old.head_output[1 - head])
    np.testing.assert_allclose(new.output, old.output - old.head_output[head], rtol=0, atol=1e-5)
    for later in range(layer + 1, LAYERS):
        assert not np.array_equal(after.block(later).x, before.block(later).x)
        assert after.block(later).head_output.any(axis=(1, 2)).all()
    assert not np.array_equal(after.logits, before.logits)


def test_without_any_head_only_the_bias_is_left(trace):
    block = trace(without_head=["1.0", "1.1"], layer=1).block(1)
    assert np.array_equal(block.output, np.tile(block.b_o, (N, 1)))


def test_a_head_that_is_not_shown_is_taken_out_all_the_same(trace):
    shown = trace(without_head=["0.1"], layer=0, head=0).block(0)
    whole = trace(without_head=["0.1"], layer=0).block(0)
    assert np.array_equal(shown.output, whole.output)
    assert shown.what_if == FROM_HEAD_OUTPUT


# --- what they are called ------------------------------------------------------------------------

FROM_HEAD_OUTPUT = {"head_output", "output", "mlp_output"}
FROM_WEIGHTS = {"weights", "z"} | FROM_HEAD_OUTPUT
FROM_VISIBLE = {"visible", "masked"} | FROM_WEIGHTS
LEARNED = {"w_norm", "b_norm", "w_q", "b_q", "w_k", "b_k", "w_v", "b_v", "w_o", "b_o"}
EVERY = {"x", "normed", "q", "k", "v", "scores", "scaled"} | FROM_VISIBLE
NOTHING = set()

SETTINGS = {
    "nothing": ({}, [NOTHING, NOTHING, NOTHING], "real"),
    "mask": ({"mask": ["none"]}, [FROM_VISIBLE, EVERY, EVERY], "what-if"),
    "one cell": ({"mask": ["block:4:0"]}, [FROM_VISIBLE, EVERY, EVERY], "what-if"),
    "temperature": ({"attention_temperature": 2.0}, [FROM_WEIGHTS, EVERY, EVERY], "what-if"),
    "temperature 0": ({"attention_temperature": 0.0}, [FROM_WEIGHTS, EVERY, EVERY], "what-if"),
    "head, first layer": (
        {"without_head": ["0.1"]}, [FROM_HEAD_OUTPUT, EVERY, EVERY], "what-if",
    ),
    "head, second layer": (
        {"without_head": ["1.0"]}, [NOTHING, FROM_HEAD_OUTPUT, EVERY], "what-if",
    ),
    "head, last layer": (
        {"without_head": ["-1.0"]}, [NOTHING, NOTHING, FROM_HEAD_OUTPUT], "what-if",
    ),
    "heads of two layers": (
        {"without_head": ["2.0", "1.0"]}, [NOTHING, FROM_HEAD_OUTPUT, EVERY], "what-if",
    ),
    "the first touched counts": (
        {"mask": ["window:2"], "attention_temperature": 2.0, "without_head": ["0.0"]},
        [FROM_VISIBLE, EVERY, EVERY], "what-if",
    ),
    "temperature before a head": (
        {"attention_temperature": 2.0, "without_head": ["1.0"]},
        [FROM_WEIGHTS, EVERY, EVERY], "what-if",
    ),
}  # fmt: skip


def check_provenance(found, wanted, of_next):
    for block, touched in zip(found.attention, wanted, strict=True):
        parts = set() if block.layer else {"token_embedding", "position_embedding"}
        assert set(block.arrays) == LEARNED | EVERY | parts
        named = {name for name in block.arrays if block.provenance(name) == "what-if"}
        assert named == touched, f"layer {block.layer}"
        others = {block.provenance(name) for name in set(block.arrays) - touched}
        assert others == {"real"}
    assert [prediction.provenance for prediction in found.next] == [of_next]


@pytest.mark.parametrize("name", SETTINGS)
def test_arrays_are_what_if_from_the_first_one_touched(trace, name):
    given, wanted, of_next = SETTINGS[name]
    check_provenance(trace(**given), wanted, of_next)


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_called_real_is_what_the_model_computes(trace, name):
    """The words are not only as tabled: a real array has the very numbers of an unchanged run."""
    before, after = trace(), trace(**SETTINGS[name][0])
    for old, new in zip(before.attention, after.attention, strict=True):
        for array_name in set(new.arrays) - new.what_if:
            assert np.array_equal(new.arrays[array_name], old.arrays[array_name]), array_name
        changed = any(not np.array_equal(new.arrays[n], old.arrays[n]) for n in new.what_if)
        assert changed == bool(new.what_if)


@pytest.mark.parametrize(
    "mask",
    [
        ["causal"], ["window:5"], ["window:99"], ["prefix:0"], ["prefix:1"], ["padding:0"],
        ["block:0:4"], ["block:1:2", "causal"], ["FILE"],
    ],
)  # fmt: skip
def test_a_mask_equal_to_the_models_own_changes_nothing(trace, mask_file, mask):
    given = [mask_file(words(CAUSAL)) if word == "FILE" else word for word in mask]
    found = trace(mask=given, attention_temperature=1.0)
    check_provenance(found, [NOTHING] * LAYERS, "real")
    assert np.array_equal(found.logits, trace().logits)


def test_the_parts_of_the_embedding_are_real(trace):
    block = trace(mask=["none"]).block(0)
    for name in ("token_embedding", "position_embedding"):
        assert block.provenance(name) == "real"


def test_thousands_of_masks_are_one():
    words = [f"block:{query % 5}:{query % 3}" for query in range(5000)]
    made = read_what_if(words, layers=1, heads=1)
    at = np.arange(5)
    seen = made.visible(masks.causal, 5, 5, both_sides=False)(at, at)
    assert not seen[:, :3].any() and seen[3, 3] and seen[4, 3]
