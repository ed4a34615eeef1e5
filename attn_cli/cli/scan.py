"""`attn scan`: what every head does over files of prompts."""

import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from attn_cli import parse, vocabulary
from attn_cli.cli import output, scan_progress
from attn_cli.cli.options import (
    MOST,
    AttentionOptions,
    OutputOptions,
    PromptOptions,
    WhatIfOptions,
    complete,
    heads,
    layers,
    number,
    one_of,
)
from attn_cli.cli.prompts import reader
from attn_cli.errors import ContentError, UsageError, plural
from attn_cli.views.formats import FORMATS
from attn_cli.words import Note, counted, note

if TYPE_CHECKING:
    from attn_cli.model.family import Model
    from attn_cli.scanning.corpus import Corpus
    from attn_cli.scanning.engines import Engine
    from attn_cli.scanning.job import Job
    from attn_cli.scanning.measuring import Scanner
    from attn_cli.scanning.results import Scan
    from attn_cli.scanning.saved import Parts

EXAMPLES = (
    "attn scan samples/corpus.txt",
    "attn scan samples/corpus.txt --sort induction",
    "attn scan books/ --chunk 256 --model smollm2 --out heads.parquet --workers 2",
    "attn scan 'shards/*.jsonl.gz' --by token --out heads.json",
    "attn scan books/ --chunk 256 --out heads.parquet --scheduler tcp://10.0.0.1:8786",
)
_COLUMNS = tuple(vocabulary.SCAN_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How a corpus is read, who measures it, and what is told."""

    layer: layers(str, show_default="all") = "all"
    head: heads(str, show_default="all") = "all"
    chunk: number(
        int | None, "--chunk", "N", 1, MOST, "Read each file, or the text of each JSON line, as a "
        "document, cut to N tokens.", show_default=False,
    ) = None  # fmt: skip
    by: Annotated[
        str,
        Option("--by", metavar="token", parser=one_of("--by", ("token",)),
               autocompletion=complete("token"),
               help="Also the pairs of tokens that each head joins most."),
    ] = ""  # fmt: skip
    sort: Annotated[
        str,
        Option("--sort", metavar="COLUMN", parser=one_of("--sort", _COLUMNS),
               show_default="entropy", autocompletion=complete(*_COLUMNS),
               help=f"What the page ranks heads by: {', '.join(_COLUMNS)}."),
    ] = ""  # fmt: skip
    workers: number(
        int, "--workers", "N", 1, 1024, "Processes that share the work, and the threads."
    ) = 1
    scheduler: Annotated[
        str | None,
        Option("--scheduler", metavar="ADDRESS", show_default=False,
               help="Measure on the workers of a Dask cluster: tcp://HOST:PORT, or the file that "
               "its scheduler has written."),
    ] = None  # fmt: skip
    stop: Annotated[
        bool, Option("--strict", help="Stop at the first line that cannot be read.")
    ] = False
    fresh: Annotated[
        bool, Option("--fresh", help="Forget the parts that an earlier run has left beside --out.")
    ] = False


def command(
    files: Annotated[
        list[str],
        Argument(metavar="FILE...", help="Text, one prompt per line, or JSON lines with a text "
                 "key, also as .gz or .zst; a folder or a pattern of them.", show_default=False),
    ],
    prompt: PromptOptions,
    attention: AttentionOptions,
    what_if: WhatIfOptions,
    asked: ScanOptions,
    out: OutputOptions,
) -> int:  # fmt: skip
    """Statistics of every head over files of prompts: where it looks, how sharply, with examples.

    Finished parts are kept beside --out until it is written: a scan that was ended goes on.
    """
    from attn_cli.scanning.corpus import corpus
    from attn_cli.scanning.measuring import Scanner
    from attn_cli.scanning.results import result
    from attn_cli.scanning.run import scan

    gc.enable()  # cycles that libraries leave behind add up over many prompts, unlike over one
    kind = output.chosen_format("scan", out)
    read = corpus(files, documents=bool(asked.chunk))
    kept = _is_kept(out.out)
    if asked.fresh and not kept:
        raise UsageError("--fresh needs --out", "parts are kept beside that file")
    address = _address(asked)
    model = prompt.load()
    if asked.sort == "sink" and not model.facts.sinks:
        raise UsageError(
            "these heads have no sink, so they cannot be ranked by it",
            "first ranks by what the first token gets",
        )
    job = _job(model, prompt, attention, what_if, asked, other=kept or bool(address))
    scanner = Scanner(job, model)
    with _parts(kept, out.out, job, read, scanner, asked, prompt) as parts:
        engine = _engine(scanner, asked.workers, address)
        steps = scan(read, job.digest, scanner.shape, engine, parts, strict=asked.stop)
        record = scan_progress.watched(steps, quiet=prompt.quiet)
        if not record.prompts:
            if parts:
                parts.done()
            failed = plural(record.failed, "line")
            raise ContentError(f"nothing could be measured: {failed} failed")
        found = result(record, model, scanner.rows, len(read.files))
        sort = asked.sort or _COLUMNS[0]
        settings = {**job.settings, **parse.named(attention.of(model.facts)), **model.settings,
                    **scanner.sample.settings, "files": files, "sort": sort}  # fmt: skip
        answer = _answer(kind, found, model, settings)
        code = output.deliver("scan", out, [answer], quiet=prompt.quiet)
        if parts:
            parts.done()
    return code


def _job(
    model: "Model", prompt: PromptOptions, attention: AttentionOptions, what_if: WhatIfOptions,
    asked: ScanOptions, *, other: bool,
) -> "Job":  # fmt: skip
    """What whoever measures a part has to know; of which model where it may be another one's."""
    from attn_cli.scanning.job import Job, digest_of, digests_of

    return Job(
        model=prompt.model, adapter=prompt.adapter or "", ignore_config=tuple(prompt.ignore_config),
        reading=dict(reader(prompt, model).keywords), stack=attention.stack, kind=attention.kind,
        layer=asked.layer, head=asked.head, what_if=what_if.settings(), chunk=asked.chunk or 0,
        by_token=asked.by == "token", max_memory=prompt.max_memory,
        model_digest=digest_of(model) if other else "", masks=digests_of(what_if.mask),
    )  # fmt: skip


def _is_kept(out: str | None) -> bool:
    """Whether parts are kept beside the output: if it is a file. Raises UsageError."""
    if out in (None, "-"):
        return False
    output.check_out(out)
    return os.path.isfile(out) or not os.path.lexists(out)


def _parts(
    kept: bool, out: str, job: "Job", read: "Corpus", scanner: "Scanner", asked: ScanOptions,
    prompt: PromptOptions,
) -> "AbstractContextManager[Parts | None]":  # fmt: skip
    from attn_cli.scanning.saved import Parts, folder_of

    if not kept:
        return nullcontext()
    parts = Parts(folder_of(out), job, read, scanner.shape, fresh=asked.fresh)
    if not parts.alone:
        output.note("scan.unlocked", folder=folder_of(out), quiet=prompt.quiet)
    return parts


def _address(asked: ScanOptions) -> str:
    """Of the scheduler; "" where none is asked for. Raises UsageError and ContentError."""
    from attn_cli.scanning.scheduler import address_of

    if asked.scheduler is None:
        return ""
    if asked.workers > 1:
        raise UsageError(
            "--workers are processes on this machine, those of --scheduler are its own",
            "leave one of them out",
        )
    return address_of(asked.scheduler)


def _engine(scanner: "Scanner", workers: int, scheduler: str) -> "Engine":
    from attn_cli import machine
    from attn_cli.maths import cores
    from attn_cli.scanning.engines import in_process
    from attn_cli.scanning.workers import on_workers

    if scheduler:
        from attn_cli.scanning.cluster import on_cluster

        return on_cluster(scanner.job.anywhere(), scheduler)
    if workers == 1:
        return in_process(scanner)
    # Each may take its share of the memory.
    allowed = machine.allowed(scanner.job.max_memory) // workers
    return on_workers(replace(scanner.job, max_memory=allowed), workers, cores.threads())


def _answer(kind: str, found: "Scan", model: "Model", settings: dict[str, Any]) -> output.Result:
    from attn_cli.notes import model_notes
    from attn_cli.views import scan as view

    facts, said = model.facts, (*model_notes(model), *_notes(found, settings))
    page = partial(view.page, facts, found, settings)
    answer = output.Result(page, found, facts, None, settings, said, failed=bool(found.failed))
    if kind == "html":
        from attn_cli.views import scan_html

        return answer._replace(written=scan_html.render(facts, found, settings, said))
    if FORMATS[kind].arrays:
        from attn_cli.views import scan_rows

        return answer._replace(written=scan_rows.written(kind, facts, found, settings, said))
    return answer


def _notes(found: "Scan", settings: dict[str, Any]) -> "Iterator[Note]":
    """Notes on what was measured."""
    if found.failed:
        yield counted(found.failed, "scan.failed_one", "scan.failed_many")
    if found.blind:
        yield counted(found.blind, "scan.blind_one", "scan.blind_many")
    if found.pairs_below:
        yield note("scan.pairs_below", below=f"{found.pairs_below:,}")
    bad = sum(one.nonfinite for head in found.heads for one in head.measures)
    if bad:
        yield note("scan.nonfinite", count=f"{bad:,}")
    typed = vocabulary.changes(settings)
    if typed and all(head.provenance == vocabulary.DERIVED for head in found.heads):
        yield note("note.no_effect", changes=" ".join(typed))
