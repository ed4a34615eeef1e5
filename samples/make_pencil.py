"""Writes `pencil`: a model of three words whose every step can be done on paper.

`python samples/make_pencil.py FOLDER` writes the folder that `--model pencil` opens, with the same
bytes every time. Run it where attn is installed.

The numbers are chosen so that `dogs chase cats` has a reason at every step. An animal's query
matches its own key and no other; the query of `chase` is zero, so that it looks at all it may see
alike. W_V times W_O exchanges the two numbers of a vector: an animal adds the other one to itself,
which leaves two equal numbers, and equal numbers mean `chase`; `chase` adds half of the other
animal than the one before it, and that is what comes next. No norm stands before the attention (the
layout is that of the OPT model whose norms come after), so that steps 1 to 3 and 6 have whole
numbers only. The scale is 1/√2, as the formula has it; scores lie so far apart, or are so equal,
that the weights are 0, 1/2 and 1. The feed-forward network holds zeros.
"""

import json
import sys
from pathlib import Path

import numpy as np

from attn_cli.checkpoints.safetensors import encode
from attn_cli.tokens.wordpiece import file_of

WORDS = ("dogs", "chase", "cats")
TOKENS = [[4, 0], [1, 1], [0, 4]]
# Position t adds t to both numbers. The first two rows of the layout's table are not used.
POSITIONS = [[0, 0], [0, 0], [0, 0], [1, 1], [2, 2], [3, 3]]
W_Q = [[1, -1], [-1, 1]]
W_K = [[2, -1], [-1, 1]]
W_V = [[1, 1], [0, 1]]
W_O = [[-1, 1], [1, 0]]
CONFIG = {
    "model_type": "opt",
    "architectures": ["OPTForCausalLM"],
    "vocab_size": 3,
    "max_position_embeddings": 4,
    "hidden_size": 2,
    "word_embed_proj_dim": 2,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "ffn_dim": 1,
    "activation_function": "relu",
    "do_layer_norm_before": False,
    "layer_norm_elementwise_affine": True,
    "enable_bias": False,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}


def tensors() -> dict[str, np.ndarray]:
    """The weights under the names that files of this layout have, (output, input)."""
    layer = "model.decoder.layers.0"
    found = {
        "model.decoder.embed_tokens.weight": TOKENS,
        "model.decoder.embed_positions.weight": POSITIONS,
        f"{layer}.self_attn.q_proj.weight": np.transpose(W_Q),
        f"{layer}.self_attn.k_proj.weight": np.transpose(W_K),
        f"{layer}.self_attn.v_proj.weight": np.transpose(W_V),
        f"{layer}.self_attn.out_proj.weight": np.transpose(W_O),
        f"{layer}.self_attn_layer_norm.weight": [1, 1],
        f"{layer}.self_attn_layer_norm.bias": [0, 0],
        f"{layer}.fc1.weight": [[0, 0]],
        f"{layer}.fc2.weight": [[0], [0]],
        f"{layer}.final_layer_norm.weight": [1, 1],
        f"{layer}.final_layer_norm.bias": [-1, -1],
    }
    return {name: np.array(values, np.float32) for name, values in found.items()}


def write(folder: Path) -> None:
    """The checkpoint as an ordinary folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = file_of({word: id for id, word in enumerate(WORDS)}, {})
    for name, contents in {"config.json": CONFIG, "tokenizer.json": tokenizer}.items():
        text = json.dumps(contents, indent=1, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "model.safetensors").write_bytes(encode(tensors(), {"format": "pt"}))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
