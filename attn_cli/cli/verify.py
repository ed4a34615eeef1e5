"""`attn verify`: how exact a trace is."""

from functools import partial
from math import isnan
from typing import Annotated

from typer import Option

from attn_cli.cli import output
from attn_cli.cli.options import OutputOptions, PromptOptions
from attn_cli.cli.prompts import answers
from attn_cli.words import note

EXAMPLES = (
    "attn verify",
    'attn verify "the greatest thinker in China is" --model smollm2',
    "attn verify --model ./my-model --ids 5,6,7 --against activations.npz",
)


def command(
    prompt: PromptOptions,
    out: OutputOptions,
    against: Annotated[
        str | None,
        Option(metavar="FILE.npz", help="Activations made elsewhere, named as --format npz does."),
    ] = None,
) -> int:
    """Recomputes a trace in float64 and compares; then with stored or given activations.

    Exits with 1 where an error is suspect.
    """
    from attn_cli.analysis.activations import read_reference
    from attn_cli.analysis.verify import SUSPECT_VERDICT, verify_steps
    from attn_cli.errors import some
    from attn_cli.notes import prompt_notes
    from attn_cli.views import verify as view

    model = prompt.load()

    def answer(read):
        reference, name, others = read_reference(against, model, read)
        steps = verify_steps(model, read, reference, name, prompt.max_memory)
        found = output.watched(steps, quiet=prompt.quiet)
        settings = {"against": against, **read.settings}
        notes = prompt_notes(model, read)
        if others:
            notes += (note("note.not_compared", names=some(others), where=name),)
        if isnan(found.largest) and not any(
            isnan(one.error) for one in (*found.float64, *found.reference)
        ):
            notes += (note("verify.ending"),)
        page = partial(view.page, model.facts, read, found)
        bad = found.verdict == SUSPECT_VERDICT
        return output.Result(page, found, model.facts, read, settings, notes, failed=bad)

    results, each = answers(prompt, model, answer), bool(prompt.each)
    return output.deliver("verify", out, results, quiet=prompt.quiet, each=each)
