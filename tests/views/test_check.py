"""The small validator says of every document what the jsonschema library says."""

import copy

import jsonschema
import pytest
from cli.conftest import run
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.cli.schema import document_schema
from attn_cli.views.check import fault

PROMPT = "the king is"
COMMANDS = {
    "trace": ("--step", "5"), "heads": ("--layer", "all"), "mask": (), "sample": ("--seed", "1"),
    "loss": (), "lens": (), "verify": (), "models": (),
}  # fmt: skip
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 9), st.sampled_from([0.5, 1.0, -3.0, 1e300]),
    st.text(max_size=4), st.sampled_from(["decoder", "real", "attn.trace/1"]), st.just([]),
    st.just({}), st.lists(st.one_of(st.integers(0, 2), st.none(), st.booleans()), max_size=3),
    st.recursive(st.floats(-1, 1), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
)  # fmt: skip


@pytest.fixture(scope="module")
def documents():
    found = {}
    for command, more in COMMANDS.items():
        text = () if command == "models" else (PROMPT,)
        found[command] = run(command, *text, *more, "--json").json
    return found


def places(value, at=()):
    """Every path into a document."""
    yield at
    keys = (
        range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
    )
    for key in keys:
        yield from places(value[key], (*at, key))


@pytest.mark.parametrize("command", COMMANDS)
@given(data=st.data())
@settings(max_examples=60)
def test_every_changed_document_is_judged_alike(documents, command, data):
    schema = document_schema(command)
    document = copy.deepcopy(documents[command])
    for _ in range(data.draw(st.integers(0, 2))):
        path = data.draw(st.sampled_from([place for place in places(document) if place]))
        at = document
        for step in path[:-1]:
            at = at[step]
        how = data.draw(st.sampled_from(["put", "remove", "add"]))
        if how == "remove":
            del at[path[-1]]
        elif how == "add" and isinstance(at, dict):
            at["more"] = data.draw(ODD)
        else:
            at[path[-1]] = data.draw(ODD)
    valid = jsonschema.Draft202012Validator(schema).is_valid(document)
    assert (fault(schema, document) == "") == valid


@given(value=ODD)
def test_true_is_not_one_and_a_whole_real_number_is_whole(value):
    schemas = [
        {"type": "integer"}, {"const": 1}, {"enum": [True, "real"]}, {"const": None},
        {"type": ["string", "null"]}, {"type": "array", "items": {"type": "integer"}},
        {"anyOf": [{"type": "null"}, {"type": "array", "items": {"const": 0}}]},
    ]  # fmt: skip
    for schema in schemas:
        valid = jsonschema.Draft202012Validator(schema).is_valid(value)
        assert (fault(schema, value) == "") == valid


def test_a_fault_is_named_with_its_place(documents):
    schema, document = document_schema("trace"), copy.deepcopy(documents["trace"])
    document["attention"][0]["arrays"]["weights"]["shape"][1] = "3"
    said = "attention[0].arrays.weights.shape[1] is '3', not a whole number"
    assert fault(schema, document) == said
    document["attention"][0]["arrays"]["weights"] = {}
    assert fault(schema, document) == "attention[0].arrays.weights has no step"
    assert fault(schema, []) == "the document is [], not an object"
    deep = 1
    for _ in range(1000):
        deep = [deep]
    document["attention"][0]["arrays"] = {}
    nested = {**documents["mask"], "result": {**documents["mask"]["result"], "moved": deep}}
    assert fault(document_schema("mask"), nested) == "the document is nested too deeply"


def test_all_that_schemas_say_is_understood():
    """A word of JSON Schema that the validator does not know would be ignored by it."""
    known = {"type", "const", "enum", "anyOf", "properties", "required", "additionalProperties",
             "items", "$ref", "$defs"}  # fmt: skip
    silent = {"$schema", "title", "description", "contentEncoding"}

    def words(schema):
        yield from schema
        for key in ("properties", "$defs"):
            for inner in schema.get(key, {}).values():
                yield from words(inner)
        for inner in [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]:
            yield from words(inner)

    for command in COMMANDS:
        assert set(words(document_schema(command))) <= known | silent


@pytest.mark.parametrize("value", [[1, 2.0], [1.0, 0.5], [True], [2.0, None], ["a"], []])
def test_every_number_of_a_list_of_whole_numbers_is_looked_at(value):
    schema = {"type": "array", "items": {"type": "integer"}}
    assert (fault(schema, value) == "") == jsonschema.Draft202012Validator(schema).is_valid(value)
