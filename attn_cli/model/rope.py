"""The rotary settings of a config, in the reference library's older and newer spelling."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.maths import positions
from attn_cli.maths.positions import Rotary, rotate
from attn_cli.maths.products import NOTHING
from attn_cli.model.config import ConfigReader

# A kind of scaling reads its own of these and leaves the others; the last four are of no kind.
_HARMLESS = frozenset(
    """
    type rope_type factor attention_factor beta_fast beta_slow short_factor long_factor
    low_freq_factor high_freq_factor mscale mscale_all_dim truncate
    original_max_position_embeddings finetuned max_position_embeddings rope_theta
    partial_rotary_factor
    """.split()
)
_ORIGINAL, _SHARE = "original_max_position_embeddings", "partial_rotary_factor"


class Angles(NamedTuple):
    """Cosine and sine, times the attention factor, and the angle itself (position, pair).

    Each query is multiplied by its position's `query_factor`, if there are any.
    """

    rotary: Rotary
    angle: np.ndarray
    attention_factor: float = 1.0
    query_factor: np.ndarray = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """`frequencies` per pair of dimensions; the `attention_factor` multiplies cosine and sine.

    Beyond `limit` positions, if it is not 0, all rotate by `long_frequencies` (LongRoPE), with a
    `long_attention_factor` if there is one; beyond `known`, if it is not 0, by others for every
    length of the text, which are not known here.
    `interleaved`: neighbouring dimensions are a pair (see `maths.Rotary`). `growth` is (β, length):
    a query is multiplied by 1 + β·ln(1 + ⌊position ÷ length⌋), as Llama 4 does.
    """

    frequencies: tuple[float, ...]
    attention_factor: float = 1.0
    long_frequencies: tuple[float, ...] = ()
    long_attention_factor: float | None = None
    limit: int = 0
    known: int = 0
    interleaved: bool = False
    growth: tuple[float, int] | None = None

    def angles(self, at: Sequence[int]) -> Angles:
        """The angles of these positions. Raises ContentError beyond those that are known."""
        if 0 < self.known <= max(at):
            raise ContentError(
                f"beyond {self.known:,} tokens the model rotates by other angles for every length "
                "of the text (rope_type dynamic), which attn does not know",
                f"up to {self.known:,} tokens work, without --force-context",
            )
        beyond = self.limit and max(at) >= self.limit
        of_pairs = np.array(self.long_frequencies if beyond else self.frequencies, np.float32)
        factor = self.attention_factor
        if beyond and self.long_attention_factor is not None:
            factor = self.long_attention_factor
        at_P = np.array(at, np.float32)
        cosine, sine, angle = positions.angles(of_pairs, at_P, factor)
        growth = positions.query_growth(at_P, *self.growth) if self.growth else NOTHING
        rotary = Rotary(cosine, sine, interleaved=self.interleaved)
        return Angles(rotary, angle, factor, growth)

    def slowed(self, factors: np.ndarray, reader: ConfigReader) -> "Rope":
        """The same with each frequency divided by its factor, as GGUF stores Llama 3's scaling."""
        if factors.shape != (len(self.frequencies),):
            raise reader.error(f"{factors.size} rope factors do not fit the head width")
        with np.errstate(all="ignore"):
            plain = np.array(self.frequencies, np.float32) / factors
        return replace(self, frequencies=_finite(plain, reader))

    def of_two_lengths(
        self, short: np.ndarray, long: np.ndarray, limit: int, reader: ConfigReader
    ) -> "Rope":
        """LongRoPE as GGUF stores it: one table of factors up to `limit` positions, one beyond."""
        beyond = self.slowed(long, reader).frequencies
        return replace(self.slowed(short, reader), long_frequencies=beyond, limit=limit)


def rotated(arrays: Mapping[str, np.ndarray], by: Angles) -> dict[str, np.ndarray]:
    """The arrays with q and k rotated; what they were are q_unrotated and k_unrotated."""
    after = dict(zip("qk", rotate([arrays["q"], arrays["k"]], by.rotary), strict=True))
    before = {f"{letter}_unrotated": arrays[letter] for letter in "qk"}
    found = {**arrays, **before, **after, "angles": by.angle}
    found["attention_factor"] = np.array(by.attention_factor)
    if by.query_factor.size:
        found["q"] *= by.query_factor[:, None]
        found["query_factor"] = by.query_factor
    return found


