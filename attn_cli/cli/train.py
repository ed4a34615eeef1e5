"""`attn train`: trains a small model on a text file and shows attention forming."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from typer import Argument, Option

from attn_cli.cli import output
from attn_cli.cli.options import FORMATS, OutputOptions, one_of, real, whole
from attn_cli.errors import ContentError, UsageError
from attn_cli.files import read_text, reason

if TYPE_CHECKING:
    from attn_cli.training.data import Corpus
    from attn_cli.training.loop import Run, State, StepRecord, TrainingSettings

# What `checkpoint.save` writes.
_WRITTEN = (
    "model.safetensors", "config.json", "tokenizer.json", "training.safetensors", "training.json",
)  # fmt: skip

EXAMPLES = (
    "attn train samples/corpus.txt --out my-model --steps 300",
    "attn train samples/corpus.txt --out my-model --resume",
    'attn trace "the greatest thinker in China is" --model my-model',
)


def _whole(option: str, low: int, high: int, shown: str, text: str = "") -> Any:
    """A whole number that has no value here unless it is given; `shown` is what it then is."""
    parser = whole(option, low, high)
    return Annotated[int | None, Option(parser=parser, metavar="N", show_default=shown, help=text)]


def _text(metavar: str, shown: str, text: str) -> Any:
    return Annotated[str | None, Option(metavar=metavar, show_default=shown, help=text)]


Rate = Annotated[
    float | None,
    Option(parser=real("--learning-rate", 0), metavar="R", show_default="0.01",
           help="The highest of the run."),
]  # fmt: skip
Resume = Annotated[bool, Option("--resume", help="Go on with the unfinished run in DIR.")]
Format = Annotated[
    str,
    Option(metavar="FORMAT", parser=one_of("--format", FORMATS[:2]), show_default="table",
           help="table or json."),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """The shape of the model, the run, and what is watched; None where nothing was typed."""

    layers: _whole("--layers", 1, 96, "2") = None
    heads: _whole("--heads", 1, 96, "4") = None
    width: _whole("--width", 1, 4096, "32", "Model width, divided among the heads.") = None
    context: _whole("--context", 2, 65536, "256") = None
    steps: _whole("--steps", 1, 10**9 - 1, "2000") = None
    seed: _whole("--seed", 0, 10**9 - 1, "0") = None
    learning_rate: Rate = None
    watch: _text("WORD", "China", "The word whose vector is shown moving; '' for none.") = None
    watch_prompt: _text("TEXT", "sample prompt", "Its last token is watched; '' for none.") = None
    watch_key: _text("TOKEN", "China", "The token it may come to look at.") = None

    def given(self) -> dict[str, Any]:
        """What was typed, under the names that TrainingSettings has for it."""
        names = {
            "learning_rate": "peak_learning_rate", "watch": "watched_word",
            "watch_prompt": "watched_prompt", "watch_key": "watched_key",
        }  # fmt: skip
        typed = {field.name: getattr(self, field.name) for field in fields(self)}
        return {names.get(n, n): value for n, value in typed.items() if value is not None}


def command(
    corpus: Annotated[str, Argument(metavar="CORPUS", help="A text file, one sentence to a line.")],
    out: Annotated[str, Option("--out", metavar="DIR", help="The folder of the checkpoint.")],
    training: TrainingOptions,
    resume: Resume = False,
    format: Format = "",
    json: Annotated[bool, Option("--json", help="Short for --format json.")] = False,
    quiet: Annotated[bool, Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Next-token prediction at every position at once, with AdamW; saves a GPT-2-layout checkpoint.

    Shows the loss beside the corpus's entropy floor, a head forming, a word's vector moving.
    Ctrl-C saves the run; --resume goes on as if nothing had happened.
    """
    # One thread: small matrices gain little from two, and the same seed gives the same bytes
    # whatever the number of cores. It counts because numpy has not been imported yet.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from attn_cli.training import checkpoint, loop
    from attn_cli.training.data import read_corpus

    if not out:
        raise UsageError("--out is empty", "give the folder of the checkpoint: --out DIR")
    directory = Path(out)
    given = training.given()
    if not resume:
        _refuse_to_overwrite(directory)
    text = read_corpus(read_text(Path(corpus))[0])
    settings = _settings(directory, given, text, resume)
    _check_memory(settings, text)
    run = loop.start(
        settings, text, checkpoint.resume(directory, settings, text) if resume else None
    )
    _make(directory)
    states = deque([run.state], maxlen=2)
    try:
        history = output.follow(_kept(loop.train(run), run, states), settings, quiet=quiet)
    except BaseException as problem:
        _rescue(problem, run, states[0], corpus, directory)
    checkpoint.save(directory, run)
    _report(run, history, directory, json or format == "json")


