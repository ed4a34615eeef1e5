"""`attn exercise`: a sheet with numbers left blank, and what is wrong with an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Option

from attn_cli import parse, vocabulary
from attn_cli.cli import output
from attn_cli.cli.answers import MOST_BLANKS, MOST_DIGITS, given_in
from attn_cli.cli.options import (
    MOST,
    AttentionOptions,
    Head,
    Layer,
    ModelName,
    OutputOptions,
    PromptOptions,
    Steps,
    number,
)
from attn_cli.cli.places import one_head
from attn_cli.cli.prompts import answers, reader
from attn_cli.errors import UsageError
from attn_cli.files import is_stdin
from attn_cli.views.formats import FORMATS
from attn_cli.views.handout import BLANKS, DIGITS
from attn_cli.words import note

if TYPE_CHECKING:
    from attn_cli.analysis.exercise import Solved
    from attn_cli.cli.answers import Given
    from attn_cli.records import Prompt, Trace

EXAMPLES = (
    "attn exercise",
    'attn exercise "cats chase dogs" --model pencil --step 3,5 --seed 7',
    "attn exercise --seed 7 --key",
    "attn exercise --json --out sheet.json && attn exercise --check sheet.json",
    'attn exercise "the king is" --model tiny --blanks 4 --digits 3',
)
_PENCIL = "pencil"

Blanks = number(int | None, "--blanks", "N", 1, MOST_BLANKS, "How many numbers are left blank.",
                show_default=str(BLANKS))  # fmt: skip
Decimals = number(int, "--digits", "N", 0, MOST_DIGITS, "Decimals of the sheet.")
Seed = number(int | None, "--seed", "N", 0, MOST, "The same seed gives the same sheet.", "-s")
Key = Annotated[bool, Option("--key", help="With the answers.")]
Check = Annotated[
    str | None,
    Option("--check", metavar="FILE", show_default=False,
           help='Answers to check: {"1": 0.5, …} or CSV to the sheet of these options, or a saved '
           "sheet with its answers filled in, which needs no others. Exits with 1 unless all are "
           "right."),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetPromptOptions(PromptOptions):
    """As everywhere, but for the model where nothing is said: one that is made for paper."""

    model: ModelName = ""


class _Asked(NamedTuple):
    """What was typed of a sheet beside the prompt."""

    layer: str | None
    head: str
    step: Sequence[str]
    blanks: int | None
    digits: int
    seed: int | None


def command(
    prompt: SheetPromptOptions,
    attention: AttentionOptions,
    out: OutputOptions,
    layer: Layer = None,
    head: Head = "0",
    step: Steps = (),
    blanks: Blanks = None,
    decimals: Decimals = DIGITS,
    seed: Seed = None,
    key: Key = False,
    check: Check = None,
) -> int:
    """Some numbers of the six steps are left blank; each follows from numbers that are shown.

    Of --check's answers it says which are right, and which known mistake gives a wrong one. Without
    prompt and model: a model of three words, on which every step can be done on paper.
    """
    asked = _Asked(layer, head, step, blanks, decimals, seed)
    given = None
    if check is not None:
        if prompt.each:
            raise UsageError("--check and --each contradict each other", "one sheet at a time")
        given = given_in(check)
        prompt, attention, asked = given.options(prompt, attention, asked)
    prompt = _chosen_model(prompt, check)
    model = prompt.load()
    where = attention.of(model.facts)
    block, at = one_head(model.facts, where, asked.layer, asked.head, "exercise")
    kind = output.chosen_format("exercise", out)
    form = FORMATS[kind]
    out = out if form.documents or form.sheet else replace(out, digits=asked.digits)
    if check is not None and form.sheet:
        raise UsageError(f"--check cannot be written as {kind}", "--format table, json or svg")
    asked = asked._replace(seed=_drawn_seed() if asked.seed is None else asked.seed)

    def answer(read: "Prompt"):
        from attn_cli import session
        from attn_cli.analysis.recipes import NEEDS

        trace = yield session.ask(
            prompt=read, model=model, stack=block.stack, kind=block.kind, layer=block.layer,
            head=at, arrays=NEEDS, next=False, max_memory=prompt.max_memory,
        )  # fmt: skip
        return _result(trace, asked, given, key=key, kind=kind)

    read = given.reader(reader(prompt, model)) if given else None
    results, each = answers(prompt, model, answer, read), bool(prompt.each)
    return output.deliver("exercise", out, results, quiet=prompt.quiet, each=each)


def _chosen_model(prompt: SheetPromptOptions, check: str | None) -> SheetPromptOptions:
    """The model where none was named, and its own prompt where --check takes standard input."""
    from attn_cli.cli.streams import CURRENT

    typed = any(source is not None for source in (prompt.text, prompt.file, prompt.ids))
    of_check = check is not None and is_stdin(check)
    fed = CURRENT.get().is_fed and not of_check
    name = prompt.model or (vocabulary.DEFAULT_MODEL if typed or fed else _PENCIL)
    prompt = replace(prompt, model=name)
    if of_check and not typed:
        prompt = replace(prompt, text=prompt.load().facts.sample)
    return prompt


def _result(
    trace: "Trace", asked: _Asked, given: "Given | None", *, key: bool, kind: str
) -> output.Result:
    from attn_cli.analysis import exercise
    from attn_cli.analysis.marking import marked
    from attn_cli.views import exercise as view
    from attn_cli.views.numbers import as_written

    count = asked.blanks or BLANKS
    found = exercise.solved(
        trace, partial(as_written, digits=asked.digits), blanks=count, seed=asked.seed,
        steps=parse.steps(asked.step) if asked.step else frozenset(range(1, 7)),
    )  # fmt: skip
    shared = (trace.model, trace.prompt)
    settings = {**trace.settings, **_settings(trace, asked, count)}
    if given:
        marks = marked(found, given.of(found.sheet, trace), key=key)
        page = partial(view.marked_page, *shared, marks)
        failed = marks.right < len(marks.marks)
        return output.Result(page, marks, *shared, settings, trace.notes, failed=failed)
    sheet = found.sheet if key else found.sheet.without_key()
    page = partial(view.page, *shared, sheet, settings)
    written = view.written(kind, *shared, sheet, settings)
    fewer = () if len(sheet.blanks) >= count else (_fewer(found),)
    notes = trace.notes + fewer
    return output.Result(page, sheet, *shared, settings, notes, written=written)


def _settings(trace: "Trace", asked: _Asked, count: int) -> Mapping[str, Any]:
    """What documents record of a sheet, so that it can be made again."""
    (block,) = trace.attention
    steps = sorted(parse.steps(asked.step)) if asked.step else []
    return {
        "layer": block.layer, "head": block.heads[0], "step": steps, "blanks": count,
        "digits": asked.digits, "seed": asked.seed,
    }  # fmt: skip


def _fewer(found: "Solved") -> Any:
    return note("note.fewer_blanks", count=len(found.sheet.blanks))


def _drawn_seed() -> int:
    import secrets

    return secrets.randbelow(10**4)
