"""Every document of every command follows the schema that `attn schema` prints, and only that."""

import copy

import jsonschema
import pytest

from attn_cli import vocabulary

COMMANDS = (
    "trace", "heads", "mask", "sample", "loss", "embed", "lens", "compare", "why", "cost", "train",
    "models", "exercise",
)  # fmt: skip
PROMPT = "the greatest thinker in China is"
DOCUMENTS = [
    ("trace", PROMPT),
    ("trace", PROMPT, "--layer", "all", "--head", "all", "--parameters"),
    ("trace", PROMPT, "--step", "5", "--no-next"),
    ("trace", PROMPT, "--mask", "padding:6", "--attention-temperature", "0.5"),
    ("trace", "--ids", "5,6,7", "--without-head", "0.1"),
    ("trace", PROMPT, "--query", "is,0", "--key", "China", "--after"),
    ("trace", "\u4e2d\u56fd zyx\u00e9 \U0001f600", "-m", "random:layers=1,heads=2"),
    ("heads", PROMPT),
    ("heads", PROMPT, "--head", "1", "--layer", "1", "--mask", "none"),
    ("heads", PROMPT, "--layer", "all"),
    ("mask", PROMPT),
    ("mask", PROMPT, "--mask", "none"),
    ("mask", "the"),
    ("sample", PROMPT, "-t", "1.5", "--top-k", "5", "--top-p", "0.9", "--min-p", "0.1"),
    ("sample", PROMPT, "--draws", "20"),
    ("sample", PROMPT, "--sweep", "0,1,1e308", "-n", "3"),
    ("loss", PROMPT),
    ("embed", "father - man + woman"),
    ("embed", "--in", "the fashion model", "--in", "we train the model", "--token", "model"),
    ("cost", "--preset", "bart-large"),
    ("lens", PROMPT, "--per-head", "--watch", "Laozi"),
    ("lens", "the [MASK] is a man", "-m", "tiny-encoder"),
    ("compare", PROMPT, "--mask", "none"),
    ("compare", "the king", "the king is", "--step", "5", "--head", "1"),
    ("compare", "the king is", "-m", "tiny", "-m", "random:layers=1,heads=2"),
    ("compare", "the king", "--target", "x", "-m", "tiny-translator", "--without-head", "0.0"),
    ("why", PROMPT),
    ("why", PROMPT, "--query", "0", "--key", "5", "--mask-value", "0"),
    ("why", PROMPT, "--query", "0", "--key", "5"),
    ("why", PROMPT, "--array", "output", "--column", "3"),
    ("why", PROMPT, "--by", "component", "--layer", "1", "--step-back"),
    ("why", PROMPT, "--by", "component", "--logit", "Mencius"),
    ("models",),
    ("models", "tiny"),
    ("models", "random"),
    ("exercise", "--seed", "7"),
    ("exercise", PROMPT, "--seed", "7", "--key", "--step", "5"),
]


_made = {}


@pytest.fixture
def validator(attn):
    """What checks against the schema of a command, which is read once."""

    def of(*asked):
        if asked not in _made:
            _made[asked] = jsonschema.Draft202012Validator(attn("schema", *asked).json)
        return _made[asked]

    return of


def near(check, line):
    """What checks this line: of the many forms of one those that its name does not rule out."""
    forms = [
        form
        for form in check.schema.get("anyOf", ())
        if form["properties"].get("name", {}).get("const") in (None, line.get("name"))
    ]
    return check.evolve(schema=check.schema | {"anyOf": forms}) if forms else check


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("more", [(), ("--line",)])
def test_a_schema_is_one_itself(validator, command, more):
    jsonschema.Draft202012Validator.check_schema(validator(command, *more).schema)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_schema_names_its_document(attn, validator, command):
    schema = validator(command).schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"]["schema"] == {"const": f"attn.{command}/1"}
    assert schema["additionalProperties"] is False
    # Of mixtures alone a trace says which experts its tokens passed, and of NaN how many there are.
    assert set(schema["required"]) == set(schema["properties"]) - {"experts", "nonfinite"}


