"""`attn verify`: verdicts on the models that ship, on given files, and on what does not fit."""

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
