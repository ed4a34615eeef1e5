"""Steps 3 to 6 of attention backwards at once, of the steps' own `_vjp`s. Axes: see `attention`."""

import numpy as np

from attn_cli.maths.attention import (
    default_scale,
    dot_products_vjp,
    mask_scores_vjp,
    scale_scores_vjp,
    softmax_vjp,
    weighted_sum_vjp,
)


def attend_vjp(
    q_HQW: np.ndarray,
    k_HKW: np.ndarray,
    v_HKV: np.ndarray,
    visible_QK: np.ndarray,
    weights_HQK: np.ndarray,
    grad_HQV: np.ndarray,
    *,
    scale: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Last to first, for ungrouped heads, no cap and no sink: dq, dk, dv, dbias.

    scaled = s·c + bias, so dbias = dscaled. A scale of 0 means 1 / √width.
    """
    dweights, dv = weighted_sum_vjp(weights_HQK, v_HKV, grad_HQV)
    dscaled = mask_scores_vjp(visible_QK, softmax_vjp(weights_HQK, dweights))
    dscores = scale_scores_vjp(scale or default_scale(q_HQW.shape[-1]), dscaled)
    dq, dk = dot_products_vjp(q_HQW, k_HKW, dscores)
    return dq, dk, dv, dscaled
