"""Models in the Hugging Face cache and in the store of Ollama, built in their real layouts."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from stores import COMMIT, HubStore, OllamaStore

from attn_cli import session
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError, NoModelError
from attn_cli.opening import hub, ollama, places

GOLDEN = Path(__file__).parents[1] / "golden"

OTHER = "beef" + 36 * "1"


@pytest.fixture
def hub_store(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return HubStore(tmp_path / "hub")


@pytest.fixture
def ollama_store(tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    return OllamaStore(tmp_path / "ollama")


@pytest.fixture
def folder_files(golden_copy):
    """The files of a small model, by name."""
    folder = golden_copy("llama-plain")
    names = ("config.json", "model.safetensors", "tokenizer.json")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


@pytest.fixture
def gguf_bytes(tmp_path):
    """A whole GGUF file of a tiny GPT-2."""
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "made.gguf", "gpt2")
    writer.add_block_count(1)
    writer.add_context_length(7)
    writer.add_embedding_length(4)
    writer.add_feed_forward_length(5)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-5)
    writer.add_file_type(0)
    shapes = {
        "token_embd.weight": (11, 4), "position_embd.weight": (7, 4), "output_norm.weight": (4,),
        "output_norm.bias": (4,), "blk.0.attn_norm.weight": (4,), "blk.0.attn_norm.bias": (4,),
        "blk.0.attn_qkv.weight": (12, 4), "blk.0.attn_qkv.bias": (12,),
        "blk.0.attn_output.weight": (4, 4), "blk.0.attn_output.bias": (4,),
        "blk.0.ffn_norm.weight": (4,), "blk.0.ffn_norm.bias": (4,),
        "blk.0.ffn_up.weight": (5, 4), "blk.0.ffn_up.bias": (5,),
        "blk.0.ffn_down.weight": (4, 5), "blk.0.ffn_down.bias": (4,),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(name, rng.standard_normal(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (tmp_path / "made.gguf").read_bytes()


# --- the Hugging Face cache ----------------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_a_repository_opens_by_its_name(hub_store, folder_files, golden_path, links):
    snapshot = hub_store.add("someone/small", folder_files, links=links)
    model = session.load("someone/small")
    assert (model.facts.name, model.facts.source) == ("someone/small", str(snapshot))
    found = session.trace(ids=[1, 2, 3], model=model)
    wanted = session.trace(ids=[1, 2, 3], model=str(golden_path / "llama-plain"))
    assert np.array_equal(found.logits, wanted.logits)


def test_a_name_without_an_owner_and_one_with_dashes(hub_store, folder_files):
    hub_store.add("gpt2", folder_files)
    hub_store.add("some-one/a--b.c_d", folder_files)
    assert session.load("gpt2").facts.layers == session.load("some-one/a--b.c_d").facts.layers
    assert hub.names() == ["gpt2", "some-one/a--b.c_d"]


def test_revisions_are_refs_tags_and_beginnings_of_commits(hub_store, folder_files):
    hub_store.add("a/b", folder_files)
    other = hub_store.add("a/b", folder_files, commit=OTHER, ref="refs/pr/1")
    hub_store.add("a/b", folder_files, commit=OTHER, ref="v1.0")
    for revision in ("refs/pr/1", "v1.0", OTHER, "beef"):
        assert hub.find(f"a/b@{revision}") == other
    assert hub.find("a/b@c0ff") == hub.find("a/b@main") == hub.find("a/b")
    with pytest.raises(ContentError, match="no revision 'v2'") as refused:
        hub.find("a/b@v2")
    assert "c0ffee00" in refused.value.hint


def test_a_single_snapshot_without_a_ref_is_taken_and_several_are_not(hub_store, folder_files):
    only = hub_store.add("a/b", folder_files, ref="")
    assert hub.find("a/b") == only
    hub_store.add("a/b", folder_files, commit=OTHER, ref="")
    with pytest.raises(ContentError, match="several snapshots") as refused:
        hub.find("a/b")
    assert "beef1111" in refused.value.hint


def test_a_single_gguf_file_opens_by_its_repository(hub_store, gguf_bytes):
    files = {"deep/model-Q4_K_M.gguf": gguf_bytes, "mmproj-model-f16.gguf": b"x", "README.md": b""}
    hub_store.add("a/b-GGUF", files)
    assert session.load("a/b-GGUF").facts.family == "gpt2"
    assert hub.names() == ["a/b-GGUF"]


def test_of_several_gguf_files_one_is_named(hub_store, gguf_bytes):
    files = {f"model-{kind}.gguf": gguf_bytes for kind in ("Q4_K_M", "Q8_0", "F16")}
    snapshot = hub_store.add("a/b-GGUF", files)
    with pytest.raises(ContentError, match="3 GGUF files") as refused:
        hub.find("a/b-GGUF")
    assert "model-Q8_0.gguf" in refused.value.hint
    for tail in (":Q8_0", ":q8_0", "/model-Q8_0.gguf", "@main:Q8_0"):
        assert hub.find(f"a/b-GGUF{tail}") == snapshot / "model-Q8_0.gguf"
    assert session.load("a/b-GGUF:Q8_0").facts.name == "a/b-GGUF:Q8_0"
    assert hub.names() == [f"a/b-GGUF/model-{kind}.gguf" for kind in ("F16", "Q4_K_M", "Q8_0")]
    with pytest.raises(ContentError, match="no files 'Q5_0'"):
        hub.find("a/b-GGUF:Q5_0")


def test_a_folder_of_weights_wins_over_gguf_files_beside_it(hub_store, folder_files, gguf_bytes):
    snapshot = hub_store.add("a/b", folder_files | {"x.gguf": gguf_bytes, "y.gguf": gguf_bytes})
    assert hub.find("a/b") == snapshot
    assert hub.find("a/b:y") == snapshot / "y.gguf"


def test_the_part_of_a_split_file_is_refused(hub_store, write_gguf, tmp_path):
    def split(writer):
        writer.add_uint16("split.no", 1)
        writer.add_uint16("split.count", 2)

    part = write_gguf(tmp_path / "x.gguf", "llama", split, {"a": np.ones((2, 2), np.float32)})
    hub_store.add("a/b", {"m-00002-of-00002.gguf": Path(part).read_bytes()})
    with pytest.raises(ContentError, match=r"m-00001-of-00002.gguf is missing, one of 2 parts"):
        session.load("a/b")


def test_a_dangling_ref_says_how_to_go_on(hub_store, folder_files):
    hub_store.add("a/b", folder_files)
    shutil.rmtree(hub_store.entry("a/b") / "snapshots" / COMMIT)
    with pytest.raises(ContentError, match="is not there") as refused:
        hub.find("a/b")
    assert "hf download a/b" in refused.value.hint


def test_a_missing_blob_says_how_to_go_on(hub_store, folder_files):
    snapshot = hub_store.add("a/b", folder_files)
    os.unlink(os.path.realpath(snapshot / "model.safetensors"))
    with pytest.raises(ContentError, match=r"model\.safetensors is missing") as refused:
        session.load("a/b")
    assert "hf download a/b" in refused.value.hint


def test_a_gated_repository_says_what_to_do(hub_store):
    hub_store.add("meta/gated", {"README.md": b"# terms"})
    (hub_store.entry("meta/gated") / ".no_exist" / COMMIT).mkdir(parents=True)
    with pytest.raises(ContentError, match="not on this machine") as refused:
        session.load("meta/gated")
    assert "terms" in refused.value.hint and "hf auth login" in refused.value.hint
    hub_store.add("meta/config", {"config.json": b"{}"})
    with pytest.raises(ContentError, match="no weights"):
        session.load("meta/config")


def test_a_half_downloaded_repository_says_so(hub_store, folder_files):
    del folder_files["model.safetensors"]
    hub_store.add("a/b", folder_files)
    (hub_store.entry("a/b") / "blobs" / "abc.incomplete").write_bytes(b"part")
    with pytest.raises(ContentError, match="half-downloaded") as refused:
        session.load("a/b")
    assert refused.value.hint == "hf download a/b goes on where it stopped"


def test_a_missing_shard_says_how_to_go_on(hub_store, folder_files):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    files = {"model.safetensors.index.json": json.dumps(index).encode()}
    files["config.json"] = folder_files["config.json"]
    hub_store.add("a/b", files)
    with pytest.raises(ContentError, match="model-00001-of-00002") as refused:
        session.load("a/b")
    assert "hf download a/b" in refused.value.hint


def test_a_link_that_leaves_the_repository_is_refused(hub_store, folder_files, tmp_path):
    snapshot = hub_store.add("a/b", folder_files)
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(secret)
    with pytest.raises(ContentError, match="leaves the cache"):
        session.load("a/b")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "vocab.txt"])
@pytest.mark.parametrize("to", ["itself", "nothing", "elsewhere", "pipe"])
def test_ids_need_no_link_of_a_tokenizer(hub_store, folder_files, tmp_path, name, to):
    snapshot = hub_store.add("a/b", folder_files)
    path = snapshot / name
    path.unlink(missing_ok=True)
    if to == "pipe":
        os.mkfifo(path)
    else:
        (tmp_path / "secret").write_text("{}")
        places = {"itself": name, "nothing": "../../blobs/none", "elsewhere": tmp_path / "secret"}
        path.symlink_to(places[to])
    model = session.load("a/b")
    assert session.trace(model=model, ids=[1, 2]).logits.size
    # Beside a tokenizer.json vocab.txt is not read, and still may not lead elsewhere.
    if name != "vocab.txt" or to != "pipe":
        assert str(path) in model.tokenizer.problem


@pytest.mark.parametrize("name", [
    "../a", "a/../b", "a/b@../../x", "/no/such", "a//b", "a/b/c", "a b", "a/b:", "-a/b",
    "a/b\n", "", "a/b@refs/../../../x", "a/..gguf", "é/b", "a" * 5000,
])  # fmt: skip
def test_names_that_cannot_be_of_the_cache_find_nothing(
    hub_store, folder_files, name, tmp_path, monkeypatch
):
    hub_store.add("a/b", folder_files)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")  # "../a" could be a file
    with pytest.raises((NoModelError, ContentError)):
        places.find(name)


def test_an_existing_path_wins_over_a_repository(hub_store, folder_files, golden_copy, monkeypatch):
    hub_store.add("a/b", folder_files)
    folder = golden_copy("llama-bias")
    (folder / "a").mkdir()
    shutil.copytree(folder, folder / "a" / "b", ignore=shutil.ignore_patterns("a"))
    monkeypatch.chdir(folder)
    assert session.load("a/b").facts.heads == 3
    assert session.load("a/b").facts.source == "a/b"


def test_an_unknown_repository_is_exit_1_with_a_near_name(hub_store, folder_files):
    hub_store.add("someone/small", folder_files)
    with pytest.raises(NoModelError) as refused:
        session.load("someone/smal")
    assert refused.value.exit_code == 1
    assert "did you mean someone/small?" in refused.value.hint


@pytest.mark.parametrize(("variables", "wanted"), [
    ({"HF_HUB_CACHE": "/x/y"}, "/x/y"),
    ({"HF_HUB_CACHE": "~/y"}, "/home/me/y"),
    ({"HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
    ({"HF_HOME": "/h"}, "/h/hub"),
    ({"HF_HOME": "~/h"}, "/home/me/h/hub"),
    ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ({"XDG_CACHE_HOME": "/c", "HF_HOME": "/h"}, "/h/hub"),
    ({}, "/home/me/.cache/huggingface/hub"),
])  # fmt: skip
def test_where_the_cache_is(monkeypatch, variables, wanted):
    """The rules of huggingface_hub/constants.py."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    assert str(hub.root()) == wanted


