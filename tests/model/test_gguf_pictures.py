"""Qwen's models for pictures in GGUF files, as llama.cpp's converter writes their text."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_keys import add_sizes
from made_adapters import check_same_change
from made_folders import document, made_folder

from attn_cli import session, vocabulary
from attn_cli.checkpoints.gguf import Gguf
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError, UsageError
from measure import row_error

ARCHITECTURES = {"qwen2-vl-a": "qwen2vl", "qwen2-5-vl-b": "qwen2vl", "qwen3-vl-b": "qwen3vl"}
IDS = (3, 1, 4, 1, 5, 9, 2, 6)


def add_text(writer, config, architecture):
    add_sizes(writer, config)
    rope = config["rope_parameters"]
    writer.add_rope_freq_base(rope["rope_theta"])
    sections = [*rope["mrope_section"][:3], 0]
    writer.add_rope_dimension_sections(sections)
    if architecture == "qwen3vl":
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
        writer.add_num_deepstack_layers(1)


@pytest.fixture
def convert(tmp_path, write_gguf):
    """Makes the GGUF file of a golden model with more tensors, and the folder it came from."""

    def make(name, *, keys=lambda writer: None, more=()):
        folder = made_folder(tmp_path / name, name)
        architecture, text = ARCHITECTURES[name], document(name)["config"]["text_config"]
        kind = {n: number for number, n in gguf.MODEL_ARCH_NAMES.items()}[architecture]
        names = gguf.get_tensor_name_map(kind, text["num_hidden_layers"])
        found = {}
        for stored, tensor in open_safetensors(folder / "model.safetensors").items():
            if "visual" not in stored:
                plain = stored.replace("language_model.", "")
                found[names.get_name(plain, try_suffixes=(".weight", ".bias"))] = tensor.read()

        def add(writer):
            add_text(writer, text, architecture)
            keys(writer)

        path = tmp_path / f"{name}.gguf"
        return write_gguf(path, architecture, add, found | dict(more)), folder

    return make


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_file_computes_what_the_folder_computes(convert, name):
    """To the bit: the converter permutes no rows of these."""
    path, folder = convert(name)
    found, wanted = (
        session.trace(ids=IDS, model=place, arrays=vocabulary.ARRAYS)
        for place in (path, str(folder))
    )
    assert np.array_equal(found.logits, wanted.logits)
    for ours, theirs in zip(found.attention, wanted.attention, strict=True):
        assert ours.arrays.keys() == theirs.arrays.keys()
        for array, values in theirs.arrays.items():
            assert np.array_equal(ours.arrays[array], values), array
    assert found.model.parameters == wanted.model.parameters


def test_what_sees_pictures_in_the_same_file_is_left_out_and_counted(convert):
    """As Ollama packs them. The other files of a model do not open at all."""
    more = {
        "v.blk.0.attn_q.weight": np.ones((3, 5), np.float32),
        "mm.0.bias": np.ones(7, np.float32),
    }
    path, _ = convert("qwen3-vl-b", more=more)
    model = session.load(path)
    assert model.unread == (2, 22)
    assert model.weights.size == session.load(convert("qwen3-vl-b")[0]).weights.size
    with pytest.raises(ContentError, match="no place in this family"):
        session.load(convert("qwen3-vl-b", more={"vision.weight": more["mm.0.bias"]})[0])


def test_ollamas_file_of_qwen2_5_vl_is_the_same_model(tmp_path, write_gguf, convert):
    """As convert/convert_qwen25vl.go of Ollama writes it: another name, and all parts in one."""
    plain, _ = convert("qwen2-5-vl-b")
    text = document("qwen2-5-vl-b")["config"]["text_config"]

    def keys(writer):
        add_sizes(writer, text)
        writer.add_rope_freq_base(text["rope_parameters"]["rope_theta"])
        writer.add_array("qwen25vl.rope.mrope_section", text["rope_parameters"]["mrope_section"])
        writer.add_uint32("qwen25vl.vision.block_count", 32)
        writer.add_array("qwen25vl.vision.fullatt_block_indexes", [7, 15])

    tensors = {name: tensor.read() for name, tensor in Gguf(Path(plain)).tensors.items()}
    pictures = {"v.patch_embd_0.weight": np.ones((2, 3), np.float32)}
    path = write_gguf(tmp_path / "ollama.gguf", "qwen25vl", keys, tensors | pictures)
    ours, theirs = session.load(path), session.load(plain)
    assert (ours.config, ours.unread) == (theirs.config, (1, 6))
    alone = write_gguf(tmp_path / "text.gguf", "qwen25vl", both(keys, worded(*_QWEN)), tensors)
    with pytest.raises(UsageError, match="stands for a picture"):
        session.trace(model=alone, text=f"ab{_QWEN[1]}")
    found, wanted = (session.trace(ids=IDS, model=model).logits for model in (ours, theirs))
    assert np.array_equal(found, wanted)


def test_a_base_that_the_file_leaves_out_is_llama_cpps(convert):
    def without(writer):
        del writer.kv_data[0]["qwen2vl.rope.freq_base"]

    path, folder = convert("qwen2-vl-a", keys=without)
    rope = session.load(path).config.rope
    width = session.load(str(folder)).facts.head_width
    assert (
        row_error(np.array(rope.frequencies), 10_000.0 ** -(np.arange(0, width, 2) / width)) < 1e-6
    )


@pytest.mark.parametrize("name", ["qwen3-vl-b"])
def test_an_adapter_does_to_a_file_what_it_does_to_the_folder(convert, tmp_path, name):
    """Also where rows stand otherwise, and where norms are stored otherwise."""
    check_same_change(tmp_path / "adapter", *convert(name))


def both(*adders):
    return lambda writer: [add(writer) for add in adders]


def worded(*others):
    """Adds a tokenizer of letters, with these tokens after them."""

    def add(writer):
        letters = [*map(chr, range(97, 122)), "xy"]
        kinds = [gguf.TokenType.NORMAL] * 26 + [gguf.TokenType.CONTROL] * len(others)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_list([*letters, *others])
        writer.add_token_types(kinds)
        writer.add_token_merges(["x y"])

    return add


_QWEN = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>")


@pytest.mark.parametrize("text", _QWEN)
def test_a_token_of_a_picture_is_refused_as_in_the_folder(convert, text):
    """At every door: as text, as an id, in a chat's turn a text too."""
    path, folder = convert("qwen2-vl-a", keys=worded(*_QWEN, "<|other|>"))
    key = "image_token_id"
    id = document("qwen2-vl-a")["config"][key]
    for asked in ({"text": f"ab{text}c"}, {"ids": (1, 26 + _QWEN.index(text))}):
        with pytest.raises(UsageError, match=r"stands for a picture.*\(tokenizer\.ggml\.tokens\)"):
            session.trace(model=path, **asked)
    with pytest.raises(UsageError, match=rf"stands for a picture or a part of one \({key}\)"):
        session.trace(model=str(folder), ids=(1, id))
    assert session.trace(model=path, text="ab<|other|>c").prompt.ids == (0, 1, 30, 2)
    assert (
        "".join(
            token.text
            for token in session.tokenise(session.load(path), f"a{text}", alone=True).tokens
        )
        == f"a{text}"
    )  # where no pass follows, it is a token like others


