"""What a context costs, against masks, traces and totals that others have published."""

import json
import re

import numpy as np
import pytest
from made_folders import document, made_folder

from attn_cli import session
from attn_cli.analysis.cost import Attentions, cost, usual
from attn_cli.errors import UsageError
from attn_cli.maths import masks
from attn_cli.opening import presets
from attn_cli.opening.load import preset

# As model pages and papers have them; of encoders with the head that fills masks, without a pooler.
PUBLISHED = {
    "gpt2": 124_439_808, "gpt2-medium": 354_823_168, "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200, "gpt3": 174_604_259_328,
    "llama2-7b": 6_738_415_616, "llama2-70b": 68_976_648_192, "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496, "llama3.1-8b": 8_030_261_248, "llama3.2-1b": 1_235_814_400,
    "mistral-7b": 7_241_732_096, "qwen2.5-0.5b": 494_032_768, "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920, "qwen3-8b": 8_190_735_360, "smollm2-135m": 134_515_008,
    "smollm2-1.7b": 1_711_376_384, "gemma2-2b": 2_614_341_888, "gemma3-1b": 999_885_952,
    "phi3-mini": 3_821_079_552, "pythia-12b": 11_846_072_320, "bloom-7b1": 7_069_016_064,
    "opt-6.7b": 6_658_473_984, "bert-base": 109_514_298, "bert-large": 335_174_458,
    "roberta-base": 124_697_433, "modernbert-base": 149_655_232, "deberta-v3-base": 184_551_780,
    "t5-small": 60_506_624, "t5-base": 222_903_552, "bart-large": 406_290_432,
}  # fmt: skip


@pytest.fixture(scope="module")
def models(golden_path):
    folders = sorted(path.parent for path in golden_path.glob("*/config.json"))
    names = ("tiny", "tiny-encoder", "tiny-translator", "random:layers=3", *map(str, folders))
    return [session.load(name) for name in names]


# --- parameters ----------------------------------------------------------------------------------


def test_presets_have_the_published_totals():
    assert {name: cost(preset(name)).parameters for name in presets.names()} == PUBLISHED
    for name in presets.names():
        assert preset(name).facts.source and not preset(name).unknown


def test_parts_sum_to_the_parameters_of_every_family(models):
    for model in models:
        found = cost(model)
        assert found.parameters == model.facts.parameters
        assert sum(part.parameters for part in found.parts) == found.parameters
        rows = [(part.part, part.stack, part.kind, part.layers > 0) for part in found.parts]
        assert len(rows) == len({*rows})
        assert not model.facts.encoder or rows.count(("norms", "encoder", "self", False)) == 0
        for part in found.parts:
            assert part.per_layer * part.layers >= part.parameters * bool(part.layers)


def test_gpt3_is_the_well_known_picture():
    found = cost(preset("gpt3"))
    parts = {part.part: part for part in found.parts if part.layers or part.part == "embedding"}
    assert parts["embedding"].parameters == 50_257 * 12_288 == 617_558_016
    for name in ("query", "key", "value", "attention_output"):
        assert parts[name].per_head == 12_288 * 128
        assert parts[name].parameters == 96 * 96 * 12_288 * 128 == 14_495_514_624
    assert parts["feed_forward"].parameters == 2 * 57_982_058_496
    (one,) = found.attentions
    assert (one.layers, one.heads, one.head_width) == (96, 96, 128)


def test_the_sizes_of_heads_are_those_of_a_trace(models):
    """Widths and counts of every block against the arrays that a pass records."""
    for model in models:
        target = {"target_ids": [1, 2]} if model.facts.encoder else {}
        kinds = {"stack": "all", "kind": "all"}
        trace = session.trace(model=model, ids=[3, 4, 5], next=False, **kinds, **target)
        found = {}
        for block in trace.attention:
            heads, _, width = block.q.shape
            key = block.stack, block.kind, heads, len(block.k), width
            found[key] = found.get(key, 0) + 1
        mine = {}
        for one in cost(model).attentions:
            key = one.stack, one.kind, one.heads, one.kv_heads, one.head_width
            mine[key] = mine.get(key, 0) + one.layers
        assert mine == found, model.facts.name


