"""How large a page is, and how much of its vectors it can hold."""

from math import prod

from attn_cli import vocabulary
from attn_cli.records import Address, Facts, Prompt, Trace
from attn_cli.views.formats import Drawing

BYTES, TOKENS = 15_000_000, 1024  # at most
_COMFORTABLE = 3_000_000  # up to which vectors are float32
_OWN = 96_000  # the page without its numbers
_TOKEN = 60  # for its names
_FLOAT = 4 * 4 / 3  # bytes in base64
# What the page computes from, by its axes; the other arrays are shown as they are.
COMPUTED_FROM = (
    "q", "k", "v", "content_to_position", "position_to_content", "bias", "sink",
)  # fmt: skip
# Vectors that are shown in their step, and not computed from.
SHOWN = (
    "token_embedding", "position_embedding", "type_embedding", "x", "key_x", "normed", "q_latent",
    "kv_latent", "q_unrotated", "k_unrotated", "output", "mlp_output",
)  # fmt: skip
# What was learned: it stands in a page that it leaves small, or where it was asked for.
SHOWN_ALWAYS = vocabulary.DEFAULT_ARRAYS | vocabulary.EMBEDDING_PARTS | vocabulary.LATENTS | {
    "key_x", "w_o", "b_o", "mlp_output",
}  # fmt: skip
LEARNED = (vocabulary.PARAMETERS - {"w_o"}) | vocabulary.OF_DISTANCES


def megabytes(size: float) -> str:
    """A file's size in megabytes, as a message has it."""
    return f"{size / 1e6:,.1f}"


def sizes(drawing: Drawing) -> tuple[int, float]:
    """The most tokens of a side, and the least bytes of the page."""
    sides = [drawing.prompt.sides(at.stack, at.kind) for at in drawing.blocks]
    most = max(len(side.tokens) for pair in sides for side in pair)
    return most, _size(drawing, drawing.prompt, parameters=drawing.parameters)


def explains(drawing: Drawing) -> bool:
    """Whether the page also holds what was learned."""
    return drawing.parameters or _size(drawing, drawing.prompt, parameters=True) <= _COMFORTABLE


def _size(drawing: Drawing, prompt: Prompt, *, parameters: bool) -> float:
    facts, blocks, heads = drawing.model, drawing.blocks, drawing.heads
    total, masks = _OWN, 0.0
    for at in blocks:
        queries, keys = (len(side.tokens) for side in prompt.sides(at.stack, at.kind))
        total += _FLOAT * _block(facts, at, len(heads[at.stack]), queries, keys)
        total += _FLOAT * _learned(facts, at, len(heads[at.stack])) * parameters
        masks = max(masks, queries * keys / 6)
    return total + masks + _TOKEN * len(prompt.tokens)


def _block(facts: Facts, at: Address, heads: int, queries: int, keys: int) -> int:
    """How many numbers a block has where its vectors are told by their lengths."""
    shared = -(-heads // facts.group_of(at.stack))
    value, width = facts.of_values, facts.head_width
    found = heads * queries * width + shared * keys * (width + value)
    found += heads * value * (value + 1) // 2 + 8 * queries
    grids = {"disentangled": 2, "bias": 1, "relative": 1}.get(facts.positions, 0)
    return found + grids * heads * queries * keys


def _learned(facts: Facts, at: Address, heads: int) -> int:
    """About how many numbers make queries, keys and values."""
    shared = -(-heads // facts.group_of(at.stack))
    own = heads * facts.head_width + shared * (facts.head_width + facts.of_values)
    return facts.model_width * (own + facts.q_latent + facts.kv_latent)


def fitting(drawing: Drawing) -> int:
    """How many tokens would fit with the same layers and heads; 0 if not even two."""

    def fits(tokens: int) -> bool:
        read = drawing.prompt.tokens[:1] * tokens
        prompt = _of(drawing.prompt, read)
        return _size(drawing, prompt, parameters=drawing.parameters) <= BYTES

    low, high = 0, TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low if low > 1 else 0


def _of(prompt: Prompt, tokens: tuple) -> Prompt:
    from dataclasses import replace

    target = replace(prompt.target, tokens=tokens) if prompt.target else None
    return replace(prompt, tokens=tokens, target=target)


def plan(trace: Trace) -> str:
    """How vectors are told: as `float`, as `half` precision, or by their `length`."""
    least = wide = maps = 0.0
    for block in trace.attention:
        for name, values in block.arrays.items():
            if name in COMPUTED_FROM or name in LEARNED:
                least += prod(values.shape)
            elif name == "w_o":
                maps += values.size
                least += values.shape[0] * values.shape[1] * (values.shape[1] + 1) / 2
            elif name in SHOWN:
                wide += values.size
    if _OWN + _FLOAT * (least + wide + maps) <= _COMFORTABLE:
        return "float"
    return "half" if _OWN + _FLOAT * (least + wide / 2) <= BYTES else "length"