@pytest.mark.parametrize(("others", "text", "refused"), [
    (("<image>",), "<image>", True), (("<IMG_CONTEXT>",), "<IMG_CONTEXT>", True),
    (("<start_of_image>", "<image_soft_token>"), "<start_of_image>", True),
    (("<start_of_image>",), "<start_of_image>", False),
    (("<|image_pad|>",), "<|image_pad|>", False), (("[IMG]",), "[IMG]", False),
])  # fmt: skip
def test_in_another_architecture_it_is_refused_where_no_text_model_has_it(
    tmp_path, write_gguf, others, text, refused
):
    path = text_file(tmp_path, write_gguf, worded(*others))
    if refused:
        with pytest.raises(UsageError, match="stands for a picture"):
            session.trace(model=path, text=f"ab{text}")
    else:
        assert session.trace(model=path, text=f"ab{text}").prompt.ids == (0, 1, 26)


def test_what_sees_pictures_in_the_file_reserves_them_all(tmp_path, write_gguf):
    more = {"v.blk.0.attn_q.weight": np.ones((3, 5), np.float32)}
    path = text_file(tmp_path, write_gguf, worded("<|image_pad|>"), more)
    with pytest.raises(UsageError, match="stands for a picture"):
        session.trace(model=path, text="ab<|image_pad|>")


def text_file(tmp_path, write_gguf, keys, more=()):
    """A model of text alone, by its architecture."""
    folder, config = made_folder(tmp_path / "text", "llama-a"), document("llama-a")["config"]
    kind = {n: number for number, n in gguf.MODEL_ARCH_NAMES.items()}["llama"]
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    found = {
        names.get_name(name, try_suffixes=(".weight", ".bias")): tensor.read()
        for name, tensor in open_safetensors(folder / "model.safetensors").items()
    }

    def add(writer):
        add_sizes(writer, config)
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
        keys(writer)

    return write_gguf(tmp_path / "text.gguf", "llama", add, found | dict(more))
