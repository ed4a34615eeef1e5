"""A mixture's tensors in every layout, of which only the experts that are used are read."""

import re
from collections import Counter
from dataclasses import replace

import gguf
import numpy as np
import pytest
from golden.made_weights import made
from made_folders import made_folder, write_model

from attn_cli import session, vocabulary
from attn_cli.errors import ContentError
from attn_cli.families import qwen2_moe, qwen3_moe
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import in_memory, side_by_side
from attn_cli.model.stack import Request
from attn_cli.session import together

EXPERTS, INNER, WIDTH, LAYERS = 6, 64, 32, 2
CONFIG = {
    "model_type": "mixtral", "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "num_key_value_heads": 2, "hidden_size": WIDTH, "intermediate_size": INNER, "vocab_size": 41,
    "max_position_embeddings": 31, "num_local_experts": EXPERTS, "num_experts_per_tok": 2,
    "rope_theta": 59.0,
}  # fmt: skip
IDS = (3, 1, 4)


def shapes():
    found = {"model.embed_tokens.weight": (41, WIDTH), "model.norm.weight": (WIDTH,),
             "lm_head.weight": (41, WIDTH)}  # fmt: skip
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        found |= {f"{at}{name}.weight": (WIDTH,)
                  for name in ("input_layernorm", "post_attention_layernorm")}  # fmt: skip
        for name, rows in (("q", 32), ("k", 16), ("v", 16), ("o", 32)):
            found[f"{at}self_attn.{name}_proj.weight"] = (rows, WIDTH)
        found[f"{at}mlp.gate.weight"] = (EXPERTS, WIDTH)
        for expert in range(EXPERTS):
            of = f"{at}mlp.experts.{expert}."
            found |= {f"{of}{name}_proj.weight": (INNER, WIDTH) for name in ("gate", "up")}
            found[f"{of}down_proj.weight"] = (WIDTH, INNER)
    return found


def older(tensors):
    """Mixtral's own names."""
    names = {".mlp.": ".block_sparse_moe.", "gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
    found = {}
    for name, array in tensors.items():
        own = name
        for newer, before in names.items() if ".mlp." in name else ():
            own = own.replace(newer, before)
        found[own] = array
    return found


def fused(tensors):
    """All experts of a layer in two tensors, gate above up in the first."""
    found = {name: array for name, array in tensors.items() if ".experts." not in name}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}.mlp.experts."
        of = [
            {n: tensors[f"{at}{e}.{n}_proj.weight"] for n in ("gate", "up", "down")}
            for e in range(EXPERTS)
        ]
        found[f"{at}gate_up_proj"] = np.stack([np.concatenate([o["gate"], o["up"]]) for o in of])
        found[f"{at}down_proj"] = np.stack([o["down"] for o in of])
    return found


@pytest.fixture
def folder(tmp_path):
    """Writes the model's folder with the tensors as `arrange` has them."""

    def write(arrange=dict, **config):
        place = tmp_path / f"m{len(list(tmp_path.iterdir()))}"
        return str(write_model(place, CONFIG | config, arrange(made(shapes(), 7))))

    return write


@pytest.fixture
def gguf_file(tmp_path, write_gguf):
    """Writes the model as a GGUF file, the experts' matrices in blocks of a type or as they are."""

    def write(kind):
        tensors = fused(made(shapes(), 7))
        names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
        found, kinds = {}, {}
        for name, array in tensors.items():
            layer = name.removeprefix("model.").split(".")[1]
            if name.endswith("gate_up_proj"):
                gate, up = np.split(array, 2, axis=1)
                found |= {f"blk.{layer}.ffn_gate_exps.weight": gate,
                          f"blk.{layer}.ffn_up_exps.weight": up}  # fmt: skip
            elif name.endswith("experts.down_proj"):
                found[f"blk.{layer}.ffn_down_exps.weight"] = array
            else:
                found[names.get_name(name, try_suffixes=(".weight",))] = array
        for name in [name for name in found if name.endswith("_exps.weight")]:
            if kind != gguf.GGMLQuantizationType.F32:
                found[name], kinds[name] = gguf.quants.quantize(found[name], kind), kind

        def add(writer):
            writer.add_context_length(31)
            writer.add_embedding_length(WIDTH)
            writer.add_block_count(LAYERS)
            writer.add_feed_forward_length(INNER)
            writer.add_head_count(4)
            writer.add_head_count_kv(2)
            writer.add_layer_norm_rms_eps(1e-5)
            writer.add_rope_freq_base(59.0)
            writer.add_expert_count(EXPERTS)
            writer.add_expert_used_count(2)

        return write_gguf(tmp_path / f"{kind.name}.gguf", "llama", add, found, kinds)

    return write


