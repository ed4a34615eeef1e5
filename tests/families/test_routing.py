"""Which experts each mixture chooses, and their shares, worked out token by token in float64.

They start from the reference's own arrays: what enters a layer, and what attention gives.
"""

import numpy as np
import pytest
from made_folders import TYPES, document, weights_of, write_model

from attn_cli import session

NAMES = [
    f"{kind}-{letter}"
    for kind in ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "phimoe")
    for letter in "ab"
]
ROUTERS = ("mlp.gate", "block_sparse_moe.gate", "block_sparse_moe.router.layer", "mlp.router",
           "block_sparse_moe.router")  # fmt: skip


def powers(scores):
    found = np.exp(scores - scores.max())
    return found / found.sum()


def likeliest(scores, used, *, normalised):
    """The softmax over all, then the best, which may be brought to a sum of 1."""
    likely = powers(scores)
    chosen = sorted(range(len(scores)), key=lambda expert: -likely[expert])[:used]
    shares = likely[chosen]
    return chosen, shares / shares.sum() if normalised else shares


def sparse_mixer(scores, noise):
    """The best, then the best of the others, each among those that are near to it."""
    left, chosen, shares = scores.copy(), [], []
    for _ in range(2):
        best = int(np.argmax(left))
        near = [(left[best] - s) / max(abs(s), left[best]) <= 2 * noise for s in scores]
        inside = np.where(near, left, -np.inf)
        chosen.append(best)
        shares.append(powers(inside)[best])
        left[best] = -np.inf
    return chosen, np.array(shares)


def routed(kind, config, scores):
    used = config["num_experts_per_tok"]
    if kind == "phimoe":
        return sparse_mixer(scores, config["router_jitter_noise"])
    if kind == "granitemoe":
        chosen = sorted(range(len(scores)), key=lambda expert: -scores[expert])[:used]
        return chosen, powers(scores[chosen])
    normalised = kind == "mixtral" or config["norm_topk_prob"]
    return likeliest(scores, used, normalised=normalised)


@pytest.mark.parametrize("name", NAMES)
def test_the_router_sends_each_token_where_the_reference_does(name, tmp_path):
    found = document(name)
    config, kind = found["config"], name[:-2]
    tensors = weights_of(found)
    write_model(tmp_path, config, tensors)
    trace = session.trace(ids=found["ids"], model=str(tmp_path), arrays=("x",))
    w = {key: array.astype(np.float64) for key, array in tensors.items()}
    with np.load(TYPES / f"{name}.npz") as wanted:
        layers = [layer for layer in range(config["num_hidden_layers"])
                  if router(w, layer)]  # fmt: skip
        assert [of.layer for of in trace.experts] == layers != []
        for of in trace.experts:
            x, output = (wanted[f"{of.layer}.{n}"].astype(np.float64) for n in ("x", "output"))
            read = x + output * config.get("residual_multiplier", 1.0)
            scores = normed(kind, config, w, of.layer, read) @ w[router(w, of.layer)].T
            assert of.count == scores.shape[1]
            for row, chosen, shares in zip(scores, of.chosen, of.shares, strict=True):
                experts, parts = routed(kind, config, row)
                assert chosen.tolist() == experts
                assert shares == pytest.approx(parts, abs=1e-5)


def router(w, layer):
    names = (f"model.layers.{layer}.{name}.weight" for name in ROUTERS)
    return next((name for name in names if name in w), "")


def normed(kind, config, w, layer, x):
    name = f"model.layers.{layer}.post_attention_layernorm"
    if kind == "phimoe":
        x = x - x.mean(axis=1, keepdims=True)
    root = np.sqrt((x**2).mean(axis=1, keepdims=True) + config["rms_norm_eps"])
    return x / root * w[f"{name}.weight"] + w.get(f"{name}.bias", 0)
