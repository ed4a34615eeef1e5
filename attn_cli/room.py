"""How much memory a run takes, asked before it takes any."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np

from attn_cli import machine, vocabulary
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError, UsageError, plural, size
from attn_cli.maths import cores
from attn_cli.maths.experts import TOGETHER
from attn_cli.maths.kept import APART
from attn_cli.maths.masks import BLOCK
from attn_cli.maths.products import POSITIONS
from attn_cli.model.family import Model
from attn_cli.model.stack import Request
from attn_cli.model.weights import OF_EXPERTS, Weights
from attn_cli.records import Address, Facts, Prompt

# Of a model's width each token has so many arrays at a time in a layer: six beside the block, and
# what is inside a feed-forward network and a gate.
_ARRAYS = 6 + 8
_BESIDE = 5  # arrays beside experts
# Two blocks of so many queries and all keys are at work on each thread.
_BLOCKS = 2
_TOGETHER = 1 << 24  # bytes of prompts that are answered together, beside one
_ONLY_WITH = {
    **dict.fromkeys((*vocabulary.TERMS, *vocabulary.OF_DISTANCES), ("disentangled",)),
    **dict.fromkeys(("q_unrotated", "k_unrotated"), ("rotary",)),
    "bias": ("bias", "relative"),
}
# Of keys and values, and of queries: what only models with latents have, and what none of them has.
_LATENTS = {
    "kv_latent": (
        {"w_kv_down", "b_kv_down", "w_kv_latent_norm", "kv_latent", "w_k_latent", "w_k_rotated",
         "b_k_rotated", "w_v_latent"},
        {"w_k", "b_k", "w_v", "b_v"},
    ),
    "q_latent": (
        {"w_q_down", "b_q_down", "w_q_latent_norm", "q_latent", "w_q_latent"}, {"w_q", "b_q"},
    ),
}  # fmt: skip

Tokens = Mapping[str, int]  # how many each stack reads
# Another request, for so many tokens.
Change = Callable[[Request, Tokens], tuple[Request, Tokens]]


class Run(NamedTuple):
    """A pass that is to be made."""

    model: Model
    prompt: Prompt
    request: Request


def allowed(max_memory: int) -> int:
    """The bytes that a run may take: what it was given, half of what there is where that is 0.

    Never more than there is. Raises UsageError.
    """
    if max_memory < 0:
        raise UsageError(f"max_memory {max_memory} is out of range", "bytes, 1 or more")
    there = machine.available()
    return min(max_memory, there) if max_memory else there // 2


def check(
    model: Model,
    prompt: Prompt,
    request: Request,
    max_memory: int = 0,
    *,
    added: int = 0,
    per_token: int = 0,
    times: int = 1,
    beside: Sequence[Run] = (),
    forgotten: bool = False,
    written: Callable[[Tokens], int] | None = None,
) -> None:
    """Refuses a run that takes more than it may, before it takes anything.

    The stack that predicts will read `added` tokens more, `per_token` bytes are kept beside what
    the pass records, and all of it is there so many `times`. The passes `beside` go on meanwhile.
    Where each block is `forgotten` when the next one comes, the largest counts. To write the result
    takes the bytes that `written` says, by the tokens that are read. Raises ContentError with what
    would fit, and UsageError.
    """
    runs = (Run(model, prompt, request), *beside)
    tokens = [_read(run.model, run.prompt) for run in runs]
    tokens[0][model.facts.stack] += added
    have = allowed(max_memory)

    def bytes_of(change: Change) -> int:
        need = written(change(request, tokens[0])[1]) if written else 0
        for run, read in zip(runs, tokens, strict=True):
            asked, fewer = change(run.request, read)
            kept = per_token * fewer[run.model.facts.stack]
            of_pass = needed(run.model, asked, fewer, forgotten=forgotten) + kept
            need += (
                times * of_pass + _held(run.model.weights) + _made(run.model, max(fewer.values()))
            )
        return need

    need = bytes_of(lambda *given: given)
    if need > have:
        layers = "" if forgotten or not request.blocks else plural(len(request.blocks), "layer")
        reading = " and ".join(plural(max(read.values()), "token") for read in tokens)
        reading += " and writing the result" if written else ""
        raise ContentError(
            f"reading {reading} takes {size(need)}{layers and f' for {layers}'}; "
            f"{size(have)} may be used",
            _ways(runs, tokens, lambda change: bytes_of(change) <= have, need, fixed=times > 1),
        )


def _held(weights: Weights) -> int:
    """The bytes of the tensors that are kept for many passes, but for those that are views."""
    made = (tensor for tensor in weights.tensors.values() if tensor.dtype != "F32")
    return sum(4 * prod(tensor.shape) for tensor in made) if weights.hold else 0


def _made(model: Model, positions: int) -> int:
    """The bytes of the matrices that are made of what the file stores, of one network at a time.

    For a few positions they are made some rows at a time, and none twice that are kept.
    """
    weights, number = model.weights, np.dtype(model.weights.dtype).itemsize
    if weights.hold or positions <= POSITIONS:
        return 0
    sizes: Counter[str] = Counter()
    for name in weights.stored:
        network, *parts = name.rsplit(".", 2)
        if len(parts) < 2 or OF_EXPERTS in name or not any(map(str.isdigit, network.split("."))):
            continue  # a vector, or the matrix of all tokens, of which only rows are read
        tensor = weights.tensor(name)
        if len(tensor.shape) > 1 and (tensor.dtype != "F32" or number != 4):
            sizes[network] += prod(tensor.shape)
    expert, together = _experts(model)
    if expert and (expert.dtype != "F32" or number != 4):
        sizes[OF_EXPERTS] = 3 * prod(expert.shape) * min(together, model.facts.experts[0])
    return number * max(sizes.values(), default=0)


def _experts(model: Model) -> tuple[Tensor | None, int]:
    """A matrix of one of the experts, if there are any, and how many of these work together."""
    weights = model.weights
    names = (name for name in weights.stored if OF_EXPERTS in name and name.endswith(".weight"))
    if not (name := next(names, "")):
        return None, 0
    tensor = weights.tensor(name)
    return tensor, -(-TOGETHER // max(1, 3 * prod(tensor.shape)))


def _read(model: Model, prompt: Prompt) -> dict[str, int]:
    """How many tokens each stack reads."""
    return {stack: len(prompt.of(stack).tokens) for stack, _ in model.facts.attentions}


def at_once(model: Model, prompt: Prompt, request: Request, most: int) -> int:
    """How many prompts like this one may be answered together: up to `most`, but at least one."""
    return max(1, min(most, _TOGETHER // max(1, needed(model, request, _read(model, prompt)))))


def of_cache(facts: Facts) -> int:
    """The bytes that a token leaves to later passes: keys and values, with as much room again."""
    return 4 * 2 * facts.layers * facts.kv_heads * (facts.head_width + facts.of_values)


def needed(model: Model, request: Request, tokens: Tokens, *, forgotten: bool = False) -> int:
    """The bytes of what a pass records, and of what one layer works with meanwhile.

    Of blocks that are `forgotten` one by one, the largest counts.
    """
    number = np.dtype(model.weights.dtype).itemsize
    blocks = [_recorded(model.facts, request, block, tokens) for block in request.blocks]
    recorded = max(blocks, default=0) if forgotten else sum(blocks)
    most = max(tokens.values())
    working = cores.threads() * _BLOCKS * BLOCK * most
    return number * (recorded + most * _of_layer(model) + working)


def _of_layer(model: Model) -> int:
    """How many numbers a layer works with for each token."""
    facts = model.facts
    width, every = facts.model_width, facts.heads * facts.head_width
    found = _ARRAYS * width
    if facts.kv_latent:  # a key of its own for each head, and both parts of q and k joined twice
        found += 4 * every + facts.heads * facts.of_values + facts.kv_latent + facts.q_latent
    expert, together = _experts(model)
    if expert:  # of each that is asked, what enters and leaves, the gate and what it opens
        inner, asked = prod(expert.shape) // width, min(facts.experts[1], together)
        found = max(found, _BESIDE * width + asked * 2 * (width + inner))
    return found


def _recorded(facts: Facts, request: Request, block: Address, tokens: Tokens) -> int:
    """How many numbers the arrays of a block hold."""
    every = facts.heads_of(block.stack)
    heads = request.heads.get(block.stack, range(every))
    # The other stack's may be wider, if it has fewer of them.
    width = max(facts.head_width, 0 if block.stack == facts.stack else facts.model_width // every)
    queries, keys = request.positions.get((block.stack, block.kind), (None, None))
    of_keys = tokens[block.key_stack]
    sizes = {
        "head": len(heads),
        "kv_head": len({head // facts.group_of(block.stack) for head in heads}),
        "query": tokens[block.stack] if queries is None else len(queries),
        "key": of_keys if keys is None else len(keys),
        "model": facts.model_width,
        "width": width,
        "value_width": facts.value_width or width,
        "latent": max(facts.kv_latent, facts.q_latent),
        "bucket": 2 * facts.context,
    }
    absent = {n for latent, which in _LATENTS.items() for n in which[bool(getattr(facts, latent))]}
    rows = request.rows.get((block.stack, block.kind), ())
    square = {**sizes, "query": len(rows) or sizes["query"]}
    taken = request.measures.get((block.stack, block.kind), ())
    measures = len(taken) * every * tokens[block.stack]
    unseen = _unseen(request, block, square)
    return (
        measures
        - unseen
        + sum(
            prod((square if axes[-2:] == ("query", "key") else sizes)[axis] for axis in axes)
            for name in request.arrays - absent
            for axes in (vocabulary.ARRAYS[name].axes,)
            if facts.positions in _ONLY_WITH.get(name, (facts.positions,))
            and (facts.sinks or name not in vocabulary.SINKS.values())
        )
    )


def _unseen(request: Request, block: Address, sizes: Mapping[str, int]) -> int:
    """How many of the weights are not kept, because the model's own mask hides them."""
    what_if, heads, queries = request.what_if.at(block), sizes["head"], sizes["query"]
    hidden = block.causal and not what_if.masks and what_if.mask_value == -np.inf
    if not hidden or "weights" not in request.arrays or queries != sizes["key"]:
        return 0
    if heads * queries * queries * np.dtype(np.float32).itemsize < APART:
        return 0
    return heads * queries * (queries - min(BLOCK, queries)) // 2


