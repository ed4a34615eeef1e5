"""The reader of a config: getters, sections, keys that are ignored, unknown or named otherwise."""

import pytest

from attn_cli.errors import ContentError
from attn_cli.model.config import ConfigReader

GETTERS = {
    "integer": lambda reader: reader.integer("a"),
    "positive": lambda reader: reader.positive("a"),
    "choice": lambda reader: reader.choice("a", ("x", "y")),
    "positives": lambda reader: reader.positives("a", 2),
}
DEFAULTS = {
    "integer": (lambda reader: reader.integer("a", 3), 3),
    "positive": (lambda reader: reader.positive("a", 0.5), 0.5),
    "number": (lambda reader: reader.number("a", -2.0), -2.0),
    "cap": (lambda reader: reader.cap("a"), 0.0),
    "flag": (lambda reader: reader.flag("a", True), True),
    "choice": (lambda reader: reader.choice("a", ("x", "y"), "y"), "y"),
    "mapping": (lambda reader: reader.mapping("a"), {}),
    "words": (lambda reader: reader.words("a", ("x", "y"), 2), ()),
    "some_words": (lambda reader: reader.some_words("a", ("x", "y")), ()),
    "take": (lambda reader: reader.take("b", "a") or reader.integer("b"), 7),
    "only": (lambda reader: reader.only("a", False), None),
}
UNFIT = {
    "integer": (0, -1, 2**31, 1.0, "1", True, [1], {}),
    "positive": (0, -0.5, float("inf"), float("nan"), "1", True, 10**400),
    "number": (float("inf"), float("nan"), "1", True, 10**400),
    "cap": (0, -1, "1", True),
    "flag": (0, 1, "true"),
    "choice": ("z", 1, ["x"]),
    "mapping": ([], 1, "x"),
    "words": ("xy", ["x"], ["x", "z"], ["x", "y", "x"]),
    "some_words": (1, "x|z", "xy", ["z"], ["X"], ["x", 1], [["x"]], {}, True),
    "only": (True, 1.5, "no"),
}


@pytest.mark.parametrize("values", [{}, {"a": None}])
@pytest.mark.parametrize("getter", GETTERS)
def test_a_key_without_a_default_must_be_there(getter, values):
    with pytest.raises(ContentError, match=r"c\.json: the key a is missing"):
        GETTERS[getter](ConfigReader(values, "c.json"))


@pytest.mark.parametrize("values", [{}, {"a": None}])
@pytest.mark.parametrize("getter", DEFAULTS)
def test_a_null_is_as_good_as_absent(getter, values):
    get, wanted = DEFAULTS[getter]
    reader = ConfigReader({**values, "b": 7}, "c.json")
    assert get(reader) == wanted
    assert not reader.has("a")
    assert reader.says("a") == ("a" in values)
    reader.finish({"b"})
    assert reader.unknown == []


@pytest.mark.parametrize(("getter", "value"), [(g, v) for g, vs in UNFIT.items() for v in vs])
def test_a_value_of_another_kind_is_refused_by_its_key(getter, value):
    with pytest.raises(ContentError, match=r"^c\.json: a is ") as refused:
        DEFAULTS[getter][0](ConfigReader({"a": value}, "c.json"))
    assert len(refused.value.message) < 200


def test_a_key_that_changes_something_is_refused_with_what_to_do():
    with pytest.raises(ContentError, match="a is true, which attn does not know") as refused:
        ConfigReader({"a": True}, "c").only("a", False)
    assert "--ignore-config a" in refused.value.hint
    for value in (None, False):
        with pytest.raises(ContentError, match=f"a is {'null' if value is None else 'false'}"):
            ConfigReader({"a": value}, "c").only("a", True, null=False)
    ConfigReader({"a": None}, "c").only("a")
    ConfigReader({"a": True}, "c", ["a"]).only("a", False)
    ConfigReader({"a": 2}, "c").only("a", 1, 2)


def test_keys_that_nobody_asks_for_are_unknown_wherever_they_stand():
    reader = ConfigReader({"a": 1, "z": 2, "inner": {"b": 3, "y": 4}, "harmless": 5}, "c")
    inner = reader.section("inner")
    assert (reader.integer("a"), inner.integer("b")) == (1, 3)
    inner.leave()
    reader.finish({"harmless"})
    assert reader.unknown == ["inner.y", "z"]
    assert inner.unknown is reader.unknown