def _refuse_to_overwrite(directory: Path) -> None:
    from attn_cli.training import checkpoint

    if checkpoint.unfinished(directory):
        raise UsageError(f"{directory} holds an unfinished training", "--resume goes on with it")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file, not a folder", "choose another --out")
    held = [name for name in _WRITTEN if os.path.lexists(directory / name)]
    if held:
        what = "a model" if held[0] == _WRITTEN[0] else held[0]
        raise UsageError(f"{directory} already holds {what}", "choose another --out")


def _check_memory(settings: "TrainingSettings", corpus: "Corpus") -> None:
    """Refuses, before anything is allocated, a run whose largest step cannot fit."""
    # Weights of every layer are kept for the way back, which has about five such arrays at a time.
    rows = max(1, settings.batch_tokens // settings.context)
    cells = rows * settings.heads * settings.context**2
    attention = 4 * cells * (settings.layers + 5)
    # Parameters, two moments and gradients, the new ones of the first three, and the state before.
    width = settings.width
    size = 12 * settings.layers * width**2 + width * (corpus.tokenizer.size + settings.context)
    parameters = 4 * size * 10
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if attention + parameters > have:
        smaller = "--context" if attention > parameters else "--width, or fewer --layers"
        raise ContentError(
            f"a step needs {attention / 2**30:.1f} GiB for the attention of rows of "
            f"{settings.context:,} tokens and {parameters / 2**30:.1f} GiB for parameters, "
            f"this machine has {have / 2**30:.1f} GiB",
            f"choose a smaller {smaller}",
        )


def _kept(
    records: Iterable["StepRecord"], run: "Run", states: "deque[State]"
) -> Iterator["StepRecord"]:
    """The records, while `states` holds the run's last two states."""
    for record in records:
        states.append(run.state)
        yield record


def _rescue(
    problem: BaseException, run: "Run", before: "State", corpus: str, directory: Path
) -> NoReturn:
    """Saves what was learnt before the problem, says so, and lets the problem through."""
    import shlex
    import traceback

    from attn_cli.training import checkpoint

    again = f"attn train {shlex.quote(corpus)} --out {shlex.quote(str(directory))} --resume"
    # The arrays of the step that failed are in the way of saving.
    traceback.clear_frames(problem.__traceback__)
    diverged = isinstance(problem, UsageError)
    if diverged:
        # It is the state last reached that gives no number; the one before it gave one.
        run.state = before
    step = run.state.step
    if step > 0:
        checkpoint.save(directory, run)
        if diverged or run.finished:
            output.note("training.saved_model", step=step, directory=directory)
        else:
            output.note("training.saved", step=step, again=again)
    if isinstance(problem, MemoryError):
        raise ContentError(
            f"not enough memory for step {step + 1}",
            "free some and go on, or choose another --out and a smaller --context or --width",
        ) from None
    raise problem


def _make(directory: Path) -> None:
    """Before the first step, so that no run ends with nowhere to go."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ContentError(f"cannot make the folder {directory}: {reason(error)}") from None
    if not os.access(directory, os.W_OK):
        raise ContentError(f"cannot write into {directory}", "choose another --out")


def _settings(
    directory: Path, given: dict[str, Any], corpus: "Corpus", resume: bool
) -> "TrainingSettings":
    from dataclasses import replace

    from attn_cli.training import checkpoint, loop
    from attn_cli.training.watch import watchable

    if resume:
        return replace(checkpoint.saved_settings(directory), **given)
    # What is watched unless the user says otherwise is in our corpus, but need not be in theirs.
    if not watchable(corpus, loop.TrainingSettings().watched_prompt):
        unwatched = {"watched_prompt": "", "watched_key": "", "watched_word": ""}
        return loop.TrainingSettings(**(unwatched | given))
    return loop.TrainingSettings(**given)


def _report(run: "Run", history: list, directory: Path, as_json: bool) -> None:
    """What the run came to, on stdout."""
    from dataclasses import asdict

    from attn_cli.training.loop import result_of
    from attn_cli.views import json, train

    found = result_of(run, history, str(directory))
    if as_json:
        document = json.document("train", None, None, asdict(run.settings), found, ())
        output.emit(json.encode(document) + b"\n")
        return
    last = train.page(history[-1], history, run.settings) if history else []
    output.print_page([*last, *train.result(found)], output.look(OutputOptions()))