def read_by(path, ids=IDS):
    """The trace of every layer, and how many bytes of each tensor of the file were read."""
    counts, model = Counter(), session.load(path)

    def counting(name, tensor):
        def widen(dtype, stored, out):
            counts[name] += stored.nbytes
            return tensor.widen(dtype, stored, out)

        def expect():
            counts[name] += tensor.size * (".experts." in name or "_exps." in name)

        return tensor._replace(widen=widen, expect=expect)

    tensors = {name: counting(name, t) for name, t in model.weights.tensors.items()}
    model = replace(model, weights=replace(model.weights, tensors=tensors))
    return session.trace(ids=ids, model=model), counts, tensors


def used_in(trace):
    return {of.layer: set(of.chosen.ravel().tolist()) for of in trace.experts}


def check_read(trace, counts, tensors):
    """Of tensors that hold all experts the used ones' share; of an expert's own, all or none."""
    some = False
    for name, tensor in tensors.items():
        if "exp" not in name:
            continue
        parts = name.removeprefix("model.").split(".")
        used = used_in(trace)[int(parts[1])]
        number = [int(part) for part in parts[2:] if part.isdigit()]
        share = (number[0] in used) if number else len(used) / EXPERTS
        assert counts[name] == tensor.size * share, name
        some = some or share < 1
    assert some


@pytest.mark.parametrize("arrange", [dict, older, fused], ids=["apart", "older", "fused"])
def test_a_folder_is_read_of_the_experts_that_are_used_alone(folder, arrange):
    trace, counts, tensors = read_by(folder(arrange))
    assert len(trace.experts) == LAYERS
    check_read(trace, counts, tensors)


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_0"])
def test_a_gguf_file_is_read_of_the_experts_that_are_used_alone(gguf_file, kind):
    trace, counts, tensors = read_by(gguf_file(gguf.GGMLQuantizationType[kind]))
    assert {t.dtype for n, t in tensors.items() if "exps" in n} == {kind}
    check_read(trace, counts, tensors)


def same(one, other):
    assert np.array_equal(one.logits, other.logits)
    for block, of in zip(one.attention, other.attention, strict=True):
        assert all(np.array_equal(block.arrays[n], of.arrays[n]) for n in of.arrays)
    for a, b in zip(one.experts, other.experts, strict=True):
        assert np.array_equal(a.chosen, b.chosen) and np.array_equal(a.shares, b.shares)


@pytest.mark.parametrize("arrange", [older, fused])
def test_every_layout_of_a_folder_has_the_same_numbers(folder, arrange):
    wanted, found = (session.trace(ids=IDS, model=folder(a)) for a in (dict, arrange))
    same(found, wanted)


def test_memory_and_passes_side_by_side_change_no_digit(folder):
    model = session.load(folder(fused))
    wanted = session.trace(ids=IDS, model=model)
    same(session.trace(ids=IDS, model=in_memory(model)), wanted)
    asked = [session.ask(ids=ids, model=model) for ids in ((7, 8, 9, 1, 2), IDS)]
    same(together(asked)[1], wanted)
    assert not side_by_side(model).weights.held


def test_more_tokens_than_share_a_part_change_only_roundings(folder):
    model = session.load(folder(fused, max_position_embeddings=600))
    ids = tuple(np.arange(300) % 41)
    trace = session.trace(ids=tuple(map(int, ids)), model=model, arrays=("x",))
    few = session.trace(ids=tuple(map(int, ids[:5])), model=model, arrays=("x",))
    assert np.allclose(trace.block(1).x[:5], few.block(1).x, atol=1e-5)


def test_the_progress_counts_what_is_read(folder):
    model = session.load(folder(fused))
    asked = session.ask(ids=IDS, model=model, layer=1)
    passed = [step for step in session.steps(asked) if isinstance(step, session.Passed)]
    trace = session.trace(ids=IDS, model=model)
    experts = sum(map(len, used_in(trace).values())) * 3 * INNER * WIDTH * 4
    others = sum(t.size for n, t in model.weights.tensors.items()
                 if ".layers." in n and ".experts." not in n)  # fmt: skip
    assert passed[-1].read == experts + others
    assert passed[-1].size == model.weights.size > passed[-1].read