def test_shards_without_their_index_are_half_downloaded(hub_store, folder_files):
    files = {"config.json": folder_files["config.json"], "model-00001-of-00002.safetensors": b"x"}
    hub_store.add("a/b", files)
    (hub_store.entry("a/b") / "blobs" / "abc.incomplete").write_bytes(b"part")
    with pytest.raises(ContentError, match=r"half-downloaded: .* no index") as refused:
        session.load("a/b")
    assert "hf download a/b" in refused.value.hint
    hub_store.add("c/d", {"config.json": b"{}", "training_args.bin": b"x"})
    with pytest.raises(ContentError, match="no weights"):
        session.load("c/d")


@pytest.mark.parametrize("place", ["", "snapshots", "blobs"])
def test_what_may_not_be_read_is_said_and_breaks_no_list(
    hub_store, folder_files, monkeypatch, place
):
    from attn_cli.opening.listing import listing

    hub_store.add("a/closed", folder_files)
    hub_store.add("b/open", folder_files)
    closed = str(hub_store.entry("a/closed") / place)
    for name in ("listdir", "stat"):
        real = getattr(os, name)

        def guarded(path, *more, real=real, **named):
            if str(path).startswith(closed):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *more, **named)

        monkeypatch.setattr(os, name, guarded)
    rows = {row.name: row for row in listing().models}
    assert rows["b/open"].opens
    assert not rows["a/closed"].opens
    assert "permission denied" in rows["a/closed"].reason or place == ""