def _ways(
    runs: Sequence[Run],
    tokens: Sequence[Tokens],
    fits: Callable[[Change], bool],
    need: int,
    *,
    fixed: bool,
) -> str:
    """What could be asked for instead, as far as it fits; layers and heads may be `fixed`."""
    request = runs[0].request
    layers = sorted({block.layer for block in request.blocks if not fixed})
    heads = 0 if fixed else max(map(len, request.heads.values()), default=0)
    longest = max(count for read in tokens for count in read.values())

    def of_layers(count: int) -> Change:
        def change(asked: Request, read: Tokens) -> tuple[Request, Tokens]:
            kept = {block for block in asked.blocks if block.layer in layers[:count]}
            return replace(asked, blocks=frozenset(kept)), read

        return change

    def of_heads(count: int) -> Change:
        def change(asked: Request, read: Tokens) -> tuple[Request, Tokens]:
            kept = {stack: own[:count] for stack, own in asked.heads.items()}
            return replace(asked, heads=kept), read

        return change

    def shorter(count: int) -> Change:
        return lambda asked, read: (asked, {stack: min(own, count) for stack, own in read.items()})

    few_layers = _most(len(layers) - 1, lambda n: fits(of_layers(n)))
    few_heads = _most(heads - 1, lambda n: fits(of_heads(n)))
    few_tokens = _most(longest - 1, lambda n: fits(shorter(n)))
    ways = [
        f"{plural(few_layers, 'layer')} (--layer)" if few_layers else "",
        f"{plural(few_heads, 'head')} (--head)" if few_heads else "",
        "fewer rows (attn trace --query A-B)" if layers and fits(of_layers(0)) else "",
        f"a prompt of {plural(few_tokens, 'token')}" if few_tokens else "",
        f"--max-memory {-(-need // 2**20)}MiB" if need <= machine.available() else "",
    ]
    fitting = [way for way in ways if way]
    return f"what fits: {', '.join(fitting)}" if fitting else "this model needs more memory"


def _most(count: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `count` that fits; 0 where none does."""
    least = 0
    while least < count:
        middle = (least + count + 1) // 2
        least, count = (middle, count) if fits(middle) else (least, middle - 1)
    return least
