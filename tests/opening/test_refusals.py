"""What is known and does not open is refused by its name, with what opens instead."""

import json

import pytest

from attn_cli.errors import ContentError
from attn_cli.opening import quantised, refusals

WHERE = "here/config.json"
INSTEAD = "open a GGUF file of it, or the folder that it was quantised from"


def refused(call, *given, **named):
    """The message and hint of the refusal, on at most two lines each."""
    with pytest.raises(ContentError) as problem:
        call(*given, **named)
    message, hint = problem.value.message, problem.value.hint
    assert "\n" not in message + hint and len(message) < 300
    return message, hint


# --- quantised weights ---------------------------------------------------------------------------

METHODS = {
    "HQQ": {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}},
    "AQLM in 2 bits": {"quant_method": "aqlm", "nbits": 2},
    "EETQ": {"quant_method": "eetq", "weights": "int8"},
    "Quanto": {"quant_method": "quanto", "weights": "int8"},
    "torchao": {"quant_method": "torchao", "quant_type": "int4_weight_only"},
    "auto-round in 4 bits": {"quant_method": "auto-round", "bits": 4},
}


def read(values, ignored=()):
    return quantised.read_scheme(values, WHERE, ignored, [])


@pytest.mark.parametrize("name", METHODS)
def test_quantised_weights_are_refused_by_the_name_of_the_method(name):
    section = METHODS[name]
    message, hint = refused(read, {"quantization_config": section})
    assert message == (
        f"{WHERE}: quantization_config says that the weights are quantised by {name}, "
        "which attn does not read"
    )
    assert hint == INSTEAD
    inside, _ = refused(read, {"text_config": {"quantization_config": section}})
    assert inside == message.replace(": quant", ": text_config: quant")


@pytest.mark.parametrize(
    "section", [{}, {"bits": "4"}, "gptq", 4, [], True, {"quant_method": 3}, {"bits": 10**9}]
)
def test_a_section_that_does_not_say_how_is_refused_without_a_name(section):
    message, _ = refused(read, {"quantization_config": section})
    assert "quantised, which attn does not read" in message


def test_a_long_name_of_a_method_is_shortened():
    section = {"quant_method": 500 * "x"}
    message, _ = refused(read, {"quantization_config": section})
    assert "500 characters" in message


@pytest.mark.parametrize("values", [
    {}, {"quantization_config": None}, {"quantization": None, "text_config": None},
    {"text_config": {"quantization_config": None}}, {"text_config": 3},
])  # fmt: skip
def test_null_is_as_good_as_nothing(values):
    assert read(values) is None


def test_what_the_user_ignores_is_let_through():
    section = METHODS["EETQ"]
    values = {"quantization_config": section, "text_config": {"quantization_config": section}}
    assert read(values, ("quantization_config",)) is None
    refused(read, values, ("quantization",))


# --- other model types ---------------------------------------------------------------------------

KINDS = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "bloom", "opt")


def test_an_unknown_type_is_named_with_the_kinds_that_open():
    problem = refusals.unknown_type({"model_type": "reformer"}, WHERE, KINDS)
    assert problem.message == f"{WHERE}: the model type 'reformer' is not supported"
    assert problem.hint == (
        "attn knows gpt2, llama, mistral, qwen2, qwen3, gemma2, gemma3, phi3 and 2 more; "
        "attn models lists what opens here"
    )
    few = refusals.unknown_type({"model_type": "reformer"}, WHERE, KINDS[:2])
    assert few.hint == "attn knows gpt2, llama; attn models lists what opens here"


def test_code_that_comes_with_a_model_is_never_run():
    own = {"AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": "modeling_x.X"}
    problem = refusals.unknown_type({"model_type": "x", "auto_map": own}, WHERE, KINDS)
    assert "'x' is not supported, and code that comes with a model (auto_map)" in problem.message
    tokenizer = {"AutoTokenizer": ["tokenization_x.X", None]}
    for harmless in (tokenizer, None, "x", []):
        problem = refusals.unknown_type({"model_type": "x", "auto_map": harmless}, WHERE, KINDS)
        assert "auto_map" not in problem.message