def test_a_model_whose_type_cannot_be_read_does_not_open(
    hub_store, folder_files, golden_path, packed
):
    """Numbers of eight bits without their scales: the header alone is in order."""
    from attn_cli.opening.listing import listing

    tensors = open_safetensors(golden_path / "llama-plain" / "model.safetensors")
    sizes = {name: int(np.prod(tensor.shape)) for name, tensor in tensors.items()}
    entries = {n: ("F8_E4M3", tensors[n].shape, bytes(size)) for n, size in sizes.items()}
    hub_store.add("a/eight", {**folder_files, "model.safetensors": packed(entries)})
    (row,) = (row for row in listing().models if row.name == "a/eight")
    assert (row.opens, row.family) == (False, "llama")
    assert "dtype F8_E4M3" in row.reason


def test_a_store_that_may_not_be_read_is_one_row(ollama_store, gguf_bytes, monkeypatch):
    from attn_cli.opening.listing import listing

    def refuse(*_, onerror, **__):
        onerror(PermissionError(13, "Permission denied", "the manifests"))
        return iter(())

    monkeypatch.setattr(os, "walk", refuse)
    (row,) = [row for row in listing().models if row.place == "ollama"]
    assert (row.opens, row.name) == (False, str(ollama_store.root))
    assert "permission denied" in row.reason