# --- what a trace says of it ---------------------------------------------------------------------


def test_a_trace_tells_of_the_layers_and_queries_that_are_asked_for(folder):
    model = session.load(folder())
    whole = session.trace(ids=IDS, model=model)
    assert [(of.layer, of.count, of.queries) for of in whole.experts] == [
        (0, EXPERTS, (0, 1, 2)), (1, EXPERTS, (0, 1, 2)),
    ]  # fmt: skip
    some = session.trace(
        ids=IDS, model=model, layer=1, positions={("decoder", "self"): ((2, 0), None)}
    )
    (of,) = some.experts
    assert of.queries == (2, 0)
    assert np.array_equal(of.chosen, whole.experts[1].chosen[[2, 0]])
    assert np.array_equal(of.shares, whole.experts[1].shares[[2, 0]])
    shorter = session.trace(ids=IDS, model=model, layer=0, next=False)
    assert [of.layer for of in shorter.experts] == [0]
    assert np.array_equal(shorter.experts[0].chosen, whole.experts[0].chosen)


def test_tokens_that_follow_a_cache_are_told_of_by_their_places(folder):
    model, cache = session.load(folder()), Cache()
    whole = session.trace(ids=IDS, model=model)
    blocks, heads = session.chosen(model.facts, (("decoder", "self"),), "all", "all")
    request = Request(blocks=frozenset(blocks), heads=heads)
    session.run(model, IDS[:2], Request(), cache)
    steps = [*session.records(model, IDS[2:], request, cache)]
    found = [step.experts for step in steps if isinstance(step, session.Passed)]
    for of, wanted in zip(found, whole.experts, strict=True):
        assert of.queries == (2,)
        assert np.array_equal(of.chosen, wanted.chosen[2:])


def test_routing_under_a_what_if_says_so(folder):
    model = session.load(folder())

    def provenance(**changes):
        return [of.provenance for of in session.trace(ids=IDS, model=model, **changes).experts]

    assert provenance() == [vocabulary.REAL] * 2
    assert provenance(mask=["none"]) == [vocabulary.WHAT_IF] * 2
    assert provenance(without_head=["1.0"]) == [vocabulary.REAL, vocabulary.WHAT_IF]
    # The router of the layer whose network is left out has read what is real.
    assert provenance(without=["mlp:0"]) == [vocabulary.REAL, vocabulary.WHAT_IF]


def test_a_network_that_is_left_out_adds_nothing(folder):
    trace = session.trace(
        ids=IDS, model=folder(), without=["mlp:0"], arrays=(*vocabulary.LIGHT_ARRAYS,)
    )
    block = trace.block(0)
    assert not block.mlp_output.any()
    assert np.array_equal(trace.block(1).x, block.x + block.output)


# --- what is refused -----------------------------------------------------------------------------


def refusal(place, **config):
    with pytest.raises(ContentError) as problem:
        session.load(place(**config) if config else place)
    return problem.value.message


def test_more_experts_for_a_token_than_there_are_are_refused(folder):
    found = refusal(folder, num_experts_per_tok=7)
    assert found.endswith("num_experts_per_tok 7 is more than num_local_experts 6")


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "2"])
def test_a_count_of_experts_that_is_none_is_refused(folder, value):
    assert "num_local_experts is" in refusal(folder, num_local_experts=value)
    assert "num_experts_per_tok is" in refusal(folder, num_experts_per_tok=value)


def test_more_experts_than_can_be_named_are_refused_before_they_are(folder):
    found = refusal(folder, num_local_experts=60_000, num_hidden_layers=9_000)
    assert "60000 in each of 9000 layers are more than 65,536" in found


@pytest.mark.parametrize(("arrange", "name"), [
    (dict, "model.layers.1.mlp.experts.4.up_proj.weight"),
    (older, "model.layers.1.block_sparse_moe.experts.4.w3.weight"),
    (fused, "model.layers.1.mlp.experts.gate_up_proj"),
])  # fmt: skip
def test_an_expert_that_is_missing_is_named_as_the_file_would(folder, arrange, name):
    def without(tensors):
        return {n: array for n, array in arrange(tensors).items() if n != name}

    assert refusal(folder(without)).endswith(f"the tensor {name} is missing")


