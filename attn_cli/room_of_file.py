"""How much memory a run takes of what a checkpoint stores: its pages, and what is made of them."""

from collections import Counter
from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from attn_cli.checkpoints.tensor import Tensor
from attn_cli.maths import cores
from attn_cli.maths.experts import TOGETHER
from attn_cli.maths.tiles import POSITIONS, asked_at_once, taken_at_once
from attn_cli.model.family import Model, output_matrix
from attn_cli.model.roles import ATTENTION, EXPERTS, FROM_LATENT, FUSED, TO_LATENT, place_of
from attn_cli.model.stack import Request
from attn_cli.model.weights import OF_EXPERTS, reorders, transposed
from attn_cli.records import Address
from attn_cli.vocabulary import ARRAYS, STACKS

_NETWORKS = ("feed_forward", EXPERTS)
_PROJECTIONS = {*ATTENTION, FUSED, TO_LATENT, FROM_LATENT} - {"attention_output"}
# The matrices of which each head has a part.
_PICKED = {n for n, of in ARRAYS.items() if n[:2] == "w_" and of.axes[0] in ("head", "kv_head")}
_PICKED -= {"w_o"}
_SCALES = 0.25  # bytes of unpacked scales and minimums for a number, at most


def held(model: Model, request: Request) -> int:
    """The bytes of the tensors that are kept for many passes, in memory or as pages of the file:
    those of a layer where the passes go side by side.

    Of an embedding that is not the output matrix too only rows are read.
    """
    weights = model.weights
    if not weights.hold:
        return 0
    rows = model.family.embedding if output_matrix(model) != model.family.embedding else ""
    comes_to = _read(model, request)
    numbers, pages = Counter[str](), 0
    for name in _of_layers(model) if weights.shared else weights.stored:
        if name != rows and comes_to(name):
            tensor = weights.tensor(name)
            numbers[_layer_of(name) if weights.shared else ""] += prod(tensor.shape)
            # Its pages are given back once a copy in float32 is made of it.
            pages = max(pages, 0 if tensor.dtype == "F32" else tensor.size)
    return 4 * max(numbers.values(), default=0) + pages


def _read(model: Model, request: Request) -> Callable[[str], bool]:
    """Whether a pass comes to a tensor: one that is not whole stops at its last record, before a
    feed-forward network that it does not wait for."""
    if request.whole:
        return lambda name: True
    facts, (*_, end) = model.facts, sorted(request.blocks, key=_order) or [None]
    waits = bool(facts.experts) or "mlp_output" in request.arrays

    def comes_to(name: str) -> bool:
        at = place_of(name, facts, model.family.embedding)
        if end is None or at.layer < 0:
            return False
        if at.stack != end.stack:
            return STACKS.index(at.stack) < STACKS.index(end.stack)
        return at.layer < end.layer + (waits or at.part not in _NETWORKS)

    return comes_to


def _order(block: Address) -> tuple[int, int]:
    return STACKS.index(block.stack), block.layer


def of_file(model: Model, request: Request, positions: int) -> int:
    """The bytes of what is there of a file meanwhile: the pages of a layer, and the matrices that
    are made of what it stores, of one network at a time.

    For a few positions both are there some rows at a time, but for what records want as a whole
    and what is stored as (input, output), and none twice that are kept.
    """
    weights, number = model.weights, np.dtype(model.weights.dtype).itemsize
    untrained, networks = _untrained(model), has_networks(request)
    if weights.hold:
        return 0
    few, rows = positions <= POSITIONS and not untrained, 0
    sizes, pages = Counter[str](), Counter[str]()  # of networks; of layers
    for name in _of_layers(model):
        if few and not _as_a_whole(model, name):
            rows = max(rows, _rows(model, name, positions))
            continue
        part = place_of(name, model.facts, model.family.embedding).part
        if not networks and part in _NETWORKS:
            continue
        network, tensor = name.rsplit(".", 2)[0], weights.tensor(name)
        if not untrained:
            pages[_layer_of(name)] += tensor.size
        made = tensor.dtype != "F32" or number != 4 or untrained
        if OF_EXPERTS not in name and len(tensor.shape) > 1 and made:
            sizes[network] += prod(tensor.shape)
    expert, together = (None, 0) if few else experts(model)
    if expert and (expert.dtype != "F32" or number != 4):
        sizes[OF_EXPERTS] = 3 * prod(expert.shape) * min(together, model.facts.experts[0])
    some = max(rows, _of_records(model, request)) if few else 8 * untrained
    return number * max(sizes.values(), default=0) + max(pages.values(), default=0) + some