def test_a_name_that_means_something_else_is_listed_by_its_path(
    hub_store, folder_files, tmp_path, monkeypatch
):
    from attn_cli.opening.listing import listing

    tiny, gpt2 = (hub_store.add(name, folder_files) for name in ("tiny", "gpt2"))
    (tmp_path / "here" / "gpt2").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    rows = {row.name: row for row in listing().models if row.place == "hub"}
    assert set(rows) == {str(tiny), str(gpt2)}
    assert all(row.opens and row.family == "llama" for row in rows.values())


def test_many_entries_that_do_not_open_are_listed_quickly(hub_store):
    """Each would cost a search through all the others, if it asked for a near name."""
    from attn_cli.opening import places
    from attn_cli.opening.listing import listing

    for i in range(100):
        (hub_store.root / f"models--org--bad name {i}").mkdir(parents=True)
        (hub_store.root / f"models--org--empty{i}").mkdir()
    asked = []
    places_hint = places._hint
    places._hint = lambda name: asked.append(name) or ""
    try:
        assert len([row for row in listing().models if row.place == "hub"]) == 100
    finally:
        places._hint = places_hint
    assert asked == []


# --- the store of Ollama -------------------------------------------------------------------------


@pytest.mark.parametrize(("stored", "host", "typed"), [
    ("tiny:1b", "registry.ollama.ai", ("tiny:1b",)),
    ("tiny", "registry.ollama.ai", ("tiny", "tiny:latest", "library/tiny")),
    ("me/tiny:x", "registry.ollama.ai", ("me/tiny:x", "registry.ollama.ai/me/tiny:x")),
    ("me/tiny:x", "localhost:5000", ("localhost:5000/me/tiny:x",)),
    ("org/tiny-GGUF:Q4_K_M", "hf.co", ("hf.co/org/tiny-GGUF:Q4_K_M",)),
])  # fmt: skip
def test_a_model_opens_by_every_way_to_write_its_name(
    ollama_store, gguf_bytes, stored, host, typed
):
    ollama_store.add(stored, gguf_bytes, host=host)
    for name in typed:
        model = session.load(f"ollama:{name}")
        assert (model.facts.name, model.facts.family) == (f"ollama:{name}", "gpt2")
        assert "sha256-" in model.facts.source
    assert session.load(f"ollama:{ollama.names()[0]}").facts.layers == 1


