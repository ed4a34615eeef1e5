"""Makes composites.json: what the reference's classes have where a model for pictures says nothing.

Run by hand where torch and transformers are installed; no test runs this:

    python tests/golden/make_composites.py

`types`: for each type the type of its text, the ids that stand for pictures or for where one begins
or ends, and whether the output matrix is tied, where the outer key is absent, false, true and in
each case that of the text is absent, false, true. `texts`: for the type of a text, the default of
each key that decides a number. Origin and licence: the classes of transformers; Apache-2.0.
"""

import itertools
import json
from pathlib import Path

import transformers
from transformers import CONFIG_MAPPING
from versions import record_versions

OUT = Path(__file__).resolve().parent / "composites.json"
TYPES = (
    "gemma3", "idefics3", "internvl", "llava", "llava_next", "llava_onevision", "mistral3",
    "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "smolvlm",
)  # fmt: skip
TEXTS = ("llama", "mistral", "qwen2", "qwen3", "qwen2_vl_text", "qwen3_vl_text")
KEYS = (
    "attention_bias", "head_dim", "hidden_act", "hidden_size", "intermediate_size",
    "max_position_embeddings", "max_window_layers", "num_attention_heads", "num_hidden_layers",
    "num_key_value_heads", "rms_norm_eps", "sliding_window", "use_sliding_window", "vocab_size",
)  # fmt: skip
_TIED = "tie_word_embeddings"
_OF_TEXT = ("bos", "eos", "pad", "sep", "decoder")


def of_type(kind: str) -> dict:
    config = CONFIG_MAPPING[kind]
    said = ({}, {_TIED: False}, {_TIED: True})
    ties = [
        config(**outer, text_config={"hidden_size": 8, "num_attention_heads": 2, **text})
        for outer, text in itertools.product(said, repeat=2)
    ]
    reserved = {
        key: value
        for key, value in config.default_config_fields().items()
        if key.endswith(("_token_id", "_token_index")) and not key.startswith(_OF_TEXT)
    }
    return {
        "text": config().text_config.model_type,
        "reserved": reserved,
        "ties": "".join(str(int(bool(found.tie_word_embeddings))) for found in ties),
    }


def of_text(kind: str) -> dict:
    config = CONFIG_MAPPING[kind]
    fields, made = config.default_config_fields(), config()
    found = {key: fields[key] for key in KEYS if key in fields}
    return found | {"rope_theta": made.rope_parameters["rope_theta"]}


def main() -> None:
    transformers.logging.set_verbosity_error()
    document = {
        "types": {kind: of_type(kind) for kind in TYPES},
        "texts": {kind: of_text(kind) for kind in TEXTS},
    }
    OUT.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    record_versions("composites")


if __name__ == "__main__":
    main()