def read_rope(
    reader: ConfigReader,
    width: int,
    context: int,
    default: Mapping[str, Any] = MappingProxyType({}),
) -> Rope:
    """Of `rope_parameters` (5.x), or `rope_theta` and `rope_scaling` (4.x), or a family's `default`
    where there are none of these sections. Raises ContentError."""
    section = rope_section(reader, default=default)
    base = section.positive("rope_theta", reader.positive("rope_theta", 10000.0))
    return rope_of_whole_heads(section, reader, base, width, context)


def rope_of_whole_heads(
    section: ConfigReader, reader: ConfigReader, base: float, width: int, context: int
) -> Rope:
    """As `scaled_rope`, in a family whose heads rotate whole.

    The reference's class does not read a share of a head's dimensions, but what scales frequencies
    makes them for that share. Where fewer pairs are left, it fails: refused.
    """
    share = section.number(_SHARE, reader.number(_SHARE, 1.0))
    rotating = width if rope_kind(section) == "default" else int(width * min(max(share, 0), 2))
    if rotating + rotating % 2 != width:
        raise section.error(
            f"{_SHARE} is {share:g}, and the heads of this model rotate whole",
            f"if it changes no number: --ignore-config {_SHARE}",
        )
    return scaled_rope(section, reader, base, rotating, context)


def rope_section(
    reader: ConfigReader,
    aliases: Mapping[str, str] = MappingProxyType({}),
    default: Mapping[str, Any] = MappingProxyType({}),
) -> ConfigReader:
    """`rope_parameters` as 5.x writes them, or `rope_scaling` as 4.x did, which has the last word.

    `aliases` are further names that a family has for a kind of scaling; the `default` is its own
    where there is neither.
    """
    newer, older = reader.mapping("rope_parameters"), reader.mapping("rope_scaling")
    section = dict(older or (newer if reader.has("rope_parameters") else default))
    for key in ("rope_type", "type"):
        if isinstance(section.get(key), str):
            section[key] = aliases.get(section[key], section[key])
    return reader.section("rope_scaling" if older else "rope_parameters", section)


def sections_by_kind(
    reader: ConfigReader, kinds: Sequence[str], scaled: Sequence[str]
) -> list[ConfigReader]:
    """The rotary section of each kind of layer, of `rope_parameters`; `rope_scaling`, as 4.x wrote
    it, is of the `scaled` kinds.

    As the reference's classes read them, nothing beside the kinds counts but `truncate`, which is
    taken from there alone.
    """
    older, given = reader.mapping("rope_scaling"), reader.has("rope_parameters")
    beside = reader.section("rope_parameters")
    whole = beside.flag("truncate", not beside.says("truncate"))
    found = []
    for kind in kinds:
        values = beside.mapping(kind) if given else {"rope_type": "default"}
        if older and kind in scaled:
            if given and not beside.has(kind):
                raise reader.error(f"rope_parameters has no {kind}, which rope_scaling is of")
            values = values | older
        found.append(beside.section(kind, values | {"truncate": whole}))
    beside.leave()
    return found


def rotated_width(
    section: ConfigReader,
    reader: ConfigReader,
    key: str,
    share: float,
    width: int,
    *,
    odd: bool = True,
) -> int:
    """How many dimensions of a head rotate, where a family's config says which share of them.

    Not `odd`: the reference cuts them off before it pairs them, and cannot have an odd count.
    """
    share = section.positive(_SHARE, reader.positive(key, share))
    found = int(width * min(share, 1.0))
    # An odd dimension rotates with one more, as the reference pairs them.
    paired = found + found % 2
    if share > 1 or found < 1 or paired > width or (paired > found and not odd):
        raise section.error(
            f"{share:g} of {width} numbers cannot turn in pairs",
            f"{reader.named(key)} is a share of the head's width, up to 1",
        )
    return found


def scaled_rope(
    section: ConfigReader, reader: ConfigReader, base: float, width: int, context: int
) -> Rope:
    """The frequencies of `width` dimensions, scaled as `section` says; `reader` has the rest."""
    kind = rope_kind(section)
    # Phi-3 keeps it beside the section, and there it has the last word.
    original = reader.integer(_ORIGINAL, section.integer(_ORIGINAL, context))
    try:
        with np.errstate(all="ignore"):
            rope = _SCALINGS[kind](section, base, width, context, original)
    except (ArithmeticError, ValueError):
        raise impossible(section) from None
    section.only("mrope_section")
    section.leave(_HARMLESS)
    _finite(np.array(rope.long_frequencies), section)
    return replace(rope, frequencies=_finite(np.array(rope.frequencies), section))


