"""GLM-4 of April 2025: GLM with two further norms in each layer, after attention and MLP."""

from dataclasses import replace

from attn_cli.families import glm, llama
from attn_cli.families.llama import entering_norm, norm
from attn_cli.families.phi3 import fused_mlp
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.family import Model
from attn_cli.model.gguf import named
from attn_cli.model.rope import rotated
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.tensors import Shapes, norms
from attn_cli.records import Facts

_FIRST, _SECOND = "post_self_attn_layernorm", "post_mlp_layernorm"


def shapes(config: glm.Config) -> Shapes:
    """The name and shape of every tensor: GLM's, and the further norms."""
    more = (f"layers.*.{name}" for name in (_FIRST, _SECOND))
    return glm.shapes(config) | norms(config.model_width, *more, biased=False)


def describe(facts: Facts, config: glm.Config) -> Facts:
    return replace(llama.describe(facts, config), residual="normed")


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit)
    x = model.weights.rows("embed_tokens.weight", stack.ids)
    angles = stack.angles(rope)
    for parts in stack.layers("layers."):
        entry = entering_norm(config, parts, x)
        output = yield from stack.attend(
            {**entry, **rotated(glm.project(config, parts, entry["normed"]), angles)},
            visible=causal_or_window(config.windows[stack.layer]),
            out=parts.map("self_attn.o_proj"),
        )
        added = norm(config, parts, _FIRST, output)
        x = x + added
        normed = norm(config, parts, "post_attention_layernorm", x)
        more = norm(config, parts, _SECOND, stack.mlp(fused_mlp(config, parts, normed)))
        x = yield from stack.after(x + more, added, more)
    return stack.end(x)


_AFTER = {
    f"layers.*.{_FIRST}": "blk.*.post_attention_norm",
    f"layers.*.{_SECOND}": "blk.*.post_ffw_norm",
}

FAMILY = replace(
    glm.FAMILY,
    shapes=shapes,
    describe=describe,
    forward=forward,
    gguf=replace(glm.GGUF, tensors=glm.GGUF.tensors | named(_AFTER, "weight")),
)
