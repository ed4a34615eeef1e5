"""`attn sample`: temperature, filters, and the draw."""

from functools import partial
from math import inf
from typing import Annotated

from typer import Option

from attn_cli import parse
from attn_cli.cli import output
from attn_cli.cli.options import (
    MOST,
    AttentionOptions,
    MaxTokens,
    OutputOptions,
    PromptOptions,
    Top,
    WhatIfOptions,
    number,
)
from attn_cli.cli.prompts import answers
from attn_cli.errors import UsageError

EXAMPLES = (
    "attn sample --temperature 1.5",
    'attn sample "the greatest thinker in China is" --sweep 0,0.5,1,1.5,2',
    'attn sample "the" --max-tokens 12 --top-k 20 --seed 7',
)

Temperature = number(
    float, "--temperature", "T", 0, inf, "0 takes the likeliest; above 1 evens out.", "-t"
)
TopK = number(int, "--top-k", "K", 0, MOST, "Keep the K likeliest; 0 = all.")
TopP = number(float, "--top-p", "P", 0, 1, "Keep the fewest that reach P together; 1 = all.")
MinP = number(float, "--min-p", "P", 0, 1, "Drop those below P times the likeliest; 0 = none.")
Seed = number(int | None, "--seed", "N", 0, MOST, "Repeat a draw.", "-s")
Draws = number(int, "--draws", "N", 0, 10_000_000, "Draw the next token N times and count.")
Sweep = Annotated[str, Option(metavar="T,T,…", help="Several temperatures side by side.")]


def command(
    prompt: PromptOptions,
    attention: AttentionOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    temperature: Temperature = 1.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    seed: Seed = None,
    max_tokens: MaxTokens = 1,
    draws: Draws = 0,
    sweep: Sweep = "",
    top: Top = 10,
) -> int:
    """Next-token probabilities before and after temperature and each filter; then draws.

    Filters act in this order: temperature, top-k, top-p, min-p.
    """  # fmt: skip
    from attn_cli import notes, session
    from attn_cli.analysis.sample import Sampling, sample_steps, stop_note
    from attn_cli.views import sample as view

    if draws and max_tokens > 1:
        raise UsageError("--draws and --max-tokens contradict each other", "give one of them")
    heats = [parse.number(part.strip(), "--sweep", 0) for part in sweep.split(",") if sweep]
    model = prompt.load()
    where = attention.of(model.facts)
    chosen = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "seed": _drawn_seed() if seed is None else seed,
        "max_tokens": max_tokens, "draws": draws, "sweep": heats,
    }  # fmt: skip
    typed = what_if.settings()
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)

    def answer(read):
        changes = session.what_if(model, read, where, **typed)
        steps = sample_steps(
            model, read, sampling, changes, prompt.max_memory, seed=chosen["seed"],
            max_tokens=max_tokens, draws=draws, sweep=heats, top=top,
        )  # fmt: skip
        found = output.watched(steps, quiet=prompt.quiet)
        # The last one drawn is not read any more.
        added = max(0, len(found.drawn) - 1)
        said = notes.run_notes(model, read, typed, changes, found.provenance, added=added)
        said += stop_note(model, read, [d.id for d in found.drawn], 0 if draws else max_tokens)
        settings = {**typed, **parse.named(where), **chosen, **read.settings}
        page = partial(view.page, model.facts, read, found, settings)
        return output.Result(page, found, model.facts, read, settings, said)

    results, each = answers(prompt, model, answer), bool(prompt.each)
    return output.deliver("sample", out, results, quiet=prompt.quiet, each=each)


def _drawn_seed() -> int:
    import secrets

    return secrets.randbelow(10**9)
