"""The rotary settings of a config: their two spellings, what they leave out, what is refused."""

import math

import numpy as np
import pytest

from attn_cli.errors import ContentError
from attn_cli.model.config import ConfigReader
from attn_cli.model.rope import Rope, read_rope

WIDTH, CONTEXT = 12, 256
PLAIN = [1000.0 ** (-2 * i / WIDTH) for i in range(WIDTH // 2)]
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0}


def read(values, ignored=()):
    return read_rope(ConfigReader(values, "c.json", ignored), WIDTH, CONTEXT)


def unknown(values):
    """The rotary keys that nothing asks for."""
    reader = ConfigReader(values, "c.json")
    read_rope(reader, WIDTH, CONTEXT)
    return reader.unknown


GGUF = ConfigReader({}, "f.gguf")


def newer(**rope):
    return {"rope_parameters": {"rope_theta": 1000.0, **rope}}


def older(**rope):
    return {"rope_theta": 1000.0, "rope_scaling": rope}


def llama3_turn(turn, factor, low, high, context):
    wavelength = 2 * math.pi / turn
    if wavelength < context / high:
        return turn
    if wavelength > context / low:
        return turn / factor
    share = (context / wavelength - low) / (high - low)
    return (1 - share) * turn / factor + share * turn


def yarn_turn(i, factor, fast, slow, context, *, whole=True):
    def dimension(turns):
        return WIDTH * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(1000.0))

    low, high = dimension(fast), dimension(slow)
    if whole:
        low, high = math.floor(low), math.ceil(high)
    ramp = min(max((i - max(low, 0)) / (min(high, WIDTH - 1) - max(low, 0)), 0), 1)
    return PLAIN[i] / factor * ramp + PLAIN[i] * (1 - ramp)