@pytest.mark.parametrize("kind", [3, [], {}, "", 400 * "x", "\x1b[31m"])
def test_a_type_that_is_no_word_is_shown_safely(kind):
    problem = refusals.unknown_type({"model_type": kind}, WHERE, KINDS)
    assert len(problem.message) < 150 and "\x1b" not in problem.message
    missing = refusals.unknown_type({}, WHERE, KINDS)
    assert missing.message == f"{WHERE}: the key model_type is missing"


# --- folders -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of these names; a value other than None is what the file holds, as JSON."""

    def make(**files):
        for name, contents in files.items():
            path = tmp_path / name
            if name.endswith("/"):
                path.mkdir()
            else:
                path.write_text("" if contents is None else json.dumps(contents))
        return tmp_path

    return make


def test_an_adapter_is_named_with_its_base(folder):
    path = folder(
        **{"adapter_config.json": {"base_model_name_or_path": "meta-llama/Llama-2-7b-hf"}},
        **{"adapter_model.safetensors": None},
    )
    message, hint = refused(refusals.check_folder, path)
    assert message == f"{path} is a LoRA adapter for meta-llama/Llama-2-7b-hf, not a model"
    assert hint == f"open the model that it was made for, with --adapter {path}"


@pytest.mark.parametrize("base", [None, 3, "", ["a"]])
def test_an_adapter_of_nothing_that_is_named(folder, base):
    path = folder(**{"adapter_config.json": {"base_model_name_or_path": base}})
    message, _ = refused(refusals.check_folder, path)
    assert message == f"{path} is a LoRA adapter, not a model"
    (path / "config.json").write_text("{}")
    assert refused(refusals.check_folder, path)[0] == message


@pytest.mark.parametrize("end", ["qweight", "qzeros", "weight_packed", "weight_scale_inv"])
def test_quantised_tensors_are_refused_though_no_config_says_so(end):
    name = f"model.layers.0.self_attn.q_proj.{end}"
    check = refusals.check_tensors
    message, hint = refused(lambda where: check(["lm_head.weight", name], where), "here")
    assert f"here: the tensor {name} is a part of quantised weights" in message and hint
    check(["lm_head.weight", "model.layers.0.weight_scales.weight"], "here")


@pytest.mark.parametrize(("names", "maker"), [
    (("params.json", "consolidated.safetensors", "tekken.json"), "Mistral"),
    (("params.json", "consolidated.00.pth", "tekken.json"), "Mistral"),
    (("params.json", "consolidated-00001-of-00002.safetensors", "tekken.json"), "Mistral"),
    (("params.json", "consolidated.00.pth", "tokenizer.model"), "Meta"),
    (("consolidated.00.pth",), "Meta"),
    (("config.json", "params.json", "consolidated.safetensors"), "Mistral"),
])  # fmt: skip
def test_the_makers_own_form_is_named(folder, names, maker):
    message, hint = refused(refusals.check_folder, folder(**dict.fromkeys(names)))
    assert f"{maker}'s own form" in message and "params.json" in message
    assert "config.json and model.safetensors" in hint


@pytest.mark.parametrize(("names", "wanted"), [
    (("model_index.json", "unet/"), "diffusers"),
    (("modules.json", "0_Transformer/", "1_Pooling/"), "sentence-transformers"),
    (("config_sentence_transformers.json",), "sentence-transformers"),
    (("config.json", "tf_model.h5"), "for TensorFlow only"),
    (("config.json", "model.ckpt.index"), "for TensorFlow only"),
    (("config.json", "flax_model.msgpack"), "for Flax only"),
    (("config.json", "tf_model.h5", "flax_model.msgpack"), "for TensorFlow and Flax only"),
    (("config.json", "onnx/"), "for ONNX only"),
    (("config.json", "model.onnx", "onnx/"), "for ONNX only"),
    (("config.json", "rust_model.ot"), "for Rust only"),
    (("x-Q8_0.gguf", "README.md"), "holds GGUF files"),
])  # fmt: skip
def test_other_forms_are_named(folder, names, wanted):
    message, hint = refused(refusals.check_folder, folder(**dict.fromkeys(names)))
    assert wanted in message and hint


