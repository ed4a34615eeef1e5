"""The rotary settings of a config, in the reference library's older and newer spelling."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.maths import positions
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader

# `type` is the name that `rope_type` had before; the last three are only repeated elsewhere.
_HARMLESS = frozenset({"type", "rope_type", "finetuned", "max_position_embeddings", "rope_theta"})
_ORIGINAL = "original_max_position_embeddings"


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

    def begin(
        self, ids: tuple[int, ...], cache: Cache | None
    ) -> tuple[tuple[int, ...], int, tuple[np.ndarray, np.ndarray]]:
        """The tokens to compute, the position of the first, and their cosines and sines.

        Where a longer text turns by other angles, the keys in the cache turn by the wrong ones:
        then it is emptied, and its tokens are among those to compute.
        """
        start = cache.length if cache else 0
        if cache and 0 < start <= self.limit < start + len(ids):
            ids, start = cache.restart() + ids, 0
        return ids, start, self.angles(start, len(ids))

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
    section = rope_section(reader, where)
    base = section.positive("rope_theta", reader.positive("rope_theta", 10000.0))
    return scaled_rope(section, reader, base, width, context, ignored)


def rope_section(
    reader: ConfigReader, where: str, aliases: Mapping[str, str] = MappingProxyType({})
) -> ConfigReader:
    """`rope_parameters` as 5.x writes them, or `rope_scaling` as 4.x did, which has the last word.

    `aliases` are further names that a family has for a kind of scaling.
    """
    newer, older = reader.mapping("rope_parameters"), reader.mapping("rope_scaling")
    name = "rope_scaling" if older else "rope_parameters"
    section = dict(older or newer)
    for key in ("rope_type", "type"):
        if isinstance(section.get(key), str):
            section[key] = aliases.get(section[key], section[key])
    return ConfigReader(section, f"{where}: {name}")


def rotated_width(
    section: ConfigReader, reader: ConfigReader, key: str, share: float, width: int
) -> int:
    """How many numbers of a head turn, where a family's config says which share of them does."""
    share = section.positive("partial_rotary_factor", reader.positive(key, share))
    rotated = int(width * min(share, 1.0))
    # An odd number turns with one more, as the reference pairs them.
    if share > 1 or rotated < 1 or rotated + rotated % 2 > width:
        raise ContentError(
            f"{section.where}: {share:g} of {width} numbers cannot turn in pairs",
            f"{key} is a share of the head's width, up to 1",
        )
    return rotated


def scaled_rope(
    section: ConfigReader,
    reader: ConfigReader,
    base: float,
    width: int,
    context: int,
    ignored: Iterable[str] = (),
) -> Rope:
    """The frequencies of `width` numbers, scaled as `section` says; `reader` has the rest."""
    kind = section.choice("rope_type", _SCALINGS, section.choice("type", _SCALINGS, "default"))
    # Phi-3 keeps it beside the section, and there it has the last word.
    inside = section.integer(_ORIGINAL, context)
    original = reader.integer(_ORIGINAL, inside)
    try:
        with np.errstate(all="ignore"):
            rope = _SCALINGS[kind](section, base, width, context, original)
    except (ArithmeticError, ValueError):
        raise _impossible(section.where) from None
    section.finish(_HARMLESS, ignored)
    _finite(np.array(rope.long_frequencies), section.where)
    return replace(rope, frequencies=_finite(np.array(rope.frequencies), section.where))


def _finite(plain: np.ndarray, where: str) -> tuple[float, ...]:
    if not np.isfinite(plain).all():
        raise _impossible(where)
    return tuple(plain.tolist())


def _impossible(where: str) -> ContentError:
    return ContentError(f"{where}: the rotary frequencies would not be finite numbers")


def _rope(plain: np.ndarray, stretch: float = 1.0) -> Rope:
    return Rope(frequencies=tuple(plain.tolist()), stretch=stretch)


def _default(section: ConfigReader, base: float, width: int, *_: int) -> Rope:
    return _rope(positions.frequencies(width, base))


def _linear(section: ConfigReader, base: float, width: int, *_: int) -> Rope:
    plain = positions.frequencies(width, base)
    return _rope(positions.linear_scaling(plain, section.positive("factor")))


def _llama3(section: ConfigReader, base: float, width: int, context: int, original: int) -> Rope:
    return _rope(
        positions.llama3_scaling(
            positions.frequencies(width, base),
            section.positive("factor"),
            section.positive("low_freq_factor"),
            section.positive("high_freq_factor"),
            original,
        )
    )


def _yarn(section: ConfigReader, base: float, width: int, context: int, original: int) -> Rope:
    factor = section.positive("factor", context / original)

    def growth(scale: float, weight: float = 1.0) -> float:
        return 0.1 * weight * math.log(scale) + 1.0 if scale > 1 else 1.0

    top, bottom = section.number("mscale", 0.0), section.number("mscale_all_dim", 0.0)
    inferred = growth(factor, top) / growth(factor, bottom) if top and bottom else growth(factor)
    scaled = positions.yarn_scaling(
        positions.frequencies(width, base),
        base,
        factor,
        section.positive("beta_fast", 32.0),
        section.positive("beta_slow", 1.0),
        original,
        whole_bounds=section.flag("truncate", True),
    )
    return _rope(scaled, section.positive("attention_factor", inferred))


def _longrope(section: ConfigReader, base: float, width: int, context: int, original: int) -> Rope:
    factor = section.positive("factor", context / original)
    inferred = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    short, long = (
        positions.long_scaling(
            np.array(section.positives(key, width // 2), np.float32), width, base
        )
        for key in ("short_factor", "long_factor")
    )
    rope = _rope(short, section.positive("attention_factor", inferred))
    return replace(rope, long_frequencies=tuple(long.tolist()), limit=original)


_SCALINGS = {
    "default": _default,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
