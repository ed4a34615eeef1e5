"""The two matrices of a head, W_QK and W_OV, as maps of low rank: never as model × model.

W_QK = W_Q·W_Kᵀ says what matches what, W_OV = W_V·W_O what is taken along (Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits"). Rotation and biases are no part of them, and the
weight of a norm that stands before the attention, or on a latent, is. Axes, as suffixes: M model,
W width of a query or key, V width of a value.
"""

from typing import NamedTuple

import numpy as np

from attn_cli.analysis import maps
from attn_cli.analysis.maps import Leading
from attn_cli.maths.products import NOTHING
from attn_cli.records import Attention

# What `matrices` needs of a block.
NEEDS = maps.NEEDS | {"w_o", "w_norm", "b_norm", "normed"}


class Matrices(NamedTuple):
    """What leads to a head's queries, keys and values, and its W_O, in float64.

    `folded`: the weight of the norm before the attention is in them, and its bias in the biases.
    """

    q: Leading
    k: Leading
    v: Leading
    w_o: np.ndarray  # VM
    folded: bool

    @property
    def matched(self) -> tuple[np.ndarray, np.ndarray]:
        """W_Q and W_K (both MW), of which W_QK is made.

        Where a key's first dimensions are divided by the root of a latent, and the others are not,
        no one matrix holds both: then these are the first.
        """
        width = self.k.latent.width if self.k.latent else self.k.w_MW.shape[1]
        return self.q.w_MW[:, :width], self.k.w_MW[:, :width]

    @property
    def moved(self) -> tuple[np.ndarray, np.ndarray]:
        """W_V (MV) and W_O (VM), of which W_OV is made."""
        return self.v.w_MW, self.w_o


def matrices(block: Attention, head: int, group: int) -> Matrices:
    """Those of one of a block's heads, of which `group` share a key and a value."""
    at, shared = block.heads.index(head), block.kv_heads.index(head // group)
    places = {"q": at, "k": shared, "v": shared}
    # In cross-attention the keys are of another stack, and its vectors do not pass this norm.
    normed = "q" if block.address.crosses else "qkv"
    normed = normed if {"normed", "w_norm"} <= set(block.arrays) else ""

    def made(letter: str) -> Leading:
        found = maps.leading(block, letter, places[letter])
        if letter not in normed:
            return found
        return found.after(block.w_norm, block.arrays.get("b_norm", NOTHING))

    w_o = block.w_o[at].astype(np.float64)
    return Matrices(made("q"), made("k"), made("v"), w_o, bool(normed))


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
    w_q, w_k = of.matched
    gram = w_q.T @ w_q
    return Factor(w_k, gram, float(np.sqrt((gram * (w_k.T @ w_k)).sum())))


def writing(of: Matrices) -> Factor:
    """W_OV as the stream sees it: W_O, with W_VᵀW_V."""
    w_v, w_o = of.moved
    gram = w_v.T @ w_v
    return Factor(w_o, gram, float(np.sqrt((gram * (w_o @ w_o.T)).sum())))


def composition(writes: Factor, reads: Factor) -> float:
    """K-composition, ‖W_QK·W_OVᵀ‖ / (‖W_QK‖·‖W_OV‖) (Frobenius), of an earlier head's `writing`
    and a later one's `reading`. Elhage et al. 2021.

    ‖W_QK·W_OVᵀ‖² = tr(W_VᵀW_V · Y · W_QᵀW_Q · Yᵀ) with Y = W_O·W_K.
    """
    y = writes.own @ reads.own
    size = writes.size * reads.size
    both = ((writes.gram @ y) * (y @ reads.gram)).sum()
    return float(np.sqrt(max(0.0, both)) / size) if size else float("nan")
