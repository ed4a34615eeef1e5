"""Folders with one file of weights or several: what is found, and what is refused by name."""

import json
import os
import socket

import numpy as np
import pytest

from attn_cli import session
from attn_cli.checkpoints.folder import open_folder, open_shards
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.strict import read_json_object

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ONE, TWO, THREE = (f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3))
SHARDS = (ONE, TWO, THREE)


def entry(*shape, start=0):
    array = np.arange(start, start + np.prod(shape), dtype="<f4").reshape(shape)
    return ("F32", shape, array.tobytes())


TENSORS = {
    ONE: {"a": entry(3, 5), "b": entry(7, start=100)},
    TWO: {"c": entry(2, 5, start=200)},
    THREE: {"d": entry(11, start=300), "e": entry(1, 2, 3, start=400)},
}
WHERE = {name: file for file, entries in TENSORS.items() for name in entries}


@pytest.fixture
def sharded(tmp_path, packed):
    """A folder with config.json, three shards and their index, which a test may change."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    for file, entries in TENSORS.items():
        (folder / file).write_bytes(packed(entries))
    write_index(folder, WHERE)
    return folder


def write_index(folder, where):
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))


def refusal(folder):
    with pytest.raises(ContentError) as refused:
        open_folder(folder)
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 400
    return refused.value.message


# --- what is found -------------------------------------------------------------------------------


def test_shards_are_one_source_of_tensors(sharded):
    found = open_folder(sharded)
    assert found.config == {"model_type": "llama"}
    assert set(found.tensors) == set(WHERE)
    for name, file in WHERE.items():
        alone = open_safetensors(sharded / file)
        assert (found.tensors[name].dtype, found.tensors[name].size) == ("F32", alone[name].size)
        assert np.array_equal(found.tensors[name].read(), alone[name].read())
        found.tensors[name].release()
        assert np.array_equal(found.tensors[name].rows([0]), alone[name].rows([0]))


def test_a_sharded_model_computes_what_the_single_file_computes(golden_copy, packed):
    folder = golden_copy("llama-plain")
    before = session.trace(ids=[1, 2, 3], model=str(folder))
    stored = open_safetensors(folder / SINGLE)
    where = {name: SHARDS[i % 3] for i, name in enumerate(stored)}
    for shard in SHARDS:
        names = [name for name, file in where.items() if file == shard]
        entries = {n: ("F32", stored[n].shape, stored[n].read().tobytes()) for n in names}
        (folder / shard).write_bytes(packed(entries))
    (folder / SINGLE).unlink()
    write_index(folder, where)
    after = session.trace(ids=[1, 2, 3], model=str(folder))
    assert np.array_equal(after.logits, before.logits)
    for block, same in zip(after.attention, before.attention, strict=True):
        assert all(np.array_equal(block.arrays[n], same.arrays[n]) for n in block.arrays)


def test_one_file_needs_no_index(sharded, packed):
    for name in (*SHARDS, INDEX):
        (sharded / name).unlink()
    (sharded / SINGLE).write_bytes(packed({"a": entry(3)}))
    found = open_folder(sharded)
    assert set(found.tensors) == {"a"}


def test_one_file_comes_before_an_index_beside_it(sharded, packed):
    (sharded / SINGLE).write_bytes(packed({"whole": entry(3)}))
    (sharded / INDEX).write_text("{")
    assert set(open_folder(sharded).tensors) == {"whole"}


def test_a_shard_may_lie_in_one_file_alone(sharded):
    for name in (TWO, THREE):
        (sharded / name).unlink()
    write_index(sharded, dict.fromkeys("ab", ONE))
    assert set(open_folder(sharded).tensors) == {"a", "b"}


# --- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../outside.safetensors", "..", ".", "", "sub/inside.safetensors", "./" + ONE,
        "/etc/passwd", "\0", ONE + "\0", "a\nb", "\x1b[31m", "\ud800", ONE + "/", "../model/" + ONE,
    ],
)  # fmt: skip
def test_an_index_that_leaves_the_folder_is_refused(sharded, name):
    (sharded / "sub").mkdir()
    for place in (sharded / "sub" / "inside.safetensors", sharded.parent / "outside.safetensors"):
        place.write_bytes((sharded / ONE).read_bytes())
    write_index(sharded, {**WHERE, "a": name, "b": name})
    assert "leaves the folder" in refusal(sharded)


def test_an_absolute_path_is_refused_even_into_the_folder(sharded):
    write_index(sharded, {**WHERE, "a": str(sharded / ONE), "b": str(sharded / ONE)})
    assert "leaves the folder" in refusal(sharded)


@pytest.mark.parametrize("relative", [False, True])
def test_a_link_out_of_the_folder_is_refused(sharded, relative):
    outside = sharded.parent / "elsewhere.safetensors"
    (sharded / ONE).rename(outside)
    (sharded / ONE).symlink_to("../elsewhere.safetensors" if relative else outside)
    message = refusal(sharded)
    assert ONE in message
    assert "is a link that leaves the folder" in message


def test_a_link_into_a_folder_below_is_refused(sharded):
    (sharded / "sub").mkdir()
    (sharded / ONE).rename(sharded / "sub" / ONE)
    (sharded / ONE).symlink_to(sharded / "sub" / ONE)
    assert "leaves the folder" in refusal(sharded)


def test_a_link_within_the_folder_is_followed(sharded):
    (sharded / ONE).rename(sharded / "first")
    (sharded / ONE).symlink_to("first")
    assert open_folder(sharded).tensors["b"].read()[0] == 100


def test_the_folder_itself_may_be_a_link(sharded):
    link = sharded.parent / "link"
    link.symlink_to(sharded)
    assert open_folder(link).tensors["b"].read()[0] == 100


def cache_entry(root, sharded, name="models--one"):
    """A Hugging Face cache entry, where every file of a snapshot is a link into `blobs`."""
    blobs, snapshot = root / name / "blobs", root / name / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(sharded.iterdir())):
        (blobs / f"{number:040x}").write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(f"../../blobs/{number:040x}")
    return snapshot


def test_links_into_the_blobs_of_the_same_cache_entry_are_followed(sharded, tmp_path):
    snapshot = cache_entry(tmp_path / "hub", sharded)
    found = open_folder(snapshot)
    assert set(found.tensors) == set(WHERE)
    assert found.tensors["d"].read()[0] == 300


def test_links_into_another_cache_entrys_blobs_are_refused(sharded, tmp_path):
    snapshot = cache_entry(tmp_path / "hub", sharded)
    other = cache_entry(tmp_path / "hub", sharded, "models--two")
    (snapshot / TWO).unlink()
    (snapshot / TWO).symlink_to(os.path.realpath(other / TWO))
    assert f"{TWO} is a link that leaves the folder" in refusal(snapshot)


def test_a_folder_named_blobs_is_no_way_out_of_any_other_folder(sharded):
    blobs = sharded.parent / "blobs"
    blobs.mkdir()
    (sharded / ONE).rename(blobs / ONE)
    (sharded / ONE).symlink_to(blobs / ONE)
    assert "leaves the folder" in refusal(sharded)


# --- an index and its shards ---------------------------------------------------------------------


def test_a_missing_shard_is_named(sharded):
    (sharded / TWO).unlink()
    message = refusal(sharded)
    assert f"{TWO} of {sharded} is missing" in message


def test_missing_shards_are_named_with_how_many_more(sharded):
    (sharded / TWO).unlink()
    (sharded / THREE).unlink()
    assert f"{TWO} and 1 more of {sharded} are missing" in refusal(sharded)
    (sharded / ONE).unlink()
    assert f"{ONE} and 2 more of {sharded} are missing" in refusal(sharded)


@pytest.mark.parametrize("name", ["n" * 5000, "n" * 255, "é" * 200])
def test_a_name_no_file_can_have_is_a_missing_file(sharded, name):
    write_index(sharded, {**WHERE, "a": name, "b": name})
    assert "is missing" in refusal(sharded)


def test_a_link_that_leads_nowhere_is_a_missing_file(sharded):
    (sharded / ONE).unlink()
    (sharded / ONE).symlink_to("gone")
    assert f"{ONE} of {sharded} is missing" in refusal(sharded)


def test_a_loop_of_links_is_refused(sharded):
    (sharded / ONE).unlink()
    (sharded / ONE).symlink_to(TWO)
    (sharded / TWO).unlink()
    (sharded / TWO).symlink_to(ONE)
    assert "are missing" in refusal(sharded)


@pytest.mark.parametrize(
    ("where", "shard", "tensor"),
    [
        # The index knows a tensor that its shard does not hold.
        ({**WHERE, "f": TWO}, TWO, "f"),
        # A shard holds a tensor that the index does not know.
        ({name: file for name, file in WHERE.items() if name != "b"}, ONE, "b"),
        # The index looks for a tensor in the wrong shard.
        ({**WHERE, "c": THREE, "d": TWO}, THREE, "c and 1 more"),
        ({**WHERE, **dict.fromkeys("fgh", TWO)}, TWO, "f and 2 more"),
    ],
)
def test_an_index_that_disagrees_with_a_shard_is_refused(sharded, where, shard, tensor):
    write_index(sharded, where)
    message = refusal(sharded)
    assert str(sharded / INDEX) in message
    assert message.endswith(f"{shard} disagree about the tensor {tensor}")


def test_a_tensor_that_stands_in_two_shards_is_refused(sharded, packed):
    (sharded / TWO).write_bytes(packed({**TENSORS[TWO], "a": entry(3, 5)}))
    assert f"{TWO} disagree about the tensor a" in refusal(sharded)


@pytest.mark.parametrize("shard", SHARDS)
def test_a_truncated_shard_is_refused_by_name(sharded, shard):
    whole = (sharded / shard).read_bytes()
    for length in (*range(0, len(whole), 7), len(whole) - 1):
        (sharded / shard).write_bytes(whole[:length])
        assert str(sharded / shard) in refusal(sharded)
    (sharded / shard).write_bytes(whole)
    open_folder(sharded)


@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "text"])
def test_a_shard_that_is_no_safetensors_file_is_refused_at_once(sharded, kind, monkeypatch):
    place = sharded / ONE
    place.unlink()
    if kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "socket":
        monkeypatch.chdir(sharded)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(ONE)
    else:
        place.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert str(place) in refusal(sharded)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"weight_map": null}', '{"weight_map": []}', '{"weight_map": 7}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": null}}', '{"weight_map": {"a": ["x"]}}', '{"metadata": NaN}', "\0",
        "[" * 100_000,
    ],
)  # fmt: skip
def test_an_index_that_is_none_is_refused(sharded, text):
    (sharded / INDEX).write_text(text)
    assert str(sharded / INDEX) in refusal(sharded)


def test_an_empty_index_holds_nothing(sharded):
    write_index(sharded, {})
    assert open_shards(sharded / INDEX, open_safetensors) == {}


def test_no_weights_at_all_are_named_by_the_file_expected(sharded):
    for name in (*SHARDS, INDEX):
        (sharded / name).unlink()
    assert str(sharded / SINGLE) in refusal(sharded)
    for there, hint in (("", "the download may be incomplete"), ("tf.h5", "it has tf.h5")):
        if there:
            (sharded / there).write_bytes(b"")
        with pytest.raises(ContentError) as refused:
            open_folder(sharded)
        assert refused.value.hint == hint


# --- config.json ---------------------------------------------------------------------------------


def test_a_folder_without_a_config_is_refused(sharded):
    (sharded / "config.json").unlink()
    assert refusal(sharded) == f"no file {sharded / 'config.json'}"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"7", b'"a"', b"null", b"{", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1,}',
        b'{"a": -Infinity}', b"{'a': 1}", b'{"a": ' + b"9" * 5000 + b"}", b"\xff{}",
        '{"a": 1}'.encode("utf-16"), b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_config_that_is_no_strict_json_object_is_refused(sharded, data):
    (sharded / "config.json").write_bytes(data)
    assert str(sharded / "config.json") in refusal(sharded)


def test_a_byte_order_mark_before_a_config_is_dropped(sharded):
    (sharded / "config.json").write_bytes(b'\xef\xbb\xbf{"model_type": "llama"}')
    assert open_folder(sharded).config == {"model_type": "llama"}


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_a_config_that_is_no_file_is_refused_at_once(sharded, kind):
    place = sharded / "config.json"
    place.unlink()
    if kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    assert str(place) in refusal(sharded)


def test_a_config_too_large_to_be_one_is_not_read(sharded):
    with (sharded / "config.json").open("wb") as file:
        file.truncate(16_000_001)
    assert "more than 16,000,000 bytes" in refusal(sharded)


def test_numbers_and_text_of_a_json_object_are_kept(tmp_path):
    values = {"a": 1, "b": [1.5, None, True], "c": {"d": "é"}}
    path = tmp_path / "some.json"
    path.write_text(json.dumps(values))
    assert read_json_object(path) == values
