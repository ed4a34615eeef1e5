"""Parameters that are NaN: whatever command meets them says so, on its page and beside it."""

import numpy as np
import pytest
from made_folders import made_folder

IDS = ("--ids", "0,3,4,3")
# The commands that print numbers of a pass, with what makes them meet a parameter.
ASKED = [
    ("embed_tokens", ("trace",)), ("embed_tokens", ("heads",)), ("embed_tokens", ("why",)),
    ("embed_tokens", ("why", "--by", "component")), ("embed_tokens", ("mask",)),
    ("embed_tokens", ("why", "--array", "logit", "--by", "component")),
    ("embed_tokens", ("why", "--array", "q", "--column", "0", "--query", "0")),
    ("embed_tokens", ("heads", "--circuit", "1.1")), ("embed_tokens", ("lens",)),
    ("embed_tokens", ("loss",)), ("embed_tokens", ("compare", "--mask", "none")),
    ("layers.1.mlp.down_proj", ("why", "--array", "logit", "--by", "component")),
    ("layers.1.mlp.down_proj", ("loss",)), ("layers.1.mlp.down_proj", ("lens",)),
    ("lm_head", ("lens",)), ("lm_head", ("loss",)), ("lm_head", ("heads", "--prove")),
]  # fmt: skip


@pytest.fixture
def broken(tmp_path):
    """A model with three NaN at the beginning of a matrix."""

    def make(matrix):
        def arrange(arrays):
            (name,) = [name for name in arrays if name.endswith(f"{matrix}.weight")]
            arrays[name].reshape(-1)[:3] = np.nan
            return arrays

        return str(made_folder(tmp_path / "m", "llama-a", arrange=arrange))

    return make


@pytest.mark.parametrize(("matrix", "asked"), ASKED)
def test_numbers_that_are_none_are_noted(attn, broken, matrix, asked):
    ids = () if "--prove" in asked else IDS
    run = attn(*asked, *ids, "--model", broken(matrix))
    document = attn(*asked, *ids, "--model", broken(matrix), "--json").json
    told = [note for note in document["notes"] if "NaN or infinite" in note]
    assert told and all(note in run.said for note in told)
    assert "NaN" in run.text


@pytest.mark.parametrize("format", ["csv", "npz", "html", "xlsx", "svg", "ndjson", "json"])
def test_every_format_has_them_noted_beside_it(attn, broken, tmp_path, format):
    run = attn("trace", *IDS, "--model", broken("embed_tokens"), "--out", tmp_path / f"a.{format}")
    assert run.code == 0 and "embed_tokens.weight: 3 of" in run.said


def test_what_leaves_nothing_to_draw_from_is_named(attn, broken):
    run = attn("sample", *IDS, "--model", broken("layers.1.mlp.down_proj"))
    assert run.code == 1 and "layers.1.mlp.down_proj.weight holds such" in run.said


@pytest.mark.parametrize("matrix", ["layers.1.mlp.down_proj", "lm_head"])
def test_no_trace_is_normal_whose_end_is_not(attn, broken, matrix):
    run = attn("verify", *IDS, "--model", broken(matrix), "--json", partial=True)
    assert run.code == 1 and run.json["result"]["verdict"] == "suspect"
    assert f"{matrix}.weight" in run.json["nonfinite"][0]["name"]


def test_a_document_counts_them_by_name(attn, broken):
    model = broken("layers.1.mlp.down_proj")
    run = attn("loss", *IDS, "--model", model, "--json")
    (tensor, vectors, result) = run.json["nonfinite"]
    assert tensor == {"name": "model.layers.1.mlp.down_proj.weight", "where": None, "count": 3}
    assert vectors["where"] == "layer 1" and vectors["name"] == "vectors" and vectors["count"] > 0
    assert result == {"name": "result", "where": None, "count": 3}
    clean = attn("loss", *IDS, "--model", model, "--json", "--without", "mlp:1")
    assert "nonfinite" not in clean.json


@pytest.mark.parametrize("asked", sorted({asked for _, asked in ASKED}))
def test_numbers_that_are_some_have_no_note(attn, tmp_path, asked):
    ids = () if "--prove" in asked else IDS
    run = attn(*asked, *ids, "--model", str(made_folder(tmp_path / "m", "llama-a")))
    assert run.code == 0 and "NaN" not in run.said and "NaN" not in run.text
