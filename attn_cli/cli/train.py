"""`attn train`: trains a small model on a text file and shows attention forming."""

import os
import shlex
from dataclasses import dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from typer import Argument, Option

from attn_cli import machine
from attn_cli.cli import output
from attn_cli.cli.options import MaxMemory, OutputOptions, complete, number, one_of
from attn_cli.errors import ContentError, UsageError
from attn_cli.files import check_given, read_text
from attn_cli.signals import held, let_through, waiting

if TYPE_CHECKING:
    from attn_cli.training.loop import Run, StepRecord

EXAMPLES = (
    "attn train samples/corpus.txt --out my-model --steps 300",
    "attn train samples/corpus.txt --out my-model --resume",
    "attn train samples/corpus.txt --out cheat --steps 300 --mask none",
    "attn train samples/corpus.txt --out my-encoder --objective masked",
    "attn train samples/pairs.txt --out my-translator --objective translate",
    'attn trace "the greatest thinker in China is" --model my-model',
)

# Of the table in training/objectives.py, which would import numpy here.
NAMES = ("next", "masked", "translate")
_LONGEST = 1 << 28  # bytes of a corpus


def _whole(name: str, low: int, high: int, shown: str, text: str = "") -> Any:
    """A whole number that has no value here unless it is given; `shown` is what it then is."""
    return number(int | None, name, "N", low, high, text, show_default=shown)


def _text(metavar: str, shown: str, text: str) -> Any:
    return Annotated[str | None, Option(metavar=metavar, show_default=shown, help=text)]


