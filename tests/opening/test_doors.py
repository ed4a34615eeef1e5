"""One model through every way in: the same tokens, numbers and messages.

Where the reference library and llama.cpp read a text differently, a folder follows the one and a
GGUF file the other. Goldens: tests/golden/make_doors.py.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from stores import HubStore, OllamaStore

from attn_cli import session
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import AttnError
from attn_cli.notes import prompt_notes
from attn_cli.reading import tokenise
from measure import next_logits_of

GOLDEN = Path(__file__).parents[1] / "golden"
STORED = json.loads((GOLDEN / "doors" / "expected.json").read_text())
TEXTS = STORED["texts"]
FOLDERS = ("json", "pieces", "bin", "hub", "hub-revision")
FILES = ("file", "parts", "hub-file", "hub-parts", "hub-kind", "ollama", "ollama-parts")
DOORS = FOLDERS + FILES


def script():
    spec = importlib.util.spec_from_file_location("make_doors", GOLDEN / "make_doors.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def in_parts(maker, place, tensors):
    """The file cut in two, as llama-gguf-split names its parts; their paths."""
    keys, names = maker.gguf_keys(*STORED["pieces"]), list(tensors)
    whole = {"split.count": 2, "split.tensors.count": len(names)}
    paths = [place / f"m-Q4-0000{n}-of-00002.gguf" for n in (1, 2)]
    for n, chosen in enumerate((names[:5], names[5:])):
        given = {**(keys if n == 0 else {}), **whole, "split.no": n}
        maker.write_gguf(paths[n], given, {name: tensors[name] for name in chosen})
    return paths


@pytest.fixture
def doors(tmp_path, monkeypatch):
    """What `--model` takes, by door."""
    maker, source = script(), GOLDEN / "doors"
    weights = {name: t.read() for name, t in open_safetensors(source / "model.safetensors").items()}
    tensors = maker.gguf_tensors(weights)
    common = ("config.json", "tokenizer_config.json")
    kinds = {
        "json": (*common, "tokenizer.json", "model.safetensors"),
        "pieces": (*common, "model.safetensors"),
        "bin": (*common, "tokenizer.json", "pytorch_model.bin"),
    }
    for name, files in kinds.items():
        (tmp_path / name).mkdir()
        for file in files:
            shutil.copy(source / file, tmp_path / name)
    shutil.copy(GOLDEN / "folders" / "llama" / "tokenizer.model", tmp_path / "pieces")
    whole = tmp_path / "whole.gguf"
    maker.write_gguf(whole, maker.gguf_keys(*STORED["pieces"]), tensors)
    parts = in_parts(maker, tmp_path, tensors)
    for name, store in (("HF_HUB_CACHE", "hub"), ("OLLAMA_MODELS", "ollama")):
        monkeypatch.setenv(name, str(tmp_path / store))
    hub, ollama = HubStore(tmp_path / "hub"), OllamaStore(tmp_path / "ollama")
    data = {path.name: path.read_bytes() for path in parts}
    hub.add("a/folder", {file: (source / file).read_bytes() for file in kinds["json"]})
    hub.add("a/file", {"m.gguf": whole.read_bytes()})
    hub.add("a/parts", data)
    hub.add("a/both", {**data, "m-F32.gguf": whole.read_bytes()})
    ollama.add("m", whole.read_bytes())
    manifest = ollama.add("cut", data[parts[0].name])
    layers = json.loads(manifest.read_text())
    other = {**layers["layers"][0], "digest": ollama.blob(data[parts[1].name])}
    layers["layers"].insert(0, other | {"size": len(data[parts[1].name])})  # in any order
    manifest.write_text(json.dumps(layers))
    return {name: str(tmp_path / name) for name in kinds} | {
        "hub": "a/folder", "hub-revision": "a/folder@c0ffee", "file": str(whole),
        "parts": str(parts[0]), "hub-file": "a/file", "hub-parts": "a/parts",
        "hub-kind": "a/both:Q4", "ollama": "ollama:m", "ollama-parts": "ollama:cut",
    }  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_tokens_are_those_of_the_reference(doors, door):
    wanted = STORED["transformers" if door in FOLDERS else "llama.cpp"]
    model = session.load(doors[door])
    found = [[token.id for token in model.tokenizer.encode(text)] for text in TEXTS]
    assert found == wanted


@pytest.mark.parametrize("door", DOORS)
def test_numbers_are_those_of_the_reference_and_the_same_everywhere(doors, door):
    model, first = session.load(doors[door]), session.load(doors["json"])
    for ids, wanted in zip(STORED["transformers"], STORED["logits"], strict=True):
        found = next_logits_of(model, tuple(ids))
        assert np.abs(found[: len(wanted)] - wanted).max() < 1e-4
        assert np.array_equal(found, next_logits_of(first, tuple(ids)))


def messages(name):
    """What a user is told of a model, for prompts that fit and prompts that do not."""
    model = session.load(name)
    told = [prompt_notes(model, tokenise(model, text)) for text in TEXTS[:4]]
    for given in (
        {"text": ""},
        {"text": "a b " * 100},
        {"ids": [500]},
        {"text": "a", "chat": True},
    ):
        try:
            told.append(tokenise(model, **given).ids)
        except AttnError as problem:
            told.append((problem.message.replace(model.facts.name, "MODEL"), problem.hint))
    return [str(one).replace(model.facts.name, "MODEL") for one in told]


@pytest.mark.parametrize("door", DOORS[1:])
def test_messages_are_the_same_everywhere(doors, door):
    assert messages(doors[door]) == messages(doors["json"])


def test_the_versions_of_the_references_are_told():
    assert {"transformers", "llama.cpp", "cyllama"} <= STORED["versions"].keys()


# --- parts ---------------------------------------------------------------------------------------


def refused(name):
    with pytest.raises(AttnError) as problem:
        session.load(str(name))
    return problem.value


def test_another_part_says_which_to_open(doors):
    second = Path(doors["parts"].replace("00001-of", "00002-of"))
    problem = refused(second)
    assert problem.message == f"{second} is part 2 of 2 of a model"
    assert problem.hint == f"open the first: {doors['parts']}"
    assert "is part 2 of 2" in refused("a/parts/m-Q4-00002-of-00002.gguf").message


@pytest.mark.parametrize("number", [1, 2])
def test_a_missing_part_is_named(doors, number):
    paths = [Path(doors["parts"].replace("00001-of", f"0000{n}-of")) for n in (1, 2)]
    paths[number - 1].unlink()
    problem = refused(paths[2 - number])
    assert problem.message.startswith(f"{paths[number - 1]} is missing")
    assert problem.hint == "the download may be incomplete"


def test_a_missing_part_of_a_download_is_completed_by_its_command(doors, tmp_path):
    [part] = (tmp_path / "hub" / "models--a--parts").rglob("*-00002-of-00002.gguf")
    part.unlink()
    problem = refused("a/parts")
    assert "-00002-of-00002.gguf is missing" in problem.message
    assert problem.hint == "hf download a/parts goes on where it stopped"


def test_a_part_without_its_blob_is_named(doors, tmp_path):
    [part] = (tmp_path / "hub" / "models--a--parts").rglob("*-00002-of-00002.gguf")
    part.resolve().unlink()
    assert "the blob of" in refused("a/parts").message


def test_a_part_under_another_name_is_told_how_parts_are_called(doors, tmp_path):
    other = tmp_path / "renamed.gguf"
    shutil.copy(doors["parts"], other)
    problem = refused(other)
    assert problem.message == f"{other} is part 1 of 2 of a model, which its name does not say"
    assert "NAME-00001-of-00002.gguf" in problem.hint


@pytest.mark.parametrize(("keys", "match"), [
    ({"split.no": 0}, "says that it is part 1 of 2, not 2 of 2"),
    ({"split.count": 3}, "says that it is part 2 of 3, not 2 of 2"),
    ({"split.no": 5}, "does not go with split.count"),
])  # fmt: skip
def test_parts_that_do_not_belong_together_are_refused(doors, keys, match):
    path = Path(doors["parts"].replace("00001-of", "00002-of"))
    given = {"split.no": 1, "split.count": 2, **keys}
    script().write_gguf(path, given, {"more": np.ones((2, 2), np.float32)})
    assert match in refused(doors["parts"]).message


@pytest.mark.parametrize(("tensors", "match"), [
    (("other.weight",), "split.tensors.count is 20"),
    (("token_embd.weight",), "the tensor token_embd.weight of another part again"),
])  # fmt: skip
def test_the_tensors_of_all_parts_are_counted(doors, tensors, match):
    path = Path(doors["parts"].replace("00001-of", "00002-of"))
    arrays = {name: np.ones((2, 2), np.float32) for name in tensors}
    script().write_gguf(path, {"split.no": 1, "split.count": 2}, arrays)
    assert match in refused(doors["parts"]).message