def test_blobs_of_the_first_versions_have_a_colon(ollama_store, gguf_bytes):
    ollama_store.add("tiny", gguf_bytes)
    (blob,) = [b for b in (ollama_store.root / "blobs").iterdir() if b.stat().st_size > 100]
    blob.rename(blob.with_name(blob.name.replace("-", ":")))
    assert session.load("ollama:tiny").facts.layers == 1


@pytest.mark.parametrize("what", ["blob", "manifest"])
def test_a_link_that_leaves_the_store_is_refused(ollama_store, gguf_bytes, tmp_path, what):
    path = ollama_store.add("tiny", gguf_bytes)
    if what == "blob":
        path = next(b for b in (ollama_store.root / "blobs").iterdir() if b.stat().st_size > 100)
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    with pytest.raises(ContentError, match="is a link that leaves the store"):
        session.load("ollama:tiny")


def test_a_store_whose_folders_are_links_is_read(ollama_store, gguf_bytes, tmp_path):
    ollama_store.add("tiny", gguf_bytes)
    for name in ("blobs", "manifests"):
        (ollama_store.root / name).rename(tmp_path / name)
        (ollama_store.root / name).symlink_to(tmp_path / name)
    assert session.load("ollama:tiny").facts.layers == 1


@pytest.mark.parametrize("break_it", ["gone", "partial", "short"])
def test_a_blob_that_is_not_whole_says_how_to_go_on(ollama_store, gguf_bytes, break_it):
    ollama_store.add("tiny", gguf_bytes)
    (blob,) = [b for b in (ollama_store.root / "blobs").iterdir() if b.stat().st_size > 100]
    if break_it == "short":
        blob.write_bytes(gguf_bytes[:-5])
    else:
        blob.unlink()
    if break_it == "partial":
        blob.with_name(f"{blob.name}-partial-0").write_bytes(b"x")
    match = {"gone": "lacks its blob", "partial": "half-downloaded", "short": "its manifest says"}
    with pytest.raises(ContentError, match=match[break_it]) as refused:
        session.load("ollama:tiny")
    assert "ollama pull tiny:latest" in refused.value.hint


@pytest.mark.parametrize(("changes", "match"), [
    ({"kinds": ("model", "adapter")}, "adapter"),
    ({"kinds": ("model", "model")}, "part 1 of 1, not 1 of 2"),
    ({"kinds": ("projector",)}, "no models"),
    ({"digest": "sha256:../../../etc/passwd"}, "without media type, digest or size"),
    ({"digest": "sha256:" + 64 * "Z"}, "without media type, digest or size"),
    ({"digest": 3}, "without media type, digest or size"),
    ({"size": "12"}, "without media type, digest or size"),
])  # fmt: skip
def test_manifests_that_cannot_be_followed_are_refused(ollama_store, gguf_bytes, changes, match):
    ollama_store.add("tiny", gguf_bytes, **changes)
    with pytest.raises(ContentError, match=match):
        session.load("ollama:tiny")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"layers": 3}', b'{"layers": [3]}'])
def test_a_manifest_that_is_none_is_refused(ollama_store, gguf_bytes, data):
    ollama_store.add("tiny", gguf_bytes).write_bytes(data)
    with pytest.raises(ContentError):
        session.load("ollama:tiny")


@pytest.mark.parametrize(
    "name",
    ["", "a/b/c/d/e", "../x", "a:b:c", "a b", ".x", "tiny:../../x", "a" * 300, "x:99999999/a/b"],
)
def test_names_that_cannot_be_ollamas_are_refused(ollama_store, name):
    with pytest.raises(NoModelError):
        session.load(f"ollama:{name}")


def test_an_unknown_model_says_how_to_get_it(ollama_store):
    with pytest.raises(NoModelError) as refused:
        session.load("ollama:nobody")
    assert "ollama pull nobody:latest" in refused.value.hint


def test_where_the_stores_are(monkeypatch, tmp_path):
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path / ".ollama/models" not in ollama.roots()
    (tmp_path / ".ollama/models/manifests").mkdir(parents=True)
    assert ollama.roots()[0] == tmp_path / ".ollama/models"


# --- the listing ---------------------------------------------------------------------------------