def test_every_projection_has_the_size_of_its_heads(models):
    for model in models:
        found, width = cost(model), model.facts.model_width
        for one in found.attentions:
            for part in found.parts:
                if (part.stack, part.kind) == (one.stack, one.kind) and part.per_head:
                    heads = one.kv_heads if part.part in ("key", "value") else one.heads
                    assert part.per_head == width * one.head_width
                    shape = width, heads * one.head_width
                    last = part.part == "attention_output"
                    assert part.shapes == (shape[::-1] if last else shape,)


# --- cells, cache and operations -----------------------------------------------------------------


def mask_of(one, tokens):
    at, both = np.arange(tokens), one.stack == "encoder"
    if one.window:
        return masks.window(at, at, one.window, both_sides=both)
    return np.ones((tokens, tokens), bool) if both else masks.causal(at, at)


@pytest.mark.parametrize("stack", ["decoder", "encoder"])
@pytest.mark.parametrize("window", [0, 1, 3, 20])
def test_cells_are_those_of_the_masks(stack, window):
    one = Attentions(stack, "self", 1, 1, 1, 1, window)
    for tokens in (1, 2, 3, 7, 12):
        mask = mask_of(one, tokens)
        assert one.visible(tokens) == mask.sum()
        # In the middle of a text that is long enough a query sees as many as any can.
        assert one.keys(tokens) >= mask.sum(axis=1).max()
        assert not window or one.keys(9 * window) == mask_of(one, 9 * window).sum(axis=1).max()


def test_numbers_in_matrices_and_cache_are_those_of_a_trace(golden_path):
    for name in ("tiny", "tiny-translator", str(golden_path / "llama-plain"),
                 str(golden_path / "qwen3-yarn")):  # fmt: skip
        model = session.load(name)
        target = {"target_ids": [1, 2, 3, 4, 5]} if model.facts.encoder else {}
        trace = session.trace(
            model=model, ids=[3, 4, 5, 6, 7], next=False, stack="all", kind="all", **target
        )
        (row,) = cost(model, [5]).contexts
        assert row.mask == 25
        assert row.weights == sum(block.weights.size for block in trace.attention)
        own = [block for block in trace.attention if block.stack == "decoder"]
        assert row.cache == sum(block.k.size + block.v.size for block in own)
        assert (row.weights_float32, row.cache_float32) == (4 * row.weights, 4 * row.cache)
        assert (row.weights_bfloat16, row.cache_bfloat16) == (2 * row.weights, 2 * row.cache)
        # Each score is a product of head_width pairs, each z one of as many keys.
        pairs = sum(
            block.scores.size * block.q.shape[-1] + block.z.size * block.k.shape[1]
            for block in trace.attention
        )
        assert row.attention == 2 * pairs


def test_an_encoder_keeps_no_cache():
    assert all(row.cache == 0 for row in cost(session.load("tiny-encoder")).contexts)