def _as_a_whole(model: Model, name: str) -> bool:
    """Whether a matrix is read as a whole, whatever it is multiplied with: see `Weights.map`."""
    columns = name.endswith(tuple(f".{of}.weight" for of in model.family.columns))
    return columns != (model.weights.stored[name].arrange is transposed)


def _of_records(model: Model, request: Request) -> int:
    """The bytes of matrices that records want as a whole, beside what is recorded: the output
    projection, and where few heads are chosen one of those of which theirs are picked.

    What is stored in float32 is only looked at where it is.
    """
    facts, arrays = model.facts, request.arrays
    few = any(len(some) < facts.heads_of(stack) for stack, some in request.heads.items())
    pulled = bool(request.measures or arrays & {"w_o", "head_output"}) and bool(request.blocks)
    picked = bool(arrays & _PICKED) and few and bool(request.blocks)
    out = others = 0
    for name in _of_layers(model) if pulled or picked else ():
        tensor = model.weights.tensor(name)
        part, numbers = place_of(name, facts, model.family.embedding).part, prod(tensor.shape)
        if part == "attention_output" and pulled and (few or "w_o" not in arrays):
            out = max(out, tensor.size if tensor.dtype == "F32" else 4 * numbers)
        elif part in _PROJECTIONS and picked and tensor.dtype != "F32":
            others = max(others, 4 * numbers)
    return out + others


def of_logits(model: Model, count: int) -> int:
    """The bytes of predicting from so many vectors: logits, thrice where they are capped, and
    rows of the output matrix."""
    if not count:
        return 0
    number = np.dtype(model.weights.dtype).itemsize
    logits = number * count * model.facts.vocabulary * (1 + 2 * bool(model.facts.logit_cap))
    kept = model.weights.hold and not model.weights.shared
    return logits + (0 if kept else _rows(model, output_matrix(model), count))


def _rows(model: Model, name: str, positions: int) -> int:
    """The bytes of what threads have at a time of a matrix, as it is stored and as it is used."""
    tensor = model.weights.tensor(name)
    if len(tensor.shape) < 2:
        return 0
    outputs, inputs = sorted(tensor.shape[-2:], reverse=True)
    asked = stored = asked_at_once(positions, inputs, outputs)
    made, of_stored = 0 if tensor.dtype == "F32" else 4, tensor.size / prod(tensor.shape)
    if reorders(model.weights.stored[name].arrange):
        of_stored *= 2  # the rows are copied as they are stored
    if tensor.scales:
        stored = taken_at_once(positions, inputs, outputs)
        of_stored += _SCALES
    return cores.threads() * int(asked * made + stored * of_stored)


def _of_layers(model: Model) -> Iterator[str]:
    """The tensors of layers: no vector, nor the matrix of all tokens, of which rows are read."""
    for name in model.weights.stored:
        network, *parts = name.rsplit(".", 2)
        if len(parts) > 1 and any(map(str.isdigit, network.split("."))):
            yield name


def _layer_of(name: str) -> str:
    """What the names of a layer's tensors begin with."""
    before = name.partition(OF_EXPERTS)[0].split(".")
    last = max((i for i, part in enumerate(before) if part.isdecimal()), default=0)
    return ".".join(before[: last + 1])


def _untrained(model: Model) -> int:
    """The numbers of the largest tensor where none is in a file, but each drawn when it is read."""
    if model.facts.trained or model.facts.by_hand:
        return 0
    return max(prod(tensor.shape) for tensor in model.weights.tensors.values())


def experts(model: Model) -> tuple[Tensor | None, int]:
    """A matrix of one of the experts, if there are any, and how many of these work together."""
    weights = model.weights
    names = (name for name in weights.stored if OF_EXPERTS in name and name.endswith(".weight"))
    if not (name := next(names, "")):
        return None, 0
    tensor = weights.tensor(name)
    return tensor, -(-TOGETHER // max(1, 3 * prod(tensor.shape)))


def has_networks(request: Request) -> bool:
    """Whether a pass comes to a feed-forward network: not where it stops in layer 0 before it."""
    return request.whole or "mlp_output" in request.arrays or any(b.layer for b in request.blocks)


def inner(model: Model) -> int:
    """How many numbers a feed-forward network has inside for each token."""
    weights = model.weights
    names = (n for n in weights.stored if ".0." in n and OF_EXPERTS not in n)
    shapes = (weights.tensor(name).shape for name in names if name.endswith(".weight"))
    return max((max(shape) for shape in shapes if len(shape) == 2), default=0)