@pytest.fixture
def stores(hub_store, ollama_store, folder_files, gguf_bytes):
    hub_store.add("a/good", folder_files)
    hub_store.add("b/gguf", {"x-Q8_0.gguf": gguf_bytes, "x-F16.gguf": gguf_bytes})
    hub_store.add("c/gated", {"README.md": b""})
    config = json.loads(folder_files["config.json"]) | {"model_type": "reformer"}
    hub_store.add("d/other", folder_files | {"config.json": json.dumps(config).encode()})
    hub_store.add("e/broken", folder_files | {"config.json": b"\xff\x00 not json"})
    (hub_store.root / "datasets--x--y").mkdir()
    (hub_store.root / "models--").mkdir()
    (hub_store.root / "models--x--\x1b[31my").mkdir()
    snapshot = hub_store.add("f/fifo", {"model.safetensors": b"x"})
    os.mkfifo(snapshot / "config.json")
    loop = hub_store.add("g/loop", {"model.safetensors": b"x"})
    (loop / "config.json").symlink_to("config.json")
    ollama_store.add("tiny:1b", gguf_bytes)
    ollama_store.add("me/cut:x", gguf_bytes, size=3)


def test_the_listing_says_of_each_whether_it_opens(stores):
    from attn_cli.opening.listing import listing

    found = {row.name: row for row in listing().models}
    opening = {name for name, row in found.items() if row.opens}
    assert opening >= {
        "tiny",
        "random",
        "a/good",
        "b/gguf/x-Q8_0.gguf",
        "b/gguf/x-F16.gguf",
        "ollama:tiny:1b",
    }
    for name in opening - {"random"}:
        facts = session.load(name).facts
        row = found[name]
        assert (row.family, row.parameters, row.reason) == (facts.family, facts.parameters, "")
        assert row.bytes > 0
    reasons = {
        "c/gated": "hf auth login", "d/other": "'reformer' is not supported",
        "e/broken": "not valid UTF-8", "f/fifo": "not a regular file",
        "g/loop": "", "ollama:me/cut:x": "its manifest says 3",
    }  # fmt: skip
    for name, reason in reasons.items():
        assert not found[name].opens
        assert reason in found[name].reason and found[name].reason
    assert found["d/other"].family == "reformer"
    assert found["a/good"].quantisation == found["ollama:tiny:1b"].quantisation == "F32"
    assert not any("datasets" in name for name in found)


CONFIG = {"model_type": "llama"}


@pytest.mark.parametrize(("files", "reason"), [
    ({"config.json": CONFIG | {"quantization_config": {"quant_method": "aqlm", "bits": 2}}},
     "quantization_config says that the weights are quantised by AQLM in 2 bits, which attn does "
     "not read"),
    ({"config.json": {"model_type": "plugh"}}, "the model type 'plugh' is not supported"),
    ({"config.json": {"model_type": "llava", "text_config": {"model_type": "xyzzy"}}},
     "text_config: the model type 'xyzzy' is not supported"),
    ({"config.json": {"model_type": "x", "auto_map": {"AutoModel": "modeling.X"}}},
     "the model type 'x' is not supported, and code that comes with a model (auto_map) is never "
     "run"),
    ({"adapter_config.json": {"base_model_name_or_path": "a/b"}, "model.safetensors": None},
     "it is a LoRA adapter for a/b, not a model"),
    ({"model_index.json": {}, "model.safetensors": None},
     "it is a diffusers pipeline, which makes pictures"),
    ({"config.json": CONFIG, "flax_model.msgpack": {}, "model.safetensors": None},
     "it has weights for Flax only"),
    ({"config.json": CONFIG, "model.safetensors": None},
     "it is not on this machine: its snapshot has no weights, or no index of them (hf download "
     "a/b; a gated model first asks for its terms on its page, and hf auth login)"),
    ({"config.json": CONFIG, "model.safetensors": None, "a.incomplete": {}},
     "it is half-downloaded: its snapshot has no weights, or no index of them (hf download a/b "
     "goes on where it stopped)"),
    ({"config.json": CONFIG, "model.safetensors": None,
      "model.safetensors.index.json": {"weight_map": {"a": "b.safetensors"}}},
     "the file b.safetensors is missing (hf download a/b goes on where it stopped)"),
])  # fmt: skip
def test_each_model_that_does_not_open_has_one_reason_without_its_path(
    hub_store, folder_files, files, reason
):
    from attn_cli.opening.listing import listing

    made = {"model.safetensors": folder_files["model.safetensors"]} | {
        name: None if held is None else json.dumps(held).encode() for name, held in files.items()
    }
    snapshot = hub_store.add("a/b", {name: held for name, held in made.items() if held is not None})
    if "a.incomplete" in files:
        (snapshot / "a.incomplete").unlink()
        (hub_store.entry("a/b") / "blobs" / "a.incomplete").write_bytes(b"")
    (row,) = (row for row in listing().models if row.name == "a/b")
    assert (row.opens, row.reason) == (False, reason)


