"""Every what-if against a forward pass written out in plain numpy, in float64, for three ways in
which positions enter: vectors added (GPT-2), rotation (Llama), a bias on the scores (Bloom)."""

import json
from pathlib import Path

import numpy as np
import pytest

import attn_cli
from attn_cli import session, vocabulary
from attn_cli.analysis.sample import Sampling, draw, sample, stages_of
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import UsageError
from attn_cli.model.cache import Cache
from measure import logits_of, next_logits_of, row_error

MODELS = ("tiny", "llama-plain", "bloom")
IDS = (3, 1, 4, 1, 5, 9, 2)
N = len(IDS)
TOLERANCE = 2e-5
Q, K = np.arange(N)[:, None], np.arange(N)[None, :]
CAUSAL = K <= Q


# --- written out ---------------------------------------------------------------------------------


def softmax(rows):
    top = rows.max(axis=-1, keepdims=True)
    powers = np.exp(rows - np.where(np.isneginf(top), 0, top))
    total = powers.sum(axis=-1, keepdims=True)
    return powers / np.where(total == 0, 1, total)


def layer_norm(x, weight, bias, epsilon):
    spread = np.sqrt(x.var(axis=-1, keepdims=True) + epsilon)
    return (x - x.mean(axis=-1, keepdims=True)) / spread * weight + bias


def rms_norm(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon) * weight


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def rotate(x, angle):
    first, second = np.split(x, 2, axis=-1)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1)