def test_a_windowed_cache_ends_at_the_window():
    rows = cost(preset("mistral-7b"), [4095, 4096, 100_000]).contexts
    assert [row.cache // (2 * 32 * 8 * 128) for row in rows] == [4095, 4096, 4096]


def test_what_a_token_is_multiplied_with_by_hand():
    width, inner, vocabulary = 32, 128, 995
    found = cost(session.load("tiny"))
    assert found.output_matrix == vocabulary * width
    assert found.multiplied == 2 * (4 * width**2 + 2 * width * inner) + vocabulary * width
    llama = cost(preset("llama3-8b"))
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    assert llama.multiplied == 32 * layer + 128_256 * 4096
    assert llama.contexts[-1].others == 2 * 8192 * llama.multiplied


def test_layers_that_share_their_tensors_are_multiplied_with_each(golden_path):
    model = session.load(str(golden_path / "albert"))
    found, config = cost(model), model.config
    width, inner, narrow = config.model_width, config.inner_width, config.embedding_width
    layer = 4 * width**2 + 2 * width * inner
    outside = 2 * width * narrow + config.vocabulary * narrow
    assert found.multiplied == config.layers * layer + outside
    assert config.groups < config.layers


@pytest.mark.parametrize("name", ["gpt2", "gpt3", "gemma2-2b", "gemma3-1b", "t5-small"])
def test_attention_overtakes_there_and_not_before(name):
    model = preset(name)
    tokens = cost(model).overtakes
    before, there = cost(model, [tokens - 1, tokens]).contexts
    assert before.attention < before.others and there.attention >= there.others
    assert before.share < 0.5 <= there.share


def test_a_window_in_every_layer_can_keep_attention_below_for_ever():
    found = cost(preset("mistral-7b"), [1_000_000])
    assert found.overtakes == 0 and found.contexts[0].share < 0.5


# --- latents and mixtures ------------------------------------------------------------------------

LATENT = ("deepseek-v2-a", "deepseek-v2-b", "deepseek-v3-a", "deepseek-v3-b", "minicpm3-a",
          "minicpm3-b")  # fmt: skip


@pytest.mark.parametrize("name", [*LATENT, "qwen2_moe-b", "gpt_oss-a", "granitemoe-a"])
def test_a_mixtures_or_latents_count_is_that_of_the_tensors_in_its_file(name, tmp_path):
    found, config = cost(session.load(str(made_folder(tmp_path, name)))), document(name)["config"]
    shapes = document(name)["tensors"]
    assert found.parameters == sum(int(np.prod(shape)) for shape in shapes.values())
    keys = ("n_routed_experts", "num_local_experts", "num_experts")
    count = next((config[key] for key in keys if config.get(key)), 1)
    used = config["num_experts_per_tok"] if count > 1 else 1
    met = 0
    for tensor, shape in shapes.items():
        experts = re.search(r"\.experts\.|\.block_sparse_moe\.(in|out)put_linear\.", tensor)
        if "embed_tokens" not in tensor and len(shape) > 1 and "bias" not in tensor:
            met += int(np.prod(shape)) * (used if experts else count)
    tied = int(np.prod(shapes["model.embed_tokens.weight"])) * ("lm_head.weight" not in shapes)
    assert found.multiplied * count == met + tied * count


@pytest.mark.parametrize("name", LATENT)
def test_what_is_kept_of_latents_is_what_a_trace_makes_keys_and_values_of(name, tmp_path):
    model = session.load(str(made_folder(tmp_path, name)))
    trace = session.trace(model=model, ids=[3, 4, 5, 6], arrays=["kv_latent", "k", "v", "q", "z"])
    (row,) = cost(model, [4]).contexts
    rotated = document(name)["config"]["qk_rope_head_dim"]
    blocks = trace.attention
    assert row.latents == sum(block.kv_latent.size + 4 * rotated for block in blocks)
    shared = [block.k[:, :, -rotated:] for block in blocks]
    assert all((part == part[:1]).all() for part in shared)
    assert row.cache == sum(block.k.size + block.v.size for block in blocks)
    pairs = sum(4 * (block.q.size + block.z.size) for block in blocks)
    assert row.attention == 2 * pairs


# Totals, activated parameters and numbers kept of a token, as the papers and model pages say them.
PAPERS = {
    "deepseek-ai/DeepSeek-V2-Lite": (15.7e9, 2.4e9, 27 * 576),
    "deepseek-ai/DeepSeek-V2, unchecked": (236e9, 21e9, 34_560),
    "openbmb/MiniCPM3-4B": (4.07e9, 4.07e9, 62 * 288),
}


@pytest.mark.parametrize("name", PAPERS)
def test_published_latent_models_cost_what_their_papers_say(name, golden_path, monkeypatch):
    configs = json.loads((golden_path / "published_types" / "latent.json").read_text())
    monkeypatch.setattr(presets, "find", lambda asked: ("", configs[asked]))
    found = cost(preset(name), [1])
    total, active, kept = PAPERS[name]
    assert found.parameters == pytest.approx(total, rel=0.004)
    assert found.multiplied == pytest.approx(active, rel=0.03)
    assert found.contexts[0].latents == kept


# --- how it is asked -----------------------------------------------------------------------------


def test_no_weight_is_read(spied, tiny_folder):
    model, spy = spied(tiny_folder)
    assert cost(model).parameters == model.facts.parameters
    assert spy.rows_read() == {}


def test_the_usual_lengths_double_up_to_the_context():
    facts = session.load("tiny").facts
    assert usual(facts) == (8, 16, 32, 64, 128, 256)
    assert usual(preset("bloom-7b1").facts)[-1] == 2048


def test_a_length_whose_operations_no_document_holds_is_refused():
    model = preset("gpt3")
    with pytest.raises(UsageError) as refused:
        cost(model, [10_000_000])
    most = int(refused.value.hint.rpartition(" ")[2])
    (row,) = cost(model, [most]).contexts
    assert row.attention < 2**63
    with pytest.raises(UsageError):
        cost(model, [most + 1])
    with pytest.raises(UsageError):
        cost(model, [0])