def test_a_half_downloaded_model_is_that_before_all_else(hub_store):
    hub_store.add("a/b", {"config.json": b"{}", "model.onnx": b""})
    with pytest.raises(ContentError, match="for ONNX only"):
        session.load("a/b")
    (hub_store.entry("a/b") / "blobs" / "x.incomplete").write_bytes(b"")
    with pytest.raises(ContentError, match="half-downloaded"):
        session.load("a/b")


def test_the_models_within_a_folder_are_listed_by_their_paths(
    tmp_path, folder_files, gguf_bytes, monkeypatch
):
    from attn_cli.opening.listing import inside

    monkeypatch.chdir(tmp_path)
    other = folder_files | {"config.json": b'{"model_type": "plugh"}'}
    made = {
        "here/good": folder_files, "here/maker/other": other,
        "here/maker/two": {"x-00001-of-00002.gguf": gguf_bytes, "x-00002-of-00002.gguf": b"",
                           "mmproj-x.gguf": gguf_bytes, "y.gguf": gguf_bytes},
        "here/.hidden": folder_files, "here/a/b/c/deep": folder_files, "here/good/unet": other,
    }  # fmt: skip
    for place, files in made.items():
        Path(place).mkdir(parents=True)
        for name, held in files.items():
            (Path(place) / name).write_bytes(held)
    rows = {row.name: row for row in inside("here").models}
    assert {name: row.opens for name, row in rows.items()} == {
        "here/good": True, "here/maker/other": False,
        "here/maker/two/x-00001-of-00002.gguf": True, "here/maker/two/y.gguf": True,
    }  # fmt: skip
    assert rows["here/maker/other"].reason == "the model type 'plugh' is not supported"
    assert {row.place for row in rows.values()} == {"inside"}
    assert session.load("here/good").facts.parameters == rows["here/good"].parameters
    # A model itself is no folder of models, nor is what is none at all, or a name that attn has.
    Path("tiny/m").mkdir(parents=True)
    Path("tiny/m/config.json").write_bytes(b"{}")
    for name in ("here/good", "nowhere", "tiny", "here/maker/two/y.gguf"):
        assert inside(name).models == ()


# --- adapters ------------------------------------------------------------------------------------


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".npz"}


def test_an_adapter_of_the_cache_acts_on_a_model_of_the_cache(hub_store):
    base, adapter = GOLDEN / "llama-plain", GOLDEN / "adapters" / "plain"
    hub_store.add("a/base", files_of(base))
    snapshot = hub_store.add("a/lora", files_of(adapter))
    ids = (3, 1, 4, 1)
    wanted = session.trace(ids=ids, model=session.load(str(base), adapter=str(adapter)))
    for name, given in (("a/base", "a/lora"), ("a/base", "a/lora@main"), (str(base), "a/lora")):
        model = session.load(name, adapter=given)
        assert np.array_equal(session.trace(ids=ids, model=model).logits, wanted.logits)
        assert (model.facts.adapter, model.facts.name.endswith(f"+ {given}")) == (given, True)
    blob = (snapshot / "adapter_model.safetensors").resolve()
    blob.unlink()
    with pytest.raises(ContentError, match=r"the blob of .*adapter_model\.safetensors is missing"):
        session.load(str(base), adapter="a/lora")


def test_an_adapter_that_is_not_here_says_what_brings_it(hub_store):
    with pytest.raises(ContentError, match="no adapter a/lora") as refused:
        session.load(str(GOLDEN / "llama-plain"), adapter="a/lora")
    assert "hf download a/lora" in refused.value.hint
    hub_store.add("a/base", files_of(GOLDEN / "llama-plain"))
    with pytest.raises(ContentError, match=r"is no LoRA adapter: it has no adapter_config\.json"):
        session.load("tiny", adapter="a/base")