@pytest.mark.parametrize("arguments", DOCUMENTS, ids=" ".join)
def test_every_document_follows_its_schema(attn, validator, arguments):
    document = attn(*arguments, "--json").json
    validator(arguments[0]).validate(document)
    # A key too many or too few is not let through.
    light = {**document, "attention": []} if "attention" in document else document
    check = validator(arguments[0])
    assert check.is_valid(light)
    for key in light:
        assert not check.is_valid({k: v for k, v in light.items() if k != key})
    assert not check.is_valid({**light, "more": 1})


def test_the_document_of_a_training_follows_its_schema(attn, validator, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sees\na dog runs\n")
    asked = ("--width", 8, "--heads", 2, "--context", 16, "--steps", 2, "--quiet", "--json")
    document = attn("train", corpus, "--out", tmp_path / "m", *asked).json
    validator("train").validate(document)


@pytest.mark.parametrize("arguments", DOCUMENTS, ids=" ".join)
def test_every_ndjson_line_follows_its_schema(attn, validator, arguments):
    check = validator(arguments[0], "--line")
    lines = attn(*arguments, "--format", "ndjson").lines
    assert all(near(check, line).is_valid(line) for line in lines)
    for line in (lines[0], lines[-1]):
        form = near(check, line)
        assert not form.is_valid({**line, "more": 1})
        assert not any(form.is_valid({k: v for k, v in line.items() if k != key}) for key in line)


def test_a_json_line_with_other_keys_follows_the_schema(attn, validator):
    asked = ("trace", "--each", "line", "--step", "5", "--format", "ndjson")
    (document,) = attn(*asked, stdin=b'{"text": "the king", "id": 7}').lines
    assert document["prompt"]["given"] == {"id": 7}
    validator("trace").validate(document)
    validator("trace", "--line").validate(document)


def test_a_line_of_another_arrays_axes_is_not_let_through(attn, validator):
    line = attn("trace", PROMPT, "--step", "5", "--format", "ndjson").lines[0]
    check = validator("trace", "--line")
    for change in ({"name": "q"}, {"axes": ["key", "query"]}, {"head": None}, {"kv_head": 0}):
        assert not check.is_valid({**line, **change})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("attention", 0, "layer"), "0"),
        (("attention", 0, "arrays", "weights", "axes"), ["query", "key"]),
        (("attention", 0, "arrays", "weights", "provenance"), "made up"),
        (("attention", 0, "arrays", "weights", "values"), ["NaN"]),
        (("attention", 0, "arrays", "attention_weights"), {}),
        (("next", 0, "candidates", 0, "rank"), 1.5),
        (("prompt", "tokens", 0, "bytes"), 7),
        (("schema",), "attn.trace/2"),
    ],
)
def test_a_wrong_document_is_not_let_through(attn, validator, path, value):
    document = copy.deepcopy(attn("trace", PROMPT, "--json").json)
    at = document
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    assert not validator("trace").is_valid(document)


def test_the_trace_schema_names_the_vocabularys_arrays(attn):
    arrays = attn("schema").json["properties"]["attention"]["items"]["properties"]["arrays"]
    assert list(arrays["properties"]) == list(vocabulary.ARRAYS)
    for name, spec in vocabulary.ARRAYS.items():
        assert arrays["properties"][name]["properties"]["axes"] == {"const": list(spec.axes)}


def test_trace_is_the_default_and_out_writes_a_file(attn, tmp_path):
    assert attn("schema").out == attn("schema", "trace").out
    path = tmp_path / "schema.json"
    assert attn("schema", "loss", "--out", path).out == b""
    assert path.read_bytes() == attn("schema", "loss").out


def test_an_unknown_command_has_no_schema(attn):
    refused = attn("schema", "explain")
    assert refused.code == 2
    assert all(command in refused.said for command in COMMANDS)