@pytest.mark.parametrize("spell", [newer, older])
def test_frequencies_of_each_kind_are_the_formulas(spell):
    assert read(spell(rope_type="default")).frequencies == pytest.approx(PLAIN, rel=1e-6)
    linear = read(spell(rope_type="linear", factor=2.5))
    assert linear.frequencies == pytest.approx([turn / 2.5 for turn in PLAIN], rel=1e-6)
    third = read(spell(**LLAMA3, original_max_position_embeddings=64))
    assert third.frequencies == pytest.approx(
        [llama3_turn(turn, 8, 1, 4, 64) for turn in PLAIN], rel=1e-5
    )
    assert attention_factors(linear, third) == {1.0}
    yarn = read(spell(**YARN, original_max_position_embeddings=64))
    wanted = [yarn_turn(i, 4, 32, 1, 64) for i in range(WIDTH // 2)]
    assert yarn.frequencies == pytest.approx(wanted, rel=1e-5)


def attention_factors(*ropes):
    return {rope.attention_factor for rope in ropes}


def test_without_settings_the_base_is_the_references():
    wanted = [10000.0 ** (-2 * i / WIDTH) for i in range(WIDTH // 2)]
    for values in ({}, {"rope_scaling": None}, {"rope_parameters": {}}):
        assert read(values).frequencies == pytest.approx(wanted, rel=1e-6)


def test_type_is_the_older_name_of_rope_type():
    linear = read(older(rope_type="linear", factor=2.0))
    assert read(older(type="linear", factor=2.0)) == linear
    assert read(older(type="linear", rope_type="linear", factor=2.0)) == linear
    assert read(older(type="default", rope_type="linear", factor=2.0)) == linear


def test_the_base_in_rope_parameters_comes_before_the_one_beside_it():
    both = {"rope_theta": 7.0, **newer(rope_type="default")}
    assert read(both) == read(newer(rope_type="default"))


@pytest.mark.parametrize("kind", [LLAMA3, YARN])
def test_the_original_context_is_the_models_where_it_is_left_out(kind):
    given = read(newer(**kind, original_max_position_embeddings=CONTEXT))
    assert read(newer(**kind)) == given
    assert read(newer(**kind, original_max_position_embeddings=32)) != given


def test_yarns_factor_is_the_growth_of_the_context_where_it_is_left_out():
    without = read(newer(rope_type="yarn", original_max_position_embeddings=64))
    assert without == read(newer(**YARN, original_max_position_embeddings=64))


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, 0.1 * math.log(4) + 1),
        ({"attention_factor": 1.3}, 1.3),
        ({"attention_factor": 1.3, "mscale": 0.7, "mscale_all_dim": 0.2}, 1.3),
        ({"mscale": 0.7}, 0.1 * math.log(4) + 1),
        ({"mscale": 1.0, "mscale_all_dim": 1.0}, 1.0),
        (
            {"mscale": 0.7, "mscale_all_dim": 0.2},
            (0.07 * math.log(4) + 1) / (0.02 * math.log(4) + 1),
        ),
        ({"factor": 1.0}, 1.0),
        ({"factor": 0.5}, 1.0),
    ],
)
def test_yarns_attention_factor_is_the_papers_or_the_configs(more, wanted):
    rope = read(newer(**{**YARN, **more}, original_max_position_embeddings=64))
    assert rope.attention_factor == pytest.approx(wanted, rel=1e-12)
    rotary = rope.angles(range(2)).rotary
    assert rotary.cos_PR[0] == pytest.approx([wanted] * 6, rel=1e-6)
    assert rotary.sin_PR[1, 0] == pytest.approx(wanted * math.sin(rope.frequencies[0]), rel=1e-6)


def test_yarns_bounds_and_turns_are_the_configs():
    settings = {"beta_fast": 5.0, "beta_slow": 2.0, "original_max_position_embeddings": 200}
    for whole in (True, False):
        rope = read(newer(**YARN, **settings, truncate=whole))
        wanted = [yarn_turn(i, 4, 5, 2, 200, whole=whole) for i in range(WIDTH // 2)]
        assert rope.frequencies == pytest.approx(wanted, rel=1e-5)


def test_angles_begin_where_they_are_told():
    rope = read(newer(rope_type="default"))
    some, every = rope.angles(range(5, 8)), rope.angles(range(8))
    assert np.array_equal(some.angle, every.angle[5:])
    assert np.array_equal(some.rotary.cos_PR, every.rotary.cos_PR[5:])
    assert np.array_equal(some.rotary.sin_PR, every.rotary.sin_PR[5:])


def test_factors_of_a_gguf_file_slow_each_turn_by_its_own():
    rope = Rope(frequencies=(1.0, 0.5, 0.25), attention_factor=1.2)
    slowed = rope.slowed(np.array([1, 2, 8], np.float32), GGUF)
    assert slowed == Rope(frequencies=(1.0, 0.25, 0.03125), attention_factor=1.2)


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        (np.ones(2), "2 rope factors"),
        (np.ones((3, 1)), "factors"),
        (np.array([1, 0, 1]), "finite"),
        (np.array([1, np.nan, 1]), "finite"),
    ],
)
def test_factors_that_do_not_fit_are_refused(factors, said):
    rope = Rope(frequencies=(1.0, 0.5, 0.25))
    with pytest.raises(ContentError, match=rf"f\.gguf: .*{said}"):
        rope.slowed(factors.astype(np.float32), GGUF)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (newer(rope_type="proportional", factor=2.0), "rope_type is 'proportional'"),
        (newer(rope_type="dynamic"), "the key factor is missing"),
        (newer(rope_type="dynamic", factor=-2), "factor is -2"),
        (older(type="su"), "type is 'su'"),
        (newer(rope_type="linear"), "the key factor is missing"),
        (newer(rope_theta=-1.0), "rope_theta is -1.0"),
        ({"rope_theta": True}, "rope_theta is True"),
        ({"rope_parameters": "yarn"}, "rope_parameters is 'yarn', not an object"),
        ({"rope_scaling": [1]}, r"rope_scaling is \[1\], not an object"),
        (newer(**YARN, beta_fast=1e308), "finite"),
        (newer(**YARN, beta_slow=5e-324), "finite"),
        ({"rope_parameters": {**YARN, "rope_theta": 1.0}}, "finite"),
        (newer(rope_theta=1e-320), "finite"),
        (newer(**YARN, mscale=1e400), "mscale is inf"),
        (newer(**YARN, mscale=10**400), "mscale is 1000"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(values, said):
    with pytest.raises(ContentError, match=said) as refused:
        read(values)
    assert refused.value.message.startswith("c.json")
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    ("known", "more"),
    [
        ({"rope_type": "default"}, {"factor": 2.0}),
        ({"rope_type": "linear", "factor": 2.0}, {"beta_fast": 1.0}),
        (LLAMA3, {"attention_factor": 1.5}),
        ({}, {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0}),
        ({"rope_type": "default"}, {"partial_rotary_factor": 1.0}),
        ({"rope_type": "default"}, {"mrope_section": None}),
    ],
)
@pytest.mark.parametrize("spell", [newer, older])
def test_a_key_that_its_kind_does_not_read_changes_nothing(spell, known, more):
    """Keys of other kinds say nothing here; what no kind has is named."""
    section = "rope_scaling" if spell is older else "rope_parameters"
    assert unknown(spell(**known)) == []
    assert unknown(spell(**known, **more)) == []
    assert read(spell(**known, **more)) == read(spell(**known))
    assert unknown(spell(**known, **more, xyzzy=None)) == [f"{section}.xyzzy"]


@pytest.mark.parametrize("spell", [newer, older])
def test_a_share_of_the_dimensions_is_refused_where_the_reference_would_fail(spell):
    """It reads the share only where it scales, though its heads rotate whole."""
    scaled = {"rope_type": "linear", "factor": 2.0}
    for values in (
        spell(**scaled, partial_rotary_factor=0.5), spell(**scaled) | {"partial_rotary_factor": 0.5}
    ):  # fmt: skip
        with pytest.raises(ContentError, match=r"partial_rotary_factor is 0\.5"):
            read(values)
        assert read(values, ignored=["partial_rotary_factor"]) == read(spell(**scaled))
    for values in (spell(partial_rotary_factor=0.5), spell() | {"partial_rotary_factor": 0.5}):
        assert read(values) == read(spell()) and unknown(values) == []
        with pytest.raises(ContentError, match="partial_rotary_factor is 'half'"):
            read(spell(partial_rotary_factor="half"))


SHARED = 3  # what 0.75 of a head of 4 comes to: as many pairs, but other exponents


@pytest.mark.parametrize(("settings", "wanted"), [
    ({"rope_type": "linear", "factor": 2.0}, lambda turn: turn / 2),
    ({"rope_type": "dynamic", "factor": 2.0}, lambda turn: turn),
    (LLAMA3 | {"original_max_position_embeddings": 64}, lambda t: llama3_turn(t, 8, 1, 4, 64)),
    ({"rope_type": "longrope", "short_factor": [1.7], "long_factor": [2.3]}, lambda t: t / 1.7),
])  # fmt: skip
def test_a_share_that_leaves_every_pair_is_what_the_frequencies_are_made_for(settings, wanted):
    """As the reference's functions that scale them make an exponent of i / 3 there, not i / 4."""
    values = newer(**settings, partial_rotary_factor=0.75)
    found = read_rope(ConfigReader(values, "c.json"), 4, CONTEXT)
    turns = [1.0, 1000.0 ** (-2 / SHARED)]
    assert found.frequencies == pytest.approx([wanted(turn) for turn in turns], rel=1e-5)


@pytest.mark.parametrize("share", [1e308, -1e308, 0, 2, 1.34, 0.5])
def test_no_other_share_is_taken(share):
    values = newer(rope_type="linear", factor=2.0, partial_rotary_factor=share)
    with pytest.raises(ContentError, match="the heads of this model rotate whole"):
        read_rope(ConfigReader(values, "c.json"), 4, CONTEXT)


def test_yarns_ramp_has_one_step_for_both_pairs_of_three_dimensions():
    more = {"partial_rotary_factor": 0.75, "original_max_position_embeddings": 600}
    values = newer(**YARN, beta_fast=8.0, beta_slow=0.01, **more)
    found = read_rope(ConfigReader(values, "c.json"), 4, CONTEXT).frequencies

    def dimension(turns):
        return SHARED * math.log(600 / (turns * 2 * math.pi)) / (2 * math.log(1000.0))

    low = max(math.floor(dimension(8.0)), 0)
    share = min(max((0 - low) / (min(math.ceil(dimension(0.01)), 2) - low), 0), 1)
    turns = [1.0, 1000.0 ** (-2 / SHARED)]
    assert found == pytest.approx([t / 4 * share + t * (1 - share) for t in turns], rel=1e-5)
    with pytest.raises(ContentError, match="5 numbers of a head, an odd count"):
        read_rope(ConfigReader(newer(**YARN, partial_rotary_factor=0.9), "c.json"), 6, CONTEXT)


@pytest.mark.parametrize("spell", [newer, older])
def test_a_dynamic_base_is_the_plain_one_up_to_the_context_and_unknown_beyond(spell):
    rope = read(spell(type="dynamic", factor=1.3))
    assert rope.frequencies == pytest.approx(PLAIN, rel=1e-6)
    plain, found = read(spell()).angles(range(CONTEXT)), rope.angles(range(CONTEXT))
    assert np.allclose(found.rotary.cos_PR, plain.rotary.cos_PR, atol=1e-5)
    for at in (range(CONTEXT + 1), [CONTEXT]):
        with pytest.raises(ContentError, match=r"beyond 256 tokens .* dynamic"):
            rope.angles(at)
    with pytest.raises(ContentError, match="finite"):
        read_rope(ConfigReader(spell(type="dynamic", factor=2.0), "c.json"), 2, CONTEXT)


def test_a_truncate_of_null_is_false_as_the_reference_reads_it():
    whole, cut, null = (
        read(newer(**YARN, original_max_position_embeddings=60, **more)).frequencies
        for more in ({}, {"truncate": False}, {"truncate": None})
    )
    assert null == cut != whole


def test_a_key_may_be_ignored_on_request():
    spoilt = newer(**YARN, attention_factor="no number")
    assert read(spoilt, ignored=["attention_factor"]) == read(newer(**YARN))
    with pytest.raises(ContentError, match="attention_factor is 'no number'"):
        read(spoilt)


@pytest.mark.parametrize("high", [1.0, 0.5])
def test_llama3s_bounds_may_meet_or_cross_without_a_warning(high):
    """As in the reference; with both at one wavelength nothing lies between."""
    rope = read(newer(**{**LLAMA3, "high_freq_factor": high}))
    assert np.isfinite(rope.frequencies).all()


def test_long_rope_takes_its_second_table_beyond_the_first_context():
    plain = Rope(frequencies=(1.0, 0.5), attention_factor=1.5)
    short, long = np.array([1, 2], np.float32), np.array([4, 8], np.float32)
    rope = plain.of_two_lengths(short, long, 10, GGUF)
    for start, count, factors in ((0, 10, short), (9, 1, short), (0, 11, long), (10, 1, long)):
        rotary = rope.angles(range(start, start + count)).rotary
        turned = np.arange(start, start + count)[:, None] * (np.array([1.0, 0.5]) / factors)
        assert np.allclose(rotary.cos_PR, 1.5 * np.cos(turned), atol=1e-6)
        assert np.allclose(rotary.sin_PR, 1.5 * np.sin(turned), atol=1e-6)
    with pytest.raises(ContentError, match="do not fit"):
        plain.of_two_lengths(short[:1], long, 10, GGUF)
