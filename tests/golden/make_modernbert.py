"""Makes the reference activations of ModernBERT with torch and transformers.

Run by hand in an environment that has both; no test runs this, no test needs torch:

    python tests/golden/make_modernbert.py [NAME ...]

It writes, beside itself, a folder for each entry of `MODELS` (or for the named ones), as
`make_decoders.py` does, whose functions it uses: what an archive holds is said there. The versions
join those in `versions.json`, under `modernbert`.

Origin and licence: models, prompts and numbers are made here by this script; Apache-2.0.
"""

import sys
from pathlib import Path

import make_decoders
import numpy as np
import transformers
from make_llama import randomise
from versions import record_versions

HERE = Path(__file__).resolve().parent
MODELS = {
    # Layers 0 and 3 see everything; in the others a query sees two keys on either side.
    "modernbert-windows": {
        "seed": 66, "tokens": 11,
        "config": {
            "num_hidden_layers": 4, "num_attention_heads": 3, "hidden_size": 18,
            "intermediate_size": 13, "vocab_size": 41, "max_position_embeddings": 29,
            "norm_eps": 3e-3, "local_attention": 5,
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 97.0},
                "sliding_attention": {"rope_type": "linear", "factor": 2.5, "rope_theta": 11.0},
            },
        },
    },
    "modernbert-biased": {
        "seed": 62, "tokens": 13,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 5, "hidden_size": 20,
            "intermediate_size": 17, "vocab_size": 37, "max_position_embeddings": 23,
            "norm_eps": 1e-5, "local_attention": 6, "norm_bias": True, "attention_bias": True,
            "mlp_bias": True, "classifier_bias": True, "decoder_bias": False,
            "tie_word_embeddings": False, "hidden_activation": "silu",
            "classifier_activation": "relu",
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 47.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 13.0},
            },
        },
    },
}  # fmt: skip
make_decoders.PARTS["ModernBert"] = ("model.layers", "attn_norm", "attn", "Wo", "mlp.Wo")


def make(name: str, seed: int, tokens: int, config: dict) -> None:
    rng = np.random.default_rng(seed)
    ids = ("bos", "eos", "pad", "cls", "sep")
    full = transformers.ModernBertConfig(
        attn_implementation="eager", **{f"{id}_token_id": 0 for id in ids}, **config
    )
    model = transformers.ModernBertForMaskedLM(full).eval()
    randomise(model, rng)
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    arrays = make_decoders.activations(
        model, "ModernBert", rng.integers(0, full.vocab_size, tokens).tolist()
    )
    # In layer 0 the norm does nothing, and is none.
    assert np.array_equal(arrays["0.normed"], arrays["0.x"])
    del arrays["0.normed"]
    np.savez_compressed(folder / "activations.npz", **arrays)


def main() -> None:
    for name in sys.argv[1:] or MODELS:
        make(name, **MODELS[name])
    record_versions("modernbert")


if __name__ == "__main__":
    main()