def test_ignored_keys_are_not_there_in_sections_too():
    reader = ConfigReader({"a": "x", "inner": {"a": "y", "b": 3}}, "c", ["a"])
    inner = reader.section("inner")
    assert (reader.integer("a", 1), inner.integer("a", 2), inner.integer("b")) == (1, 2, 3)
    inner.leave()
    reader.finish()
    assert reader.unknown == []


def test_what_every_family_has_is_harmless():
    reader = ConfigReader({"model_type": "x", "torch_dtype": "float16", "pad_token_id": 3}, "c")
    reader.finish()
    assert reader.unknown == []


def test_a_section_says_where_it_stands():
    section = ConfigReader({"inner": {"a": 0}}, "c.json").section("inner")
    with pytest.raises(ContentError, match=r"^c\.json: inner: a is 0"):
        section.integer("a")


def test_names_are_those_of_the_users_file():
    reader = ConfigReader({"a": 0, "inner": {"b": 0}}, "f.gguf", names={"a": "x.a", "b": "x.b"})
    with pytest.raises(ContentError, match=r"^f\.gguf: x\.a is 0"):
        reader.integer("a")
    # Such a name says in full where it belongs.
    with pytest.raises(ContentError, match=r"^f\.gguf: x\.b is 0"):
        reader.section("inner").integer("b")
    with pytest.raises(ContentError, match=r"the key x\.c is missing"):
        ConfigReader({}, "f.gguf", names={"c": "x.c"}).integer("c")
    with pytest.raises(ContentError, match=r"x\.a is true") as refused:
        ConfigReader({"a": True}, "f.gguf", names={"a": "x.a"}).only("a", False)
    assert "--ignore-config x.a" in refused.value.hint


def test_defaults_of_a_family_fill_what_is_absent_and_not_a_null():
    reader = ConfigReader({"a": 1, "cap": None}, "c", ["b"])
    filled = reader.with_defaults({"a": 5, "b": 6, "cap": 50.0})
    assert (filled.integer("a"), filled.cap("cap"), filled.integer("b", 7)) == (1, 0.0, 7)
    filled.finish()
    assert filled.unknown is reader.unknown


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"own": 3}, 3),
        ({"standard": 4}, 4),
        ({"own": 3, "standard": 4}, 4),
        ({"own": 3, "standard": None}, 3),
        ({"own": None, "standard": 4}, 4),
    ],
)
def test_another_spelling_of_a_key_has_the_last_word(values, wanted):
    reader = ConfigReader(values, "c")
    reader.take("own", "standard")
    assert reader.integer("own") == wanted
    reader.finish()
    assert reader.unknown == []


def test_equal_shares_and_two_names():
    reader = ConfigReader({"w": 12, "h": 5, "new": 3, "old": 4}, "c")
    with pytest.raises(ContentError, match="w 12 does not divide by h 5"):
        reader.equal_shares("w", "h")
    assert ConfigReader({"w": 12, "h": 4}, "c").equal_shares("w", "h") == (12, 4)
    reader.take("old", "new")
    assert reader.integer("old") == 3
    only_old, other = ConfigReader({"old": 4}, "c"), ConfigReader({"old": 3, "new": 0}, "c")
    only_old.take("old", "new")
    assert only_old.integer("old") == 4
    other.take("old", "new")
    with pytest.raises(ContentError, match="new is 0"):
        other.integer("old")
    assert ConfigReader({"a": [1, 2.5]}, "c").positives("a", 2) == (1.0, 2.5)
    for value in ([1], [1, 0], [1, True], "ab"):
        with pytest.raises(ContentError, match=r"^c: a is "):
            ConfigReader({"a": value}, "c").positives("a", 2)


@pytest.mark.parametrize(
    ("key", "value"), [("is_causal", False), ("is_causal", None), ("per_layer_config", {"0": {}})]
)
def test_what_changes_every_family_is_refused_at_the_end(key, value):
    with pytest.raises(ContentError, match=f"{key} is "):
        ConfigReader({key: value}, "c").finish()
    ConfigReader({key: value}, "c", [key]).finish()
    ConfigReader({key: value}, "c").leave({key})


@pytest.mark.parametrize(("value", "wanted"), [
    ("x|y", ("x", "y")), (" Y | x ", ("y", "x")), ("y", ("y",)), ("", ()), ("|", ()),
    (["y", "x", "y"], ("y", "x")), ([], ()),
])  # fmt: skip
def test_some_words_stand_in_a_list_or_in_one_text(value, wanted):
    reader = ConfigReader({"a": value}, "c.json")
    assert reader.some_words("a", ("x", "y")) == wanted
    reader.finish()
    assert reader.unknown == []
