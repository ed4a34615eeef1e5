"""The two matrices of a head, W_QK and W_OV, as maps of low rank: never as model × model.

W_QK = W_Q·W_Kᵀ says what matches what, W_OV = W_V·W_O what is taken along (Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits"). Rotation and biases are no part of them, and the
weight of a norm that stands before the attention is. Axes, as suffixes: M model, W width of a query
or key, V width of a value.
"""

from typing import NamedTuple

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.records import Attention, Facts

# What `matrices` needs of a block.
NEEDS = frozenset({"w_q", "w_k", "w_v", "w_o", "b_q", "b_k", "w_norm", "b_norm", "normed"})


class Matrices(NamedTuple):
    """The four of a head in float64, and the biases of its queries and keys, 0 where it has none.

    `folded`: the weight of the norm before the attention is in them, and its bias in the biases.
    """

    w_q: np.ndarray  # MW
    w_k: np.ndarray  # MW
    w_v: np.ndarray  # MV
    w_o: np.ndarray  # VM
    b_q: np.ndarray
    b_k: np.ndarray
    folded: bool


def check(facts: Facts, what: str) -> None:
    """Raises ContentError where no one matrix leads from what enters a layer to a head's keys."""
    if facts.kv_latent:
        raise ContentError(
            f"{what}: {facts.name} makes keys and values of a latent that has a norm of its own, "
            "so that no one matrix leads to them",
            "attn why --array k --column 0 shows the way to an entry",
        )


def matrices(block: Attention, head: int, group: int) -> Matrices:
    """Those of one of a block's heads, of which `group` share a key and a value."""
    at, shared = block.heads.index(head), block.kv_heads.index(head // group)
    places = {"q": at, "k": shared, "v": shared}
    # In cross-attention the keys are of another stack, and its vectors do not pass this norm.
    normed = "q" if block.address.crosses else "qkv"
    normed = normed if {"normed", "w_norm"} <= set(block.arrays) else ""

    def matrix(letter: str) -> np.ndarray:
        w_MW = block.arrays[f"w_{letter}"][places[letter]].astype(np.float64)
        return block.w_norm[:, None] * w_MW if letter in normed else w_MW

    def bias(letter: str) -> np.ndarray:
        name, found = f"b_{letter}", np.zeros(1)
        if name in block.arrays:
            found = found + block.arrays[name][places[letter]]
        if letter in normed and "b_norm" in block.arrays:
            found = found + block.b_norm @ block.arrays[f"w_{letter}"][places[letter]]
        return found

    return Matrices(
        **{f"w_{letter}": matrix(letter) for letter in "qkv"},
        w_o=block.w_o[at].astype(np.float64),
        b_q=bias("q"),
        b_k=bias("k"),
        folded=bool(normed),
    )


class Svd(NamedTuple):
    """A·B = U·diag(s)·Vᵀ for A (m, r) and B (r, n): U (m, r), s (r), Vᵀ (r, n)."""

    u: np.ndarray
    s: np.ndarray
    vt: np.ndarray


def svd(a: np.ndarray, b: np.ndarray) -> Svd:
    """The singular values of a product, from those of an r × r matrix."""
    (q_a, r_a), (q_b, r_b) = np.linalg.qr(a), np.linalg.qr(b.T)
    u, s, vt = np.linalg.svd(r_a @ r_b.T)
    return Svd(q_a @ u, s, vt @ q_b.T)


def rank(s: np.ndarray, size: int) -> int:
    """How many singular values of a matrix of float32 numbers are not 0, as far as they tell."""
    return int((s > s.max(initial=0.0) * size * np.finfo(np.float32).eps).sum())


def symmetric_share(a: np.ndarray, b: np.ndarray) -> float:
    """‖(M + Mᵀ) / 2‖² / ‖M‖² of M = A·B (Frobenius): 1 is symmetric, 0 antisymmetric, ½ neither.

    ‖M + Mᵀ‖² = 2‖M‖² + 2 tr(M·M), and tr(AB·AB) = tr(BA·BA), which is r × r.
    """
    inner = b @ a
    whole = frobenius(a, b) ** 2
    return float((1 + (inner * inner.T).sum() / whole) / 2) if whole else float("nan")


def frobenius(a: np.ndarray, b: np.ndarray) -> float:
    """‖A·B‖ by the Gram matrices: ‖AB‖² = tr(AᵀA·BBᵀ)."""
    return float(np.sqrt(max(0.0, ((a.T @ a) * (b @ b.T)).sum())))


def copying(a: np.ndarray, b: np.ndarray) -> float:
    """Σ λ / Σ |λ| over the eigenvalues of A·B, which are those of B·A: 1 where all are positive."""
    values = np.linalg.eigvals(b @ a)
    size = float(np.abs(values).sum())
    return float(values.real.sum()) / size if size else float("nan")


class Factor(NamedTuple):
    """A product of two matrices as one of them, the other's Gram matrix, and its Frobenius norm."""

    own: np.ndarray
    gram: np.ndarray
    size: float


def reading(of: Matrices) -> Factor:
    """W_QK as a head's keys see it: W_K, with W_QᵀW_Q."""
    gram = of.w_q.T @ of.w_q
    return Factor(of.w_k, gram, float(np.sqrt((gram * (of.w_k.T @ of.w_k)).sum())))


def writing(of: Matrices) -> Factor:
    """W_OV as the stream sees it: W_O, with W_VᵀW_V."""
    gram = of.w_v.T @ of.w_v
    return Factor(of.w_o, gram, float(np.sqrt((gram * (of.w_o @ of.w_o.T)).sum())))


def composition(writes: Factor, reads: Factor) -> float:
    """K-composition, ‖W_QK·W_OVᵀ‖ / (‖W_QK‖·‖W_OV‖) (Frobenius), of an earlier head's `writing`
    and a later one's `reading`. Elhage et al. 2021.

    ‖W_QK·W_OVᵀ‖² = tr(W_VᵀW_V · Y · W_QᵀW_Q · Yᵀ) with Y = W_O·W_K.
    """
    y = writes.own @ reads.own
    size = writes.size * reads.size
    both = ((writes.gram @ y) * (y @ reads.gram)).sum()
    return float(np.sqrt(max(0.0, both)) / size) if size else float("nan")
