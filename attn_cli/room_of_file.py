"""How much memory a run takes of what a checkpoint stores: its pages, and what is made of them."""

from collections import Counter
from collections.abc import Iterator
from math import prod

import numpy as np

from attn_cli.checkpoints.tensor import Tensor
from attn_cli.maths import cores
from attn_cli.maths.experts import TOGETHER
from attn_cli.maths.products import POSITIONS, asked_at_once
from attn_cli.model.family import Model, output_matrix
from attn_cli.model.roles import EXPERTS, place_of
from attn_cli.model.stack import Request
from attn_cli.model.weights import OF_EXPERTS


def held(model: Model) -> int:
    """The bytes of the tensors that are kept for many passes, in memory or as pages of the file.

    Of an embedding that is not the output matrix too only rows are read.
    """
    weights = model.weights
    if not weights.hold:
        return 0
    rows = model.family.embedding if output_matrix(model) != model.family.embedding else ""
    kept = [weights.tensor(name) for name in weights.stored if name != rows]
    # The pages of a tensor are given back once a copy in float32 is made of it.
    pages = max((tensor.size for tensor in kept if tensor.dtype != "F32"), default=0)
    return 4 * sum(prod(tensor.shape) for tensor in kept) + pages


def of_file(model: Model, request: Request, positions: int) -> int:
    """The bytes of what is there of a file meanwhile: the pages of a layer, and the matrices that
    are made of what it stores, of one network at a time.

    For a few positions both are there some rows at a time, and none twice that are kept.
    """
    weights, number = model.weights, np.dtype(model.weights.dtype).itemsize
    untrained, networks = _untrained(model), has_networks(request)
    if weights.hold:
        return 0
    if positions <= POSITIONS and not untrained:
        return max((_rows(model, name, positions) for name in _of_layers(model)), default=0)
    sizes, pages = Counter[str](), Counter[str]()  # of networks; of layers
    for name in _of_layers(model):
        network = name.rsplit(".", 2)[0]
        part = place_of(name, model.facts, model.family.embedding).part
        if not networks and part in ("feed_forward", EXPERTS):
            continue
        tensor = weights.tensor(name)
        if not untrained:
            pages[_layer_of(name)] += tensor.size
        made = tensor.dtype != "F32" or number != 4 or untrained
        if OF_EXPERTS not in name and len(tensor.shape) > 1 and made:
            sizes[network] += prod(tensor.shape)
    expert, together = experts(model)
    if expert and (expert.dtype != "F32" or number != 4):
        sizes[OF_EXPERTS] = 3 * prod(expert.shape) * min(together, model.facts.experts[0])
    return number * max(sizes.values(), default=0) + max(pages.values(), default=0) + 8 * untrained


def of_logits(model: Model, count: int) -> int:
    """The bytes of predicting from so many vectors: logits, thrice where they are capped, and
    rows of the output matrix."""
    if not count:
        return 0
    number = np.dtype(model.weights.dtype).itemsize
    logits = number * count * model.facts.vocabulary * (1 + 2 * bool(model.facts.logit_cap))
    held = model.weights.hold and not model.weights.shared
    return logits + (0 if held else _rows(model, output_matrix(model), count))


def _rows(model: Model, name: str, positions: int) -> int:
    """The bytes of what threads have at a time of a matrix, as it is stored and as it is used."""
    tensor = model.weights.tensor(name)
    if len(tensor.shape) < 2:
        return 0
    outputs, inputs = sorted(tensor.shape[-2:], reverse=True)
    share = asked_at_once(positions, inputs, outputs)
    made = 0 if tensor.dtype == "F32" else 4
    return cores.threads() * int(share * (made + tensor.size / prod(tensor.shape)))


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
