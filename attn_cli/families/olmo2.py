"""OLMo 2: norms after each part instead of before, and one over all queries of a token together.

OLMo team 2024. Its files hold OLMo 3 too, which has windows and two ways of rotating.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.families import llama, llama_gguf
from attn_cli.families.llama import gated_mlp, norm
from attn_cli.maths.attention import merge_heads, split_heads
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.gguf import named
from attn_cli.model.project import Arrays
from attn_cli.model.rope import Rope, scaled_rope
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.tensors import Shapes, norms
from attn_cli.model.weights import LayerWeights
from attn_cli.records import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """The numbers of a model whose norms follow its parts. Layers with a window rotate by
    `local_rope`. Without a `head_norm` one norm is over the queries of all heads, one over keys.
    """

    local_rope: Rope


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults({"rms_norm_eps": 1e-5})
    shared, bias = llama.common(reader), reader.flag("attention_bias", False)
    reader.finish(llama.HARMLESS)
    windows = (0,) * shared["layers"]
    biases = {"qkv_bias": bias, "output_bias": bias}
    return Config(**shared, **biases, windows=windows, local_rope=shared["rope"])


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor: Llama's, the norms where they stand here."""
    found = llama.shapes(config)
    del found["layers.*.input_layernorm.weight"]
    found |= norms(config.model_width, "layers.*.post_feedforward_layernorm", biased=False)
    return found | ({} if config.head_norm else whole_norms(config))


def whole_norms(config: llama.Config) -> Shapes:
    """A norm over the queries of all heads, and one over the keys."""
    heads = {"q": config.heads, "k": config.kv_heads}
    found: Shapes = {}
    for letter, count in heads.items():
        name = f"layers.*.self_attn.{letter}_norm"
        found |= norms(count * config.head_width, name, biased=False)
    return found


def describe(facts: Facts, config: Config) -> Facts:
    ropes = (config.local_rope if width else config.rope for width in config.windows)
    return replace(
        llama.describe(facts, config),
        residual="normed",
        norm_first=False,
        head_norm="each" if config.head_norm else "all",
        attention_factors=tuple(rope.attention_factor for rope in ropes),
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, windows = model.config, model.config.windows
    stack = Stack(model, ids, request, cache, restart_beyond=config.rope.limit)
    x = model.weights.rows("embed_tokens.weight", stack.ids)
    ropes = [stack.angles(rope) for rope in (config.rope, config.local_rope)]
    for parts in stack.layers("layers."):
        angles = ropes[windows[stack.layer] > 0]
        output = yield from stack.attend(
            {"x": x, **stack.rotated(project(config, parts, x), angles)},
            visible=causal_or_window(windows[stack.layer]),
            out=parts.map("self_attn.o_proj"),
        )
        added = norm(config, parts, "post_attention_layernorm", output)
        x = x + added
        inner = stack.mlp(gated_mlp(config, parts, x))
        more = norm(config, parts, "post_feedforward_layernorm", inner)
        x = yield from stack.after(x + more, added, more)
    return stack.end(x)


def project(config: llama.Config, parts: LayerWeights, x: np.ndarray) -> Arrays:
    """q, k and v before rotation, all queries and all keys normalised together."""
    arrays = llama.project(config, parts, x)
    for letter in "" if config.head_norm else "qk":
        whole = norm(config, parts, f"self_attn.{letter}_norm", merge_heads(arrays[letter]))
        arrays[letter] = split_heads(whole, len(arrays[letter]))
    return arrays


# --- the same model in a GGUF file ---------------------------------------------------------------


def finish(config: Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    """Llama's, and windows by layer, whose layers rotate unscaled."""
    config = llama_gguf.finish(config, reader, tensors)
    windows = llama_gguf.windows(reader, config.layers, _PERIOD)
    base, plain = reader.positive("rope_theta", 10000.0), reader.section("rope_scaling", {})
    own = reader.positive("local_base", base)
    local = scaled_rope(plain, reader, own, config.head_width, config.context)
    return replace(config, windows=windows, local_rope=local)


_PERIOD = 4  # every fourth layer has no window where a file with a window does not say
_AFTER = {
    "layers.*.post_attention_layernorm": "blk.*.post_attention_norm",
    "layers.*.post_feedforward_layernorm": "blk.*.post_ffw_norm",
}
GGUF = replace(
    llama_gguf.WINDOWED,
    keys=llama_gguf.WINDOWED.keys | {"rope.freq_base_swa": "local_base"},
    tensors=llama_gguf.GGUF.tensors | named(_AFTER, "weight"),
    finish=finish,
)

FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    shapes=shapes,
    describe=describe,
    forward=forward,
    gguf=GGUF,
)