def test_the_hint_says_which_part_opens(folder):
    path = folder(**dict.fromkeys(("modules.json", "0_Transformer/", "b.gguf", "c.gguf")))
    _, hint = refused(refusals.check_folder, path)
    assert hint == f"open the model in it: {path / '0_Transformer'}"
    (path / "modules.json").unlink()
    _, hint = refused(refusals.check_folder, path)
    assert hint == f"open one: {path / 'b.gguf'}"


@pytest.mark.parametrize("names", [
    ("config.json",), ("config.json", "modules.json"),
])  # fmt: skip
def test_a_folder_that_is_nothing_known_is_left_to_others(folder, names):
    path = folder(**dict.fromkeys(names))
    refusals.check_folder(path)
    refusals.check_folder(path / "missing")
    assert {file.name for file in path.iterdir()} == set(names)


@pytest.mark.parametrize("names", [
    (), ("README.md",), ("params.json",), ("inner/config.json",)
])  # fmt: skip
def test_a_folder_without_a_model_is_one(folder, names):
    path = folder(**dict.fromkeys(name for name in names if "/" not in name))
    message, hint = refused(refusals.check_folder, path)
    assert message == f"{path} is a folder without a model: no config.json"
    assert hint == "attn models lists what opens here"
    (path / "inner").mkdir()
    for name in ("config.json", "model.safetensors"):
        (path / "inner" / name).touch()
    assert refused(refusals.check_folder, path)[1] == f"open the model in it: {path / 'inner'}"


def test_an_adapters_file_that_is_no_json_is_said(folder, tmp_path):
    folder(**{"adapter_config.json": []})
    message, _ = refused(refusals.check_folder, tmp_path)
    assert "is not a JSON object" in message


# --- GGUF ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("metadata", "wanted"), [
    ({"general.type": "adapter", "general.architecture": "llama"}, "a LoRA adapter, not a"),
    ({"general.type": "mmproj", "general.architecture": "clip"}, "makes vectors of pictures"),
    ({"general.architecture": "clip"}, "makes vectors of pictures"),
    ({"general.type": "imatrix"}, "statistics for quantising"),
])  # fmt: skip
def test_gguf_files_that_are_no_whole_model_are_named(metadata, wanted):
    message, _ = refused(refusals.check_gguf, metadata, "a.gguf")
    assert message.startswith("a.gguf") and wanted in message


@pytest.mark.parametrize("metadata", [
    {}, {"general.type": "model", "general.architecture": "llama"}, {"general.type": 3},
    {"split.count": 0}, {"split.count": 1, "split.no": 0}, {"split.count": "2"},
    {"general.architecture": ["clip"], "general.type": ["adapter"]},
])  # fmt: skip
def test_other_gguf_files_are_let_through(metadata):
    given = dict(metadata)
    refusals.check_gguf(metadata, "a.gguf")
    assert metadata == given


@pytest.mark.parametrize(("metadata", "wanted"), [
    ({"general.architecture": "phi3", "phi3.expert_count": 8}, "phi3.expert_count is 8"),
    ({"general.architecture": "bert", "bert.expert_count": 2.0}, "a mixture of experts"),
])  # fmt: skip
def test_a_mixture_of_an_architecture_that_has_none_here_is_named(metadata, wanted):
    message, _ = refused(refusals.check_experts, metadata, "a.gguf", known=False)
    assert message.startswith("a.gguf") and wanted in message
    given = dict(metadata)
    refusals.check_experts(metadata, "a.gguf", known=True)
    assert metadata == given


@pytest.mark.parametrize("metadata", [
    {"general.architecture": "phi3", "phi3.expert_count": 0, "phi3.expert_used_count": 0},
    {"general.architecture": "phi3", "qwen2.expert_count": 4},
    {"general.architecture": "phi3", "phi3.expert_count": True},
])  # fmt: skip
def test_a_count_of_no_experts_is_let_through(metadata):
    given = dict(metadata)
    refusals.check_experts(metadata, "a.gguf", known=False)
    assert metadata == given