class Written:
    """One model, read from its files; `logits` of a text under changes that are spelt out."""

    def __init__(self, folder):
        stored = open_safetensors(folder / "model.safetensors")
        self.at = {
            name.removeprefix("transformer.").removeprefix("model."): t.read().astype(np.float64)
            for name, t in stored.items()
        }
        self.config = json.loads((folder / "config.json").read_text())
        self.kind = self.config["model_type"]

    def logits(
        self, ids, *, visible=None, value=-np.inf, positions=True, skip=0, scale=True, mlp=(),
        heads=(), temperature=1.0,
    ):  # fmt: skip
        count = len(ids)
        self.visible = np.tri(count, dtype=bool) if visible is None else visible
        self.value, self.temperature, self.scale = value, temperature, scale
        self.heads, self.mlp = heads, mlp
        self.place = np.maximum(0, np.arange(count) - skip)
        self.placed = positions
        x = getattr(self, self.kind)(ids)
        return x @ self.at[{"gpt2": "wte", "llama": "embed_tokens"}.get(
            self.kind, "word_embeddings") + ".weight"].T  # fmt: skip

    def attend(self, layer, q, k, v, bias=0.0):
        """q (head, query, width), k and v (kv_head, key, width) to z (query, heads × width)."""
        group = len(q) // len(k)
        z = []
        for head in range(len(q)):
            scores = q[head] @ k[head // group].T
            scaled = scores * (q.shape[-1] ** -0.5 if self.scale else 1)
            scaled = scaled + (bias if np.isscalar(bias) else bias[head])
            masked = np.where(self.visible, scaled, self.value)
            weights = softmax(masked / self.temperature)
            z.append(weights @ v[head // group] * ((layer, head) not in self.heads))
        return np.concatenate(z, axis=-1)

    def added(self, layer, inner):
        return inner * (layer not in self.mlp)

    def gpt2(self, ids):
        at, heads = self.at, self.config["n_head"]
        epsilon = self.config["layer_norm_epsilon"]
        x = at["wte.weight"][list(ids)] + at["wpe.weight"][self.place] * self.placed
        for n in range(self.config["n_layer"]):
            part = {k.removeprefix(f"h.{n}."): v for k, v in at.items() if k.startswith(f"h.{n}.")}
            normed = layer_norm(x, part["ln_1.weight"], part["ln_1.bias"], epsilon)
            qkv = normed @ part["attn.c_attn.weight"] + part["attn.c_attn.bias"]
            q, k, v = (self.split(a, heads) for a in np.split(qkv, 3, axis=-1))
            z = self.attend(n, q, k, v)
            x = x + z @ part["attn.c_proj.weight"] + part["attn.c_proj.bias"]
            normed = layer_norm(x, part["ln_2.weight"], part["ln_2.bias"], epsilon)
            inner = gelu(normed @ part["mlp.c_fc.weight"] + part["mlp.c_fc.bias"])
            x = x + self.added(n, inner @ part["mlp.c_proj.weight"] + part["mlp.c_proj.bias"])
        return layer_norm(x, at["ln_f.weight"], at["ln_f.bias"], epsilon)

    def llama(self, ids):
        at, config, epsilon = self.at, self.config, self.config["rms_norm_eps"]
        half = config["head_dim"] // 2
        turns = config["rope_parameters"]["rope_theta"] ** (-np.arange(half) / half)
        angle = self.place[:, None] * turns * self.placed
        x = at["embed_tokens.weight"][list(ids)]
        for n in range(config["num_hidden_layers"]):
            part = {
                k.removeprefix(f"layers.{n}."): v
                for k, v in at.items() if k.startswith(f"layers.{n}.")
            }  # fmt: skip
            normed = rms_norm(x, part["input_layernorm.weight"], epsilon)
            q, k, v = (
                self.split(normed @ part[f"self_attn.{p}_proj.weight"].T, config[count])
                for p, count in (("q", "num_attention_heads"), ("k", "num_key_value_heads"),
                                 ("v", "num_key_value_heads"))
            )  # fmt: skip
            z = self.attend(n, rotate(q, angle), rotate(k, angle), v)
            x = x + z @ part["self_attn.o_proj.weight"].T
            normed = rms_norm(x, part["post_attention_layernorm.weight"], epsilon)
            gate = normed @ part["mlp.gate_proj.weight"].T
            inner = gate / (1 + np.exp(-gate)) * (normed @ part["mlp.up_proj.weight"].T)
            x = x + self.added(n, inner @ part["mlp.down_proj.weight"].T)
        return rms_norm(x, at["norm.weight"], epsilon)

    def bloom(self, ids):
        at, heads = self.at, self.config["n_head"]
        epsilon = self.config["layer_norm_epsilon"]

        def norm(name, x, parts):
            return layer_norm(x, parts[f"{name}.weight"], parts[f"{name}.bias"], epsilon)

        # Of 5 heads four have powers of 2^−2, and the fifth the first odd power of 2^−1.
        slopes = np.array([2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1])
        bias = slopes[:, None, None] * self.place[None, None, :] * self.placed
        x = norm("word_embeddings_layernorm", at["word_embeddings.weight"][list(ids)], at)
        for n in range(self.config["n_layer"]):
            part = {k.removeprefix(f"h.{n}."): v for k, v in at.items() if k.startswith(f"h.{n}.")}
            fused = norm("input_layernorm", x, part)
            fused = fused @ part["self_attention.query_key_value.weight"].T
            fused = fused + part["self_attention.query_key_value.bias"]
            q, k, v = fused.reshape(len(ids), heads, 3, -1).transpose(2, 1, 0, 3)
            z = self.attend(n, q, k, v, bias)
            dense = part["self_attention.dense.weight"].T, part["self_attention.dense.bias"]
            x = x + z @ dense[0] + dense[1]
            normed = norm("post_attention_layernorm", x, part)
            inner = gelu(
                normed @ part["mlp.dense_h_to_4h.weight"].T + part["mlp.dense_h_to_4h.bias"]
            )
            inner = inner @ part["mlp.dense_4h_to_h.weight"].T + part["mlp.dense_4h_to_h.bias"]
            x = x + self.added(n, inner)
        return norm("ln_f", x, at)

    @staticmethod
    def split(x, heads):
        return x.reshape(len(x), heads, -1).swapaxes(0, 1)


@pytest.fixture(scope="module")
def both(golden_path):
    """A model as the package opens it, and written out."""

    def opened(name):
        folder = Path(attn_cli.__file__).parent / "data" / "tiny"
        folder = folder if name == "tiny" else golden_path / name
        return session.load(str(folder)), Written(folder)

    return opened


# --- what each setting changes -------------------------------------------------------------------

CASES = {
    "nothing": ({}, {}),
    "positions": ({"without": ["positions"]}, {"positions": False}),
    "scale": ({"without": ["scale"]}, {"scale": False}),
    "a feed-forward": ({"without": ["mlp:1"]}, {"mlp": {1}}),
    "feed-forwards": ({"without": ["mlp:0-1"]}, {"mlp": {0, 1}}),
    "all three": (
        {"without": ["positions", "scale,mlp:-1"]},
        {"positions": False, "scale": False, "mlp": {-1}},
    ),
    "mask value": ({"mask_value": 0.0}, {"value": 0.0}),
    "mask value, window": (
        {"mask_value": -1.5, "mask": ["window:2"]},
        {"value": -1.5, "visible": CAUSAL & (Q - K < 2)},
    ),
    "mask value, temperature": (
        {"mask_value": 0.5, "attention_temperature": 2.0}, {"value": 0.5, "temperature": 2.0},
    ),
    "sinks": (
        {"mask": ["window:2", "sinks:2"]}, {"visible": CAUSAL & ((Q - K < 2) | (K < 2))},
    ),
    "sinks, but one cell": (
        {"mask": ["block:6:0", "sinks:1", "window:3"]},
        {"visible": CAUSAL & ((Q - K < 3) | (K < 1)) & ~((Q == 6) & (K == 0))},
    ),
    "left": ({"mask": ["padding-left:2"]}, {"visible": CAUSAL & (K >= 2), "skip": 2}),
    "left, right": (
        {"mask": ["padding-left:1", "padding:2"]},
        {"visible": CAUSAL & (K >= 1) & (K < N - 2), "skip": 1},
    ),
    "left, no mask": (
        {"mask": ["none", "padding-left:3"]}, {"visible": (K >= 3) & (Q >= 0), "skip": 3},
    ),
    "heads": ({"without_head": ["0.all", "1.1"]}, {"heads": "all of 0, and 1.1"}),
}  # fmt: skip


def written(name, of, facts):
    """What the oracle is told: the last layer by its number, all heads one by one."""
    changes = dict(CASES[name][1])
    if -1 in changes.get("mlp", ()):
        changes["mlp"] = {facts.layers - 1}
    if "heads" in changes:
        changes["heads"] = {(0, head) for head in range(facts.heads)} | {(1, 1)}
    return of.logits(IDS, **changes)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", MODELS)
def test_a_changed_pass_is_the_one_written_out(both, name, case):
    model, of = both(name)
    prompt = session.tokenise(model, ids=IDS)
    found = logits_of(model, IDS, session.what_if(model, prompt, **CASES[case][0]))
    wanted = written(case, of, model.facts)
    # What sees nothing is no prediction of anything, but has to be the same all the same.
    assert row_error(found, wanted) < TOLERANCE
    if case != "nothing":
        assert row_error(found, of.logits(IDS)) > 100 * TOLERANCE


@pytest.mark.parametrize("name", [*MODELS, "opt-before", "mistral-window", "gemma3", "gpt2-b"])
def test_left_padding_leaves_the_others_what_they_are_without_it(both, golden_path, name):
    model = both(name)[0] if name in MODELS else session.load(str(golden_path / name))
    prompt = session.tokenise(model, ids=IDS)
    for count in (1, 3):
        changes = session.what_if(model, prompt, mask=[f"padding-left:{count}"])
        found, wanted = logits_of(model, IDS, changes), logits_of(model, IDS[count:])
        assert row_error(found[count:], wanted) < TOLERANCE


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", MODELS)
def test_tokens_that_follow_one_by_one_meet_the_same_changes(both, name, case):
    """The numbers of a mask are of the prompt; what comes after it goes on as the words say."""
    model, _ = both(name)
    prompt = session.tokenise(model, ids=IDS)
    changes, later = session.what_if(model, prompt, **CASES[case][0]), (7, 2, 11)
    assert changes.looks_ahead == (case == "left, no mask" or "value" in CASES[case][1])
    if changes.looks_ahead:
        return  # what comes later changes what came before: no cache can hold that
    whole, cache = logits_of(model, IDS + later, changes), Cache()
    assert row_error(next_logits_of(model, IDS, cache, changes), whole[N - 1]) < TOLERANCE
    for place, id in enumerate(later, N):
        assert row_error(next_logits_of(model, (id,), cache, changes), whole[place]) < TOLERANCE


def test_a_mask_file_is_of_the_prompt_and_what_follows_sees_all_before_it(both, tmp_path):
    model, of = both("llama-plain")
    rows = CAUSAL & ((Q + 2 * K) % 3 > 0)
    path = tmp_path / "mask.txt"
    path.write_text("\n".join(" ".join(str(int(cell)) for cell in row) for row in rows))
    changes = session.what_if(model, session.tokenise(model, ids=IDS), mask=[str(path)])
    longer = np.tri(N + 2, dtype=bool)
    longer[:N, :N] = rows
    found, cache = [], Cache()
    for ids in (IDS, (7,), (2,)):
        found.append(next_logits_of(model, ids, cache, changes))
    wanted = of.logits((*IDS, 7, 2), visible=longer)[N - 1 :]
    assert row_error(np.stack(found), wanted) < TOLERANCE


@pytest.mark.parametrize(
    "case", ["sinks", "left", "left, right", "left, no mask", "scale", "mask value", "heads"]
)
def test_sampling_draws_what_whole_passes_draw(both, case):
    model, _ = both("tiny")
    prompt = session.tokenise(model, ids=IDS)
    changes = session.what_if(model, prompt, **CASES[case][0])
    found = sample(model, prompt, Sampling(), seed=5, max_tokens=4, changes=changes)
    assert found.provenance == "what-if"
    rng, ids = np.random.default_rng(5), IDS
    for token in found.drawn:
        *_, shares = stages_of(logits_of(model, ids, changes)[-1], Sampling())
        assert token.id == draw(shares, 1, rng)[0]
        assert token.probability == pytest.approx(shares[token.id], abs=1e-5)
        ids = (*ids, token.id)


# --- what they are called ------------------------------------------------------------------------

FIRST = {
    "positions": {"tiny": "position_embedding", "llama-plain": "q", "bloom": "scaled"},
    "left": {"tiny": "position_embedding", "llama-plain": "q", "bloom": "scaled"},
    "scale": "scaled", "mask value": "masked", "sinks": "visible", "heads": "head_output",
    "feed-forwards": "mlp_output",
}  # fmt: skip


@pytest.mark.parametrize("case", FIRST)
@pytest.mark.parametrize("name", MODELS)
def test_arrays_are_what_if_from_the_first_one_that_is_touched(both, name, case):
    model, _ = both(name)
    plain = session.trace(ids=IDS, model=model, arrays=vocabulary.ARRAYS)
    found = session.trace(ids=IDS, model=model, arrays=vocabulary.ARRAYS, **CASES[case][0])
    first = FIRST[case] if isinstance(FIRST[case], str) else FIRST[case][name]
    block, before = found.block(0), plain.block(0)
    assert block.what_if == vocabulary.arrays_from(first) & set(block.arrays)
    assert found.block(1).what_if >= {"x", "q", "weights", "output", "mlp_output"}
    for array in set(block.arrays) - block.what_if:
        assert np.array_equal(block.arrays[array], before.arrays[array]), array
    assert found.next[0].provenance == "what-if"


def test_without_positions_there_is_no_bias_and_no_angle(both):
    for name, array in (("bloom", "bias"), ("tiny", "position_embedding")):
        model, _ = both(name)
        block = session.trace(ids=IDS, model=model, without=["positions"]).block(0)
        assert not np.any(block.arrays.get(array, 0))
    model, _ = both("llama-plain")
    block = session.trace(ids=IDS, model=model, without=["positions"]).block(0)
    assert np.array_equal(block.q, block.q_unrotated)


def test_without_scale_the_scale_is_1(both):
    block = session.trace(ids=IDS, model=both("tiny")[0], without=["scale"]).block(0)
    assert block.scale == 1
    assert np.array_equal(block.scaled, block.scores)


# --- what is refused, and what has no effect -----------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"without": ["foo"]}, "--without 'foo' is unknown"),
        ({"without": ["mlp:9"]}, "--without mlp: layer 9 is out of range"),
        ({"without": ["mlp:"]}, "--without mlp: layer"),
        ({"without": ["mlp"]}, "--without 'mlp' is unknown"),
        ({"mask": ["window:0"]}, "--mask window:0 is out of range"),
        ({"mask": ["window:2", "none"]}, "two base masks: window:2 and none"),
        ({"mask": ["sinks:-1"]}, "--mask sinks:-1 is out of range"),
        ({"mask": ["sinks:0", "window:2"]}, "--mask sinks:0 is out of range"),
        ({"mask": ["sinks:8"]}, "--mask sinks:8: 8 is out of range for this prompt of 7 tokens"),
        ({"mask": ["padding-left:8"]}, "--mask padding-left:8: 8 is out of range"),
        ({"mask_value": float("nan")}, "mask value nan is out of range"),
        ({"without_head": ["0.0-9"]}, "--without-head: head 9 is out of range"),
    ],
)
def test_errors_name_what_was_given(both, given, said):
    with pytest.raises(UsageError) as refused:
        session.trace(ids=IDS, model=both("tiny")[0], **given)
    assert said in refused.value.message


def test_window_0_says_that_it_begins_at_1(both):
    with pytest.raises(UsageError) as refused:
        session.trace(ids=IDS, model=both("tiny")[0], mask=["window:0"])
    assert refused.value.hint == "window:N, from 1"


IDLE = [
    (["sinks:1"], "--mask sinks:1 has no effect: there is no window"),
    (["none", "sinks:1"], "--mask sinks:1 has no effect: there is no window"),
    (["causal"], "--mask causal changes nothing that is shown here"),
    (["padding:0"], "--mask padding:0 changes nothing that is shown here"),
    (["window:2", "sinks:1"], ""),
    (["window:2"], ""),
    ([], ""),
]


@pytest.mark.parametrize(("mask", "said"), IDLE)
def test_what_has_no_effect_is_noted(both, mask, said):
    notes = " | ".join(map(str, session.trace(ids=IDS, model=both("tiny")[0], mask=mask).notes))
    assert (said in notes) if said else ("effect" not in notes and "changes nothing" not in notes)


def test_a_models_own_window_can_be_opened(golden_path):
    model = session.load(str(golden_path / "mistral-window"))
    ids = tuple(range(1, 15))
    plain, opened = (session.trace(ids=ids, model=model, mask=m) for m in ([], ["sinks:1"]))
    assert not plain.block(0).visible[-1, 0] and opened.block(0).visible[-1, 0]
    assert not any("sinks:1" in str(note) for note in opened.notes)


def test_tokens_are_named_in_a_block_and_heads_in_lists(both):
    text = vocabulary.SAMPLE_PROMPT
    by_name, by_place = (
        session.trace(text, model="tiny", mask=[word]) for word in ("block:is:China", "block:5:4")
    )
    assert np.array_equal(by_name.logits, by_place.logits)
    for short, long in (("0.0,2", ["0.0", "0.2"]), ("1.1-2", ["1.1", "1.2"]),
                        ("1.all", [f"1.{head}" for head in range(4)])):  # fmt: skip
        one = session.trace(text, model="tiny", without_head=[short])
        assert np.array_equal(
            one.logits, session.trace(text, model="tiny", without_head=long).logits
        )
