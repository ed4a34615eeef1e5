"""The rotary settings of a config, in the reference library's older and newer spelling."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.families.config import ConfigReader
from attn_cli.maths import positions

_KINDS = ("default", "linear", "llama3", "yarn")
# `type` is the name that `rope_type` had before; the last three are only repeated elsewhere.
_HARMLESS = frozenset({"type", "rope_type", "finetuned", "max_position_embeddings", "rope_theta"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """`frequencies` per pair of numbers; `stretch` multiplies cosine and sine (YaRN).

    Beyond `limit` positions, if it is not 0, all turn by `long_frequencies` (LongRoPE).
    """

    frequencies: tuple[float, ...]
    stretch: float = 1.0
    long_frequencies: tuple[float, ...] = ()
    limit: int = 0

    def angles(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and sine (position, pair) of `count` positions from `start`."""
        beyond = self.limit and start + count > self.limit
        of_pairs = np.array(self.long_frequencies if beyond else self.frequencies, np.float32)
        return positions.angles(of_pairs, start, count, self.stretch)

    def slowed(self, factors: np.ndarray, where: str) -> "Rope":
        """The same with each frequency divided by its factor, as GGUF stores Llama 3's scaling."""
        if factors.shape != (len(self.frequencies),):
            raise ContentError(f"{where}: {factors.size} rope factors do not fit the head width")
        with np.errstate(all="ignore"):
            plain = np.array(self.frequencies, np.float32) / factors
        return replace(self, frequencies=_finite(plain, where))

    def of_two_lengths(self, short: np.ndarray, long: np.ndarray, limit: int, where: str) -> "Rope":
        """LongRoPE as GGUF stores it: one table of factors up to `limit` positions, one beyond."""
        beyond = self.slowed(long, where).frequencies
        return replace(self.slowed(short, where), long_frequencies=beyond, limit=limit)


def read_rope(
    reader: ConfigReader, width: int, context: int, where: str, ignored: Iterable[str] = ()
) -> Rope:
    """Of `rope_parameters` (5.x), or `rope_theta` and `rope_scaling` (4.x). Raises ContentError."""
    newer = reader.mapping("rope_parameters")
    older = reader.mapping("rope_scaling")
    given: Mapping[str, Any] = newer or older
    within = f"{where}: {'rope_parameters' if newer else 'rope_scaling'}"
    section = ConfigReader(given, within)
    base = reader.positive("rope_theta", 10000.0)
    base = section.positive("rope_theta", base)
    kind = section.choice("rope_type", _KINDS, section.choice("type", _KINDS, "default"))
    stretch = 1.0
    try:
        with np.errstate(all="ignore"):
            plain = positions.frequencies(width, base)
            if kind == "linear":
                plain = positions.linear_scaling(plain, section.positive("factor"))
            elif kind == "llama3":
                plain = _llama3(section, plain, context)
            elif kind == "yarn":
                plain, stretch = _yarn(section, plain, base, context)
    except (ArithmeticError, ValueError):
        raise _impossible(within) from None
    section.finish(_HARMLESS | {"original_max_position_embeddings"}, ignored)
    return Rope(frequencies=_finite(plain, within), stretch=stretch)


def _finite(plain: np.ndarray, where: str) -> tuple[float, ...]:
    if not np.isfinite(plain).all():
        raise _impossible(where)
    return tuple(plain.tolist())


def _impossible(where: str) -> ContentError:
    return ContentError(f"{where}: the rotary frequencies would not be finite numbers")


def _llama3(section: ConfigReader, plain: np.ndarray, context: int) -> np.ndarray:
    return positions.llama3_scaling(
        plain,
        section.positive("factor"),
        section.positive("low_freq_factor"),
        section.positive("high_freq_factor"),
        section.integer("original_max_position_embeddings", context),
    )


def _yarn(
    section: ConfigReader, plain: np.ndarray, base: float, context: int
) -> tuple[np.ndarray, float]:
    original = section.integer("original_max_position_embeddings", context)
    factor = section.positive("factor", context / original)

    def growth(scale: float, weight: float = 1.0) -> float:
        return 0.1 * weight * math.log(scale) + 1.0 if scale > 1 else 1.0

    top, bottom = section.number("mscale", 0.0), section.number("mscale_all_dim", 0.0)
    inferred = growth(factor, top) / growth(factor, bottom) if top and bottom else growth(factor)
    scaled = positions.yarn_scaling(
        plain,
        base,
        factor,
        section.positive("beta_fast", 32.0),
        section.positive("beta_slow", 1.0),
        original,
        whole_bounds=section.flag("truncate", True),
    )
    return scaled, section.positive("attention_factor", inferred)