def rope_kind(section: ConfigReader) -> str:
    """How a section scales frequencies: `rope_type`, or `type` as 4.x spelt it."""
    return section.choice("rope_type", _SCALINGS, section.choice("type", _SCALINGS, "default"))


def _finite(plain: np.ndarray, reader: ConfigReader) -> tuple[float, ...]:
    if not np.isfinite(plain).all():
        raise impossible(reader)
    return tuple(plain.tolist())


def impossible(reader: ConfigReader) -> ContentError:
    """Why a config that asks for such frequencies is refused."""
    return reader.error("the rotary frequencies would not be finite numbers")


def _rope(plain: np.ndarray, attention_factor: float = 1.0) -> Rope:
    return Rope(frequencies=tuple(plain.tolist()), attention_factor=attention_factor)


def _default(section: ConfigReader, base: float, width: int, *_: int) -> Rope:
    return _rope(positions.frequencies(width, base))


def _linear(section: ConfigReader, base: float, width: int, *_: int) -> Rope:
    plain = positions.frequencies(width, base)
    return _rope(positions.linear_scaling(plain, section.positive("factor")))


def _dynamic(section: ConfigReader, base: float, width: int, context: int, *_: int) -> Rope:
    """Up to the trained context the base grows by a factor that is 1 but for rounding."""
    factor = section.positive("factor")
    base *= (factor * context / context - (factor - 1)) ** (width / (width - 2))
    return replace(_rope(positions.frequencies(width, base)), known=context)


def _llama3(section: ConfigReader, base: float, width: int, context: int, original: int) -> Rope:
    factors = (section.positive(key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    plain = positions.frequencies(width, base)
    return _rope(positions.llama3_scaling(plain, *factors, original))


def score_growth(section: ConfigReader) -> float:
    """What `mscale_all_dim` multiplies the scale of the scores by: YaRN's growth, once for the
    queries and once for the keys. DeepSeek-AI 2024, "DeepSeek-V2"."""
    kind = section.choice("rope_type", _SCALINGS, section.choice("type", _SCALINGS, "default"))
    weight = 0.0 if kind == "default" else section.number("mscale_all_dim", 0.0)
    return _growth(section.positive("factor"), weight) ** 2 if weight else 1.0


def _growth(scale: float, weight: float = 1.0) -> float:
    return 0.1 * weight * math.log(scale) + 1.0 if scale > 1 else 1.0


def _in_pairs(section: ConfigReader, width: int) -> int:
    """How many pairs of `width` dimensions the reference has numbers for.

    Of an odd width there is a pair more: where there is one number it serves both, else none fit.
    """
    if width % 2 and width != 3:
        raise section.error(f"{width} numbers of a head, an odd count, cannot be scaled in pairs")
    return width // 2


def _yarn(section: ConfigReader, base: float, width: int, context: int, original: int) -> Rope:
    factor = section.positive("factor", context / original)
    _in_pairs(section, width)
    top, bottom = section.number("mscale", 0.0), section.number("mscale_all_dim", 0.0)
    inferred = _growth(factor, top) / _growth(factor, bottom) if top and bottom else _growth(factor)
    scaled = positions.yarn_scaling(
        positions.frequencies(width, base),
        base,
        factor,
        section.positive("beta_fast", 32.0),
        section.positive("beta_slow", 1.0),
        original,
        width=width,
        # A null is the reference's false, though what is missing is true.
        whole_bounds=section.flag("truncate", not section.says("truncate")),
    )
    return _rope(scaled, section.positive("attention_factor", inferred))


def _longrope(section: ConfigReader, base: float, width: int, context: int, original: int) -> Rope:
    factor = section.positive("factor", context / original)
    inferred = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    short, long = (
        positions.long_scaling(
            np.array(section.positives(key, _in_pairs(section, width)), np.float32), width, base
        )
        for key in ("short_factor", "long_factor")
    )
    rope = _rope(short, section.positive("attention_factor", inferred))
    return replace(rope, long_frequencies=tuple(long.tolist()), limit=original)


_SCALINGS = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
