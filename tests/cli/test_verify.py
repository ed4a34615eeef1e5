"""`attn verify`: verdicts on the models that ship, on given files, and on what does not fit."""

import tracemalloc
import zipfile

import numpy as np
import pytest

PROMPT = "the greatest thinker in China is"


@pytest.mark.parametrize("model", ["tiny", "smollm2", "minilm"])
def test_what_ships_is_normal_against_float64_and_the_reference(attn, model):
    result = attn("verify", PROMPT, "--model", model, "--json").json["result"]
    assert result["verdict"] == "normal"
    assert result["largest"] < 5e-5
    assert {row["name"] for row in result["reference"]} == {"x", "weights"}
    assert result["reference_source"].startswith("transformers")
    assert {row["step"] for row in result["float64"]} == {1, 2, 3, 4, 5, 6}


def test_a_file_from_elsewhere_is_compared(attn, tmp_path):
    file = tmp_path / "there.npz"
    assert attn("trace", PROMPT, "--layer", "all", "--head", "all", "--out", str(file)).code == 0
    arrays = dict(np.load(file))
    result = attn("verify", PROMPT, "--against", str(file), "--json").json["result"]
    assert max(row["error"] for row in result["reference"]) == 0
    arrays["blocks.1.attn.hook_pattern"] = arrays["blocks.1.attn.hook_pattern"] + 0.01
    np.savez(file, **arrays)
    result = attn("verify", PROMPT, "--against", file, "--json", partial=True).json["result"]
    worst = {row["name"]: row for row in result["reference"]}["weights"]
    assert (result["verdict"], worst["layer"], worst["verdict"]) == ("suspect", 1, "suspect")
    assert worst["error"] == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"text"])
def test_a_file_that_is_no_archive_is_refused(attn, tmp_path, content):
    file = tmp_path / "bad.npz"
    file.write_bytes(content)
    refused = attn("verify", "--against", str(file))
    assert (refused.code, refused.out) == (1, b"")


def test_another_prompt_and_another_model_are_refused(attn, tmp_path):
    file = tmp_path / "there.npz"
    attn("trace", "the king", "--layer", "all", "--head", "all", "--out", str(file))
    assert attn("verify", PROMPT, "--against", str(file)).code == 1
    np.savez(file, other=np.zeros(3))
    assert attn("verify", PROMPT, "--against", str(file)).code == 1


@pytest.mark.parametrize("layer", [0, 1])
def test_a_reference_with_a_nan_is_never_normal(attn, tmp_path, layer):
    file = tmp_path / "there.npz"
    attn("trace", PROMPT, "--layer", "all", "--head", "all", "--out", str(file))
    arrays = dict(np.load(file))
    pattern = arrays[f"blocks.{layer}.attn.hook_pattern"].copy()
    pattern[0, 3, 1] = np.nan
    np.savez(file, **{**arrays, f"blocks.{layer}.attn.hook_pattern": pattern})
    result = attn("verify", PROMPT, "--against", file, "--json", partial=True).json["result"]
    worst = {row["name"]: row for row in result["reference"]}["weights"]
    assert (result["verdict"], worst["verdict"], worst["layer"]) == ("suspect", "suspect", layer)


def test_a_file_with_some_heads_is_compared_with_those(attn, tmp_path):
    file = tmp_path / "one.npz"
    attn("trace", PROMPT, "--layer", "1", "--head", "2", "--out", str(file))
    result = attn("verify", PROMPT, "--against", str(file), "--json").json["result"]
    errors = {row["name"]: row["error"] for row in result["reference"]}
    assert errors["weights"] == errors["q"] == errors["k"] == 0


def test_a_file_with_some_rows_and_columns_is_compared_with_those(attn, tmp_path):
    file = tmp_path / "some.npz"
    attn("trace", PROMPT, "--query", "is,0", "--key", "China", "--out", str(file))
    result = attn("verify", PROMPT, "--against", str(file), "--json").json["result"]
    errors = {row["name"]: row["error"] for row in result["reference"]}
    assert errors["weights"] == errors["q"] == errors["k"] == errors["x"] == 0


RESID = "blocks.0.hook_resid_pre"
NO_REFERENCE = {
    "nothing": ({}, "holds no arrays"),
    "one number": ({"tokens": 5}, "holds another prompt"),
    "other tokens": ({"tokens": [1.5] * 6}, "tokens holds numbers that are not whole"),
    "objects": ({RESID: np.array([1, None], object)}, f"{RESID} holds Python objects"),
    "complex": ({RESID: np.zeros((6, 32), complex)}, f"{RESID} holds complex numbers"),
    "dates": ({RESID: np.zeros((6, 32), "M8[s]")}, f"{RESID} holds dates"),
    "empty": ({RESID: np.zeros((6, 0))}, f"{RESID} is empty"),
    "large": ({RESID: np.zeros((9999, 99))}, f"{RESID} holds 989,901 numbers, more than"),
    "words": (
        {RESID: np.zeros((6, 32)), "blocks.0.attn.heads": ["x"]}, "attn.heads holds text",
    ),
    "unknown": ({"blocks.0.attn.hook_patern": np.zeros(3)}, "'blocks.0.attn.hook_patern', which"),
    "layer": ({"blocks.2.hook_resid_pre": np.zeros((6, 32))}, "'blocks.2.hook_resid_pre', which"),
    "link": ({"../x": np.zeros(3)}, "'../x', which is no array of tiny"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_REFERENCE)
@pytest.mark.parametrize("packed", [np.savez, np.savez_compressed])
def test_what_no_reference_holds_is_refused_by_name(attn, tmp_path, name, packed):
    arrays, said = NO_REFERENCE[name]
    packed(tmp_path / "there.npz", **arrays)
    refused = attn("verify", PROMPT, "--against", tmp_path / "there.npz")
    assert refused.code == 1 and said in refused.said


def test_a_bomb_is_refused_before_it_is_unpacked(attn, tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", **{RESID: np.zeros((1 << 12, 1 << 12), np.uint8)})
    with zipfile.ZipFile(tmp_path / "bomb.npz") as archive:
        assert archive.infolist()[0].compress_size < 1 << 17
    tracemalloc.start()
    assert (
        "holds 16,777,216 numbers"
        in attn("verify", PROMPT, "--against", tmp_path / "bomb.npz").said
    )
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_what_is_not_compared_is_told(attn, tmp_path):
    file = tmp_path / "there.npz"
    x = attn("trace", PROMPT, "--json").json["attention"][0]["arrays"]["x"]["values"]
    np.savez(file, **{RESID: x, "blocks.1.mlp.hook_post": np.zeros(3), "hook_embed": [[1j]]})
    result = attn("verify", PROMPT, "--against", file)
    assert result.code == 0
    assert "also holds what is not compared: blocks.1.mlp.hook_post, hook_embed\n" in result.said
