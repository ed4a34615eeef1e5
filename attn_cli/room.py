"""How much memory a run takes, asked before it takes any."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np

from attn_cli import machine, room_of_file, vocabulary
from attn_cli.errors import ContentError, plural, size
from attn_cli.maths import cores
from attn_cli.maths.kept import APART, BEFORE_SUM
from attn_cli.maths.masks import BLOCK
from attn_cli.maths.tiles import POSITIONS
from attn_cli.model.family import Model
from attn_cli.model.stack import Request
from attn_cli.records import Address, Facts, Prompt

# Vectors of the model's width that a token has at a time beside what is inside attention, or inside
# a feed-forward network: the stream, what a norm makes of it, what the block gives.
_BESIDE_ATTENTION, _BESIDE_NETWORK = 3, 5
_BLOCKS = 2  # of queries, with all their keys, that each thread works with
_OF_TOKEN = 500  # bytes of each token that a tokenizer knows
_TOGETHER = 1 << 24  # bytes of prompts that are answered together, beside one
_TOO_LARGE = "this model needs more memory"
_ONLY_WITH = {
    **dict.fromkeys((*vocabulary.TERMS, *vocabulary.OF_DISTANCES), ("disentangled",)),
    **dict.fromkeys(("q_unrotated", "k_unrotated"), ("rotary",)),
    "bias": ("bias", "relative"),
}
# What positions add to scores is made of all heads at once.
_OF_ALL_HEADS = ("bias", "relative", "disentangled")
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


class Made(NamedTuple):
    """What is made of the records of a pass when it is over, a document say.

    It takes so many times the bytes of all that is recorded, of the largest block and of the
    largest array, so many bytes for each pair of tokens, and so many `bytes` whatever that is.
    """

    of_all: float = 0
    of_block: float = 0
    of_array: float = 0
    of_pair: float = 0
    bytes: int = 0


NOTHING_MADE = Made()
ALL = -1  # tokens that are predicted from
# Another request, for so many tokens.
Change = Callable[[Request, Tokens], tuple[Request, Tokens]]


class Run(NamedTuple):
    """A pass that is to be made."""

    model: Model
    prompt: Prompt
    request: Request


def check(
    model: Model,
    prompt: Prompt,
    request: Request,
    max_memory: int = 0,
    *,
    added: int = 0,
    per_token: int = 0,
    logits: int = 0,
    times: int = 1,
    working: int = 0,
    beside: Sequence[Run] = (),
    forgotten: bool = False,
    written: Callable[[Tokens], int] | None = None,
    made: Made = NOTHING_MADE,
) -> None:
    """Refuses a run that takes more than it may, before it takes anything.

    The stack that predicts will read `added` tokens more, `per_token` bytes are kept beside what
    the pass records, and all of it is there so many `times`, but what layers work with only as
    often as `working` says, if it does. The passes `beside` go on meanwhile.
    Where each block is `forgotten` when the next one comes, the largest counts. What is `made` in
    the end comes once, and so do the `logits` of so many vectors (ALL: of every token), and the
    bytes that writing the result takes, as `written` says by the tokens that are read. Raises
    ContentError with what would fit, and UsageError.
    """
    runs = (Run(model, prompt, request), *beside)
    tokens = [_read(run.model, run.prompt) for run in runs]
    tokens[0][model.facts.stack] += added
    have = machine.allowed(max_memory)

    def bytes_of(change: Change) -> int:
        need, most, after, longest = of_tokenizer(model), 0, made.bytes, 0
        first = change(request, tokens[0])[1]
        after += written(first) if written else 0
        after += room_of_file.of_logits(model, first[model.facts.stack] if logits < 0 else logits)
        for run, read in zip(runs, tokens, strict=True):
            asked, fewer = change(run.request, read)
            parts = _parts(run.model, asked, fewer, forgotten=forgotten)
            need += times * parts.recorded + room_of_file.held(run.model, asked)
            longest = max(fewer.values())
            own = (working or times) * (parts.working + per_token * fewer[run.model.facts.stack])
            own += room_of_file.of_file(run.model, asked, longest)
            most = max(most, own)  # of passes side by side one goes on while the other waits
            after += int(made.of_block * parts.block + made.of_array * parts.array)
            after += int(made.of_all * times * parts.whole)
        after += int(made.of_pair * longest**2)
        # What a layer worked with is given back where a pass is long: see `session.records`.
        return need + (max(most, after) if longest > POSITIONS else most + after)

    machine.expect(need := bytes_of(lambda *given: given))
    if need > have:
        layers = "" if forgotten or not request.blocks else plural(len(request.blocks), "layer")
        reading = " and ".join(plural(max(read.values()), "token") for read in tokens)
        reading += " and writing the result" if written else ""
        raise ContentError(
            f"reading {reading} takes {size(need)}{layers and f' for {layers}'}; {size(have)} may "
            "be used",
            _ways(runs, tokens, lambda change: bytes_of(change) <= have, need, fixed=times > 1),
        )


def check_vocabulary(model: Model, of_token: int, max_memory: int = 0) -> None:
    """Refuses to compare all tokens of a model, if its tokenizer and so many bytes `of_token` are
    more than may be used. Raises ContentError, and UsageError."""
    every, have = model.facts.vocabulary, machine.allowed(max_memory)
    machine.expect(need := of_tokenizer(model) + of_token * every)
    if need > have:
        raise ContentError(
            f"comparing {every:,} tokens takes {size(need)}; {size(have)} may be used",
            f"what fits: {way}" if (way := _more(need)) else _TOO_LARGE,
        )


def of_tokenizer(model: Model) -> int:
    """The bytes of a tokenizer."""
    return 0 if model.tokenizer.problem else _OF_TOKEN * model.facts.vocabulary


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
    parts = _parts(model, request, tokens, forgotten=forgotten)
    return parts.recorded + parts.working


class _Parts(NamedTuple):
    """Bytes: of all that is recorded, and as it is written, of the largest block and the largest
    array of it, and of what one layer works with."""

    recorded: int
    whole: int
    block: int
    array: int
    working: int


def _parts(model: Model, request: Request, tokens: Tokens, *, forgotten: bool) -> _Parts:
    number = np.dtype(model.weights.dtype).itemsize
    alike = {block[:2]: block for block in request.blocks}  # whatever their layer
    of_each = {
        where: _recorded(model.facts, request, block, tokens, number)
        for where, block in alike.items()
    }
    arrays = [of_each[block[:2]] for block in request.blocks]
    blocks = [sum(sizes.values()) for sizes in arrays]
    largest, most, facts = max(blocks, default=0), max(tokens.values()), model.facts
    working = cores.threads() * _BLOCKS * BLOCK * most
    if facts.positions in _OF_ALL_HEADS:
        working *= max(1, facts.heads)
    return _Parts(
        largest if forgotten else sum(blocks),
        sum(size for sizes in arrays for size in sizes.values() if size > 0),
        largest,
        max((size for sizes in arrays for size in sizes.values()), default=0),
        number * (most * _of_layer(model, networks=room_of_file.has_networks(request)) + working),
    )


def _of_layer(model: Model, *, networks: bool = True) -> int:
    """How many numbers a layer works with for each token."""
    facts = model.facts
    width, every = facts.model_width, facts.heads * facts.head_width
    of_keys = facts.kv_heads * (facts.head_width + facts.of_values)
    attention = _BESIDE_ATTENTION * width + 4 * every + 2 * of_keys
    if facts.kv_latent:  # a key of its own for each head, and both parts of q and k joined twice
        attention += 4 * every + facts.heads * facts.of_values + facts.kv_latent + facts.q_latent
    # Its queries, keys and values are there until the next layer's are.
    network = _BESIDE_NETWORK * width + every + of_keys + room_of_file.inner(model)
    expert, together = room_of_file.experts(model)
    if expert:  # of each that is asked, what enters and leaves, the gate and what it opens
        inner, asked = prod(expert.shape) // width, min(facts.experts[1], together)
        network += asked * 2 * (width + inner)
    return max(attention, network * networks)


def _recorded(
    facts: Facts, request: Request, block: Address, tokens: Tokens, number: int
) -> dict[str, int]:
    """How many bytes each array of a block holds, of so many for a `number`; what is `unseen` of
    the weights, less than none, is there only while they are written."""
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
    sizes_of = {
        name: prod((square if axes[-2:] == ("query", "key") else sizes)[axis] for axis in axes)
        for name in request.arrays - absent
        for axes in (vocabulary.ARRAYS[name].axes,)
        if facts.positions in _ONLY_WITH.get(name, (facts.positions,))
        and (facts.sinks or name not in vocabulary.SINKS.values())
    }
    of_each = {name: (1 if name == "visible" else number) * n for name, n in sizes_of.items()}
    unseen = _unseen(request, block, square) if "weights" in of_each else 0
    return {**of_each, "measures": 8 * measures, "unseen": -number * unseen}


def _unseen(request: Request, block: Address, sizes: Mapping[str, int]) -> int:
    """How many of the weights are not kept, because the model's own mask hides them."""
    what_if, heads, queries = request.what_if.at(block), sizes["head"], sizes["query"]
    hidden = block.causal and not what_if.masks and what_if.mask_value == -np.inf
    hidden = hidden and request.arrays.isdisjoint(BEFORE_SUM[:-1])
    if not hidden or queries != sizes["key"] or 4 * heads * queries * queries < APART:
        return 0
    return heads * queries * (queries - min(BLOCK, queries)) // 2


def _more(need: int) -> str:
    return f"--max-memory {-(-need // 2**20)}MiB" if need <= machine.available() else ""


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

    few_layers = machine.largest(len(layers) - 1, lambda n: fits(of_layers(n)))
    few_heads = machine.largest(heads - 1, lambda n: fits(of_heads(n)))
    few_tokens = machine.largest(longest - 1, lambda n: fits(shorter(n)))
    ways = [
        f"{plural(few_layers, 'layer')} (--layer)" if few_layers else "",
        f"{plural(few_heads, 'head')} (--head)" if few_heads else "",
        "fewer rows (attn trace --query A-B)" if layers and fits(of_layers(0)) else "",
        f"a prompt of {plural(few_tokens, 'token')}" if few_tokens else "",
        _more(need),
    ]
    fitting = [way for way in ways if way]
    return f"what fits: {', '.join(fitting)}" if fitting else _TOO_LARGE