@pytest.mark.parametrize(("name", "some", "said"), [
    ("gpt_oss-a", "0.mlp.experts.down_proj", "0.mlp.experts.down_proj is missing"),
    ("gpt_oss-a", "1.mlp.experts.gate_up_proj_bias", "1.mlp.experts.gate_up_proj_bias is missing"),
    ("gpt_oss-a", ".mlp.experts.", "0.mlp.experts.gate_up_proj_blocks and 7 more are missing"),
    ("granitemoe-a", "1.block_sparse_moe.output_linear.weight",
     "1.block_sparse_moe.output_linear.weight is missing"),
    ("mixtral-a", ".experts.", "0.block_sparse_moe.experts.0.w1.weight and 29 more are missing"),
])  # fmt: skip
def test_what_holds_all_experts_is_named_as_files_of_the_type_do(tmp_path, name, some, said):
    def without(tensors):
        gone = {n for n in tensors if n == f"model.layers.{some}"} or {
            n for n in tensors if some in n
        }
        return {n: array for n, array in tensors.items() if n not in gone}

    with pytest.raises(ContentError, match=re.escape(f"the tensor model.layers.{said}")):
        session.load(str(made_folder(tmp_path / name, name, arrange=without)))


def test_another_count_of_experts_in_the_file_is_refused(folder):
    found = refusal(folder(fused, num_local_experts=5))
    assert "gate_up_proj is 6 × 128 × 32, its settings ask for 5 experts" in found
    found = refusal(folder(num_local_experts=5))
    assert "mlp.gate.weight is 6 × 32, its settings ask for 5 × 32" in found


@pytest.mark.parametrize("shape", [(6, 32), (6, 127, 32), (6, 0, 32), (6, 128, 32, 1), (768, 32)])
def test_a_tensor_of_all_experts_in_another_shape_is_refused(folder, shape):
    def other(tensors):
        name = "model.layers.0.mlp.experts.gate_up_proj"
        return {**fused(tensors), name: np.zeros(shape, np.float32)}

    assert "model.layers.0.mlp.experts.gate_up_proj" in refusal(folder(other))


def test_an_expert_that_stands_there_twice_is_refused(folder):
    name = "model.layers.0.mlp.experts.2.down_proj.weight"

    def twice(tensors):
        return {**fused(tensors), name: tensors[name]}

    assert "layers.0.mlp.experts.2.down_proj.weight stands there twice" in refusal(folder(twice))


# --- which layers are what -----------------------------------------------------------------------

QWEN = {
    "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 24,
    "intermediate_size": 13, "vocab_size": 41, "max_position_embeddings": 31,
}  # fmt: skip


def read(family, **more):
    return family.read_config(ConfigReader(QWEN | more, "config.json"))


def test_layers_are_sparse_by_step_but_for_those_that_are_named():
    assert read(qwen2_moe).sparse == (0, 1, 2, 3, 4, 5)
    assert read(qwen3_moe, decoder_sparse_step=2).sparse == (1, 3, 5)
    assert read(qwen3_moe, decoder_sparse_step=2, mlp_only_layers=[3, 0, 9]).sparse == (1, 5)


def test_what_the_classes_have_where_a_config_is_silent():
    found = read(qwen2_moe)
    assert (found.experts, found.used, found.expert_width, found.shared_width) == (
        60, 4, 1408, 5632,
    )  # fmt: skip
    assert found.qkv_bias and not found.normalised
    found = read(qwen3_moe)
    assert (found.experts, found.used, found.expert_width) == (128, 8, 768)
    assert not found.normalised and found.head_norm


def test_every_second_of_the_first_layers_has_the_window():
    window = {"use_sliding_window": True, "sliding_window": 7}
    assert read(qwen2_moe, **window, max_window_layers=4).windows == (7, 0, 7, 0, 0, 0)
    assert read(qwen2_moe, **window | {"use_sliding_window": False}).windows == (0,) * 6
    assert read(qwen3_moe, **window, max_window_layers=4).windows == (7,) * 6


@pytest.mark.parametrize("value", ["all", [-1], [True], [1.0], {"0": 1}])
def test_layers_that_are_no_list_of_numbers_are_refused(value):
    with pytest.raises(ContentError, match="mlp_only_layers is"):
        read(qwen2_moe, mlp_only_layers=value)


def test_a_window_of_layers_that_have_none_is_refused():
    kinds = ["full_attention"] * 5 + ["sliding_attention"]
    with pytest.raises(ContentError, match="layer_types names layers with a window"):
        read(qwen2_moe, layer_types=kinds)
