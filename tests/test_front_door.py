"""`import attn_cli`: what the docstring promises, from Python and without waste."""

import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import attn_cli
from attn_cli import vocabulary
from attn_cli.analysis.sample import Sampling
from attn_cli.errors import AttnError, ContentError, NoModelError, UsageError
from attn_cli.maths import cores

PROMPT = "the greatest thinker in China is"


def python(code):
    """Runs code in a new interpreter and gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def trace():
    return attn_cli.trace(PROMPT, model="tiny")


@pytest.fixture(scope="module")
def model():
    return attn_cli.load("tiny")


def test_the_docstrings_example(trace):
    weights = trace.attention[0].weights
    assert weights.shape == (4, 6, 6)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
    assert trace.next[0].candidates[0].text == "Confucius"
    assert trace.prompt.labels == tuple(PROMPT.split())
    assert "t.attention[0].weights" in attn_cli.__doc__


@pytest.mark.parametrize("name", ["trace", "load"])
@pytest.mark.parametrize("text", ["many", "0", "-1", "1_0", "\u0663", "9" * 5000])
def test_threads_that_are_no_number_are_refused(monkeypatch, name, text):
    monkeypatch.setenv("ATTN_THREADS", text)
    with pytest.raises(UsageError, match=r"^ATTN_THREADS ") as refused:
        getattr(attn_cli, name)("tiny")
    assert refused.value.hint == "a whole number, 1 to 1024"


def test_the_front_door_has_the_threads_that_are_asked_for(monkeypatch):
    for text, count in (("3", 3), ("", cores.cores())):
        monkeypatch.setenv("ATTN_THREADS", text)
        attn_cli.load("tiny")
        assert cores.threads() == count


def test_blas_has_no_threads_of_its_own():
    """It reads how many it may have when numpy is imported, and never again."""
    unset = "import os; os.environ.pop('OPENBLAS_NUM_THREADS', 0); import attn_cli; attn_cli.load; "
    told = (
        "from threadpoolctl import threadpool_info as all; print({n['num_threads'] for n in all()})"
    )
    assert python(unset + told) == "{1}"


def test_the_version_needs_neither_numpy_nor_threads():
    seen = "import sys; from attn_cli.cli import app; app.run(['--version']); print(*sys.modules)"
    loaded = set(python(seen).split())
    assert {"attn_cli", "typer"} <= loaded
    assert not loaded & {"numpy", "orjson", "concurrent.futures", "threadpoolctl", "rich.table"}


def test_everything_is_traced_unless_told_otherwise(trace, model):
    assert [block.layer for block in trace.attention] == [0, 1]
    assert all(block.heads == (0, 1, 2, 3) for block in trace.attention)
    of_others = {"bias", "q_unrotated", "k_unrotated", "key_x", "type_embedding"}
    of_others |= vocabulary.OF_DISTANCES | {*vocabulary.SINKS.values()}
    of_others |= vocabulary.LATENTS | {"b_k_rotated", "b_q_down", "b_kv_down"}
    of_others |= {"content_to_content", "content_to_position", "position_to_content"}
    assert set(trace.attention[0].arrays) == {
        name for name in vocabulary.ARRAYS if not name.startswith("w_") and name not in of_others
    }
    one = attn_cli.trace(PROMPT, model=model, layer=1, head=[2, 0], arrays=["weights"], next=False)
    assert [(b.layer, b.heads, list(b.arrays)) for b in one.attention] == [(1, (2, 0), ["weights"])]
    assert one.next == ()
    np.testing.assert_array_equal(one.block(1).weights, trace.block(1).weights[[2, 0]])


@pytest.mark.parametrize("code", [
    "import attn_cli.records; import attn_cli; print(attn_cli.trace('the').model.name)",
    "import attn_cli as a; from attn_cli.records import Trace; print(type(a.trace('the')) is Trace)",  # noqa: E501
    "from attn_cli.analysis import heads, loss, mask, sample; import attn_cli as a;"
    "print(a.heads(a.trace('the king')).heads[0].head, a.loss.__name__)",
    "import sys, attn_cli.records; print(sys.modules['attn_cli.records'].Trace.__name__)",
])  # fmt: skip
def test_a_submodule_imported_first_does_not_take_the_functions_place(code):
    expected = {"tiny", "True", "0 loss", "Trace"}
    assert python(code) in expected


def test_the_analyses_behind_the_commands(trace, model):
    found = attn_cli.heads(trace, 1)
    assert (found.layer, len(found.heads), found.weights.shape) == (1, 4, (4, 6, 6))
    effect = attn_cli.mask(trace, attn_cli.trace(PROMPT, mask=["window:2"]), 0, 3, top=2)
    assert (effect.layer, effect.head, len(effect.next_before) >= 2) == (0, 3, True)
    drawn = attn_cli.sample(model, trace.prompt, Sampling(temperature=0), seed=0)
    assert drawn.text == "Confucius"
    assert attn_cli.loss(model, trace.prompt).positions[0].next_token == "greatest"


def test_arrays_are_read_only_and_records_frozen(trace):
    for block in trace.attention:
        for array in block.arrays.values():
            assert not array.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
    for record, name in ((trace, "notes"), (trace.attention[0], "layer"), (trace.model, "name")):
        with pytest.raises(FrozenInstanceError):
            setattr(record, name, None)


def test_what_is_not_there_is_an_attribute_error(trace):
    with pytest.raises(AttributeError, match=r"no array 'attention'.*weights"):
        _ = trace.attention[0].attention
    with pytest.raises(AttributeError, match="has no attribute 'explain'"):
        _ = attn_cli.explain
    with pytest.raises(KeyError):
        trace.block(7)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: attn_cli.trace("", model="tiny"), UsageError),
        (lambda: attn_cli.trace("the " * 300), ContentError),
        (lambda: attn_cli.trace("the", layer=2), UsageError),
        (lambda: attn_cli.trace("the", head="9"), UsageError),
        (lambda: attn_cli.trace("the", attention_temperature=float("nan")), UsageError),
        (lambda: attn_cli.trace("the", mask=["none", "causal"]), UsageError),
        (lambda: attn_cli.trace(ids=[10**6]), UsageError),
        (lambda: attn_cli.load("no/such"), NoModelError),
        (lambda: attn_cli.load("nul\0"), NoModelError),
        (lambda: attn_cli.heads(attn_cli.trace("the", layer=0), 1), UsageError),
        (lambda: attn_cli.heads(attn_cli.trace("the", arrays=["weights"])), UsageError),
        (lambda: attn_cli.loss(attn_cli.load(), attn_cli.trace("the").prompt), UsageError),
    ],
)
def test_errors_are_ours_and_have_a_message(call, error):
    with pytest.raises(error) as raised:
        call()
    assert isinstance(raised.value, AttnError)
    assert raised.value.message


def test_the_package_names_what_it_has():
    assert set(attn_cli.__all__) == {
        "__version__", "ask", "compare", "heads", "lens", "load", "loss", "mask", "sample", "trace"
    }  # fmt: skip
    assert all(getattr(attn_cli, name) for name in attn_cli.__all__)


HEAVY = "sorted(m for m in ('numpy', 'rich', 'orjson', 'pydantic') if m in sys.modules)"


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_version_and_help_import_neither_numpy_nor_rich(arguments):
    code = (
        f"import sys, atexit, os\nfrom attn_cli.cli import app\n"
        f"code = app.run({arguments!r})\nsys.stdout.flush()\n"
        f"print(code, {HEAVY})"
    )
    last = python(code).splitlines()[-1]
    assert last == "0 []"


def test_importing_the_package_imports_no_numpy():
    assert python(f"import sys, attn_cli; print({HEAVY})") == "[]"


def test_a_trace_needs_no_rich():
    code = f"import sys, attn_cli; attn_cli.trace('the'); print({HEAVY})"
    assert python(code) == "['numpy']"


def test_a_page_imports_no_more_than_it_needs():
    code = (
        "import sys; from attn_cli.cli import app; app.cores.before_numpy(); "
        "code = app.run(['trace', 'the king']); print(code, *sys.modules)"
    )
    code, *loaded = python(code).splitlines()[-1].split()
    assert code == "0"
    assert {"attn_cli.views.table", "attn_cli.families.gpt2", "rich.text", "numpy"} <= {*loaded}
    assert not [
        name for name in loaded
        if name.startswith((
            "attn_cli.training", "attn_cli.analysis.", "rich.console", "rich.table", "rich.live",
            "rich.markup", "orjson", "concurrent.futures", "threadpoolctl", "tokenizers", "gguf",
            "sentencepiece", "attn_cli.opening.hub", "attn_cli.opening.ollama",
            "attn_cli.checkpoints.gguf", "attn_cli.checkpoints.dequantise",
            "attn_cli.checkpoints.torch", "attn_cli.tokens.library", "attn_cli.tokens.chat",
            "attn_cli.model.rope",
        ))
    ]  # fmt: skip
    families = {name for name in loaded if name.startswith("attn_cli.families.")}
    assert families == {"attn_cli.families.gpt2"}


def test_the_installed_version_is_the_packages():
    done = subprocess.run(
        [sys.executable, "-m", "attn_cli", "--version"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == f"attn {attn_cli.__version__}\n"
    assert (done.returncode, done.stderr) == (0, "")
