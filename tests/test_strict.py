"""JSON of strangers: what is counted before it is parsed, and what is said of what is none."""

import tracemalloc

import pytest

from attn_cli import strict
from attn_cli.errors import ContentError
from attn_cli.strict import Limit, json_object, looks_like, read_json_object

SMALL = Limit(1_000_000, 10_000)
NOTHING = {"lists": b"[],", "objects": b"{},", "numbers": b"0,", "lists of one": b"[0],",
           "objects of one": b'{"a":0},'}  # fmt: skip


@pytest.mark.parametrize("item", NOTHING.values(), ids=NOTHING)
def test_a_file_of_nothing_takes_no_more_memory_than_its_bytes(item):
    data = b'{"a":[' + item * (SMALL.bytes // len(item) - 9) + b"0]}"
    tracemalloc.start()
    with pytest.raises(ContentError, match="x has more than 10,000 values, which no such file has"):
        json_object(data, "x", SMALL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("item", NOTHING.values(), ids=NOTHING)
def test_what_is_within_the_limit_takes_some_150_bytes_a_value(item):
    count = SMALL.values // sum(map(item.count, (b"[", b"{", b",")))
    data = b'{"a":[' + item * (count - 3) + b"0]}"
    tracemalloc.start()
    assert len(json_object(data, "x", SMALL)["a"]) == count - 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * SMALL.values


def test_a_file_with_more_bytes_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(SMALL.bytes + 1)
    with pytest.raises(ContentError, match="more than 1,000,000 bytes"):
        read_json_object(path, SMALL)


@pytest.mark.parametrize(("text", "said"), [
    ('{"a": NaN}', "x: a is NaN, which JSON does not have"),
    ('{"a": {"b": [1, {"c": -Infinity}]}}', "x: a.b[1].c is -Infinity, which"),
    ("NaN", "x: the document is NaN, which"),
    ('{"a": "NaN", "b": NaN}', "x: b is NaN, which"),
    ('{"a": NaN, "a": 1}', "x: a value is NaN, which"),
    ('{"a": 1', "x is not strict JSON (at line 1, column 8)"),
    ('{\n"a": 01}', "x is not strict JSON (at line 2, column 7)"),
    ("[" * 100_000, "x is not strict JSON"),
    ("9" * 5000, "x is not strict JSON"),
    ("[]", "x is not a JSON object"),
    ("version https://git-lfs.github.com/spec/v1\n", "x is not strict JSON (at line 1"),
])  # fmt: skip
def test_what_is_no_strict_json_is_told_as_it_is(text, said):
    with pytest.raises(ContentError) as refused:
        json_object(text.encode(), "x", Limit(10**6, 10**6))
    assert refused.value.message.startswith(said)
    assert "Git LFS pointer" in refused.value.hint or "git-lfs" not in text


def test_no_limit_refuses_what_is_published():
    """An index of 200,000 tensors, 100,000 labels each there and back, a vocabulary of 900,000."""
    shard = b'"model.layers.0.mlp.experts.7.down_proj.weight_scale_inv":"model-00001-of-00163",'
    for one, count, limit in (
        (shard, 200_000, strict.INDEX), (b'"label 5":5,', 200_000, strict.CONFIG),
        (b'"word":5,', 900_000, strict.VOCABULARY),
    ):  # fmt: skip
        assert strict.too_many(one * count, limit) == ""


def test_a_number_that_is_too_large_is_none_of_these():
    """The reader of a config names the key of an infinity that is written as a number."""
    assert json_object(b'{"a": 1e400}', "x", SMALL)["a"] == float("inf")


def test_what_a_file_looks_like():
    assert looks_like(b"<!DOCTYPE html>").startswith("an HTML page")
    assert looks_like(b"GGUF") == "a GGUF file" and looks_like(b"{}") == ""