Rate = number(
    float | None, "--learning-rate", "R", 0, inf, "The highest of the run.", show_default="0.01"
)
Mask = Annotated[
    str | None,
    Option(metavar="MASK", parser=one_of("--mask", ("causal", "none")), show_default="causal",
           autocompletion=complete("causal", "none"),
           help="none trains next without the mask, to see why there is one."),
]  # fmt: skip
MaskingRate = number(
    float | None, "--masking-rate", "R", 0.01, 1, "The share of tokens that masked hides.",
    show_default="0.15",
)  # fmt: skip
Objective = Annotated[
    str | None,
    Option(metavar="NAME", parser=one_of("--objective", NAMES), show_default="next",
           autocompletion=complete(*NAMES),
           help="What is learned: the next token (a decoder), masked ones (an encoder), or to "
           "translate (both)."),
]  # fmt: skip
Resume = Annotated[bool, Option("--resume", help="Go on with the unfinished run in DIR.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """The shape of the model, the run, and what is watched; None where nothing was typed."""

    objective: Objective = None
    layers: _whole("--layers", 1, 96, "2") = None
    heads: _whole("--heads", 1, 96, "4") = None
    width: _whole("--width", 1, 4096, "32", "Model width, divided among the heads.") = None
    context: _whole("--context", 2, 65536, "256") = None
    steps: _whole("--steps", 1, 10**9 - 1, "2000") = None
    seed: _whole("--seed", 0, 10**9 - 1, "0") = None
    learning_rate: Rate = None
    mask: Mask = None
    masking_rate: MaskingRate = None
    watch: _text("WORD", "China", "The word whose vector is shown moving; '' for none.") = None
    watch_prompt: _text("TEXT", "sample prompt", "One of its tokens is watched; '' for none.") = (
        None
    )
    watch_query: _text("TOKEN", "the last", "The token of it that is watched.") = None
    watch_key: _text("TOKEN", "China", "The token it may come to look at.") = None

    def given(self) -> dict[str, Any]:
        """What was typed, under the names that TrainingSettings has for it."""
        names = {
            "learning_rate": "peak_learning_rate", "watch": "watched_word",
            "watch_prompt": "watched_prompt", "watch_query": "watched_query",
            "watch_key": "watched_key",
        }  # fmt: skip
        typed = {field.name: getattr(self, field.name) for field in fields(self)}
        return {names.get(n, n): value for n, value in typed.items() if value is not None}


def command(
    corpus: Annotated[str, Argument(metavar="CORPUS", help="A text file, one sentence to a line.")],
    out: Annotated[str, Option("--out", metavar="DIR", help="The folder of the checkpoint.")],
    training: TrainingOptions,
    resume: Resume = False,
    format: str = "",
    json: Annotated[bool, Option("--json", help="Short for --format json.")] = False,
    max_memory: MaxMemory = 0,
    quiet: Annotated[bool, Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Trains a small model with AdamW; saves an ordinary checkpoint.

    The objective next: a decoder predicts the next token, at every position at once (GPT-2's
    layout). masked: an encoder, which looks both ways, fills in hidden tokens (BERT's layout).
    translate: an encoder reads a text, a decoder writes its translation (T5's layout); a line
    of CORPUS holds both texts, a tab between them.
    Shows the loss beside the smallest that the corpus allows, a head forming, a word's vector
    moving.
    Ctrl-C saves the run; --resume goes on as if nothing had happened.
    """
    from attn_cli.training import loop
    from attn_cli.training.folder import claimed
    from attn_cli.training.objectives import acting
    from attn_cli.views import train as view

    directory = _folder(out, resume)
    with claimed(directory) as alone:
        if not alone:
            output.note("training.unlocked", directory=directory, quiet=quiet)
        run = _begun(corpus, directory, training, resume, max_memory)
        history = _trained(run, corpus, directory, quiet)
    found = loop.result_of(run, history, str(directory))
    result = output.Result(
        page=lambda: [
            *(item for last in history[-1:] for item in view.page(last, history, run.settings)),
            *view.result(found, run.settings, _beginning(run)),
        ],
        found=found,
        settings=acting(run.settings),
    )
    output.deliver("train", OutputOptions(json=json or format == "json"), [result])


def _folder(out: str, resume: bool) -> Path:
    """The folder of the checkpoint. Raises UsageError, and ContentError if it has to be there."""
    if not out:
        raise UsageError("--out is empty", "give the folder of the checkpoint: --out DIR")
    if resume and not os.path.isdir(out):
        raise ContentError(f"{out} holds no unfinished training", "there is no such folder")
    if os.path.exists(out) and not os.path.isdir(out):
        raise UsageError(f"{out} is a file, not a folder", "choose another --out")
    return Path(out)


def _begun(
    corpus: str, directory: Path, training: TrainingOptions, resume: bool, max_memory: int
) -> "Run":
    """The run that was asked for, before its first step here."""
    from attn_cli.training import checkpoint, loop
    from attn_cli.training.objectives import refuse_idle
    from attn_cli.training.settings import TrainingSettings

    if not resume:
        checkpoint.refuse_to_overwrite(directory)
    given = training.given()
    saved = checkpoint.saved_settings(directory) if resume else TrainingSettings()
    objective = given.get("objective", saved.objective)
    refuse_idle(objective, given)
    text = _read(corpus, objective, max_memory)
    settings = replace(saved, **given) if resume else loop.settings_for(text, given)
    loop.check_memory(settings, text, max_memory)
    state = checkpoint.resume(directory, settings, text) if resume else None
    return loop.start(settings, text, state)


def _trained(run: "Run", corpus: str, directory: Path, quiet: bool) -> "list[StepRecord]":
    """Makes the run's steps and saves what they come to; a signal ends the steps, not the saving.

    Returns what each step did.
    """
    from attn_cli.training import checkpoint, loop

    with held():
        try:
            with let_through():
                history = output.follow(loop.train(run), run.settings, quiet=quiet)
        except BaseException as problem:
            _rescue(problem, run, corpus, directory)
        checkpoint.save(directory, run)
        if waiting():
            output.note("training.saved_model", step=run.state.step, directory=directory)
    return history


def _read(corpus: str, objective: str, max_memory: int) -> Any:
    """What an objective makes of the corpus. Raises ContentError."""
    from attn_cli.training import loop
    from attn_cli.training.objectives import OBJECTIVES

    check_given(corpus)
    text, _ = read_text(Path(corpus), _LONGEST)
    try:
        loop.check_corpus(text, objective, max_memory)
        return OBJECTIVES[objective].read(text)
    except ContentError as error:
        raise ContentError(f"{corpus}: {error.message}", error.hint) from None


def _beginning(run: "Run") -> str:
    """What a text may begin with, for a model that goes on with texts."""
    prompt, corpus = run.settings.watched_prompt, run.corpus
    if prompt or run.settings.objective != "next":
        return prompt
    return corpus.tokenizer.decode(corpus.ids[:2].tolist())


def _rescue(problem: BaseException, run: "Run", corpus: str, directory: Path) -> NoReturn:
    """Saves what was learnt before the problem, says so, and lets the problem through."""
    from attn_cli.training import checkpoint

    resumable = checkpoint.rescue(directory, run, problem)
    step = run.state.step
    if step and resumable:
        again = shlex.join(["attn", "train", corpus, "--out", str(directory), "--resume"])
        output.note("training.saved", step=step, again=again)
    elif step:
        output.note("training.saved_model", step=step, directory=directory)
    if isinstance(problem, MemoryError):
        raise ContentError(
            machine.run_out(f" for step {step + 1}").message,
            "free some and go on, or choose another --out and a smaller --context or --width",
        ) from None
    raise problem
