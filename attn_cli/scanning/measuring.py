"""A part of a corpus in, a record of it out: the model is opened once, each prompt measured."""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np

from attn_cli import machine, room, session
from attn_cli.analysis.measures import Reading, measures, of_heads, weighted
from attn_cli.errors import AttnError, PromptError, UsageError
from attn_cli.maths.kept import Measure
from attn_cli.model import family
from attn_cli.model.family import Model
from attn_cli.model.request import Request
from attn_cli.opening.load import load
from attn_cli.reading import tokenise
from attn_cli.records import Attention, Prompt
from attn_cli.scanning.corpus import Part, Piece
from attn_cli.scanning.examples import Place
from attn_cli.scanning.job import Job, measured, rows
from attn_cli.scanning.records import Record, Shape

# What is taken of the weights beside the measures that are told: examples and pairs need it.
_LOOKS = "looks_at"
_PROBE = 512  # tokens of a prompt in which most settings can act
_TOGETHER = 1 << 19  # numbers that are counted together: of all blocks, counting them takes memory


class _Taken(NamedTuple):
    """What is taken of a block: the rows of its heads in a record, its measures, in their order
    (measure, head, query), the keys that queries weigh most, and what notes are of."""

    heads: np.ndarray
    values_MHQ: np.ndarray
    keys_HQ: np.ndarray
    blind: int
    touched: bool


def shape_of(model: Model, job: Job) -> Shape:
    """What a record of a job has. Raises UsageError."""
    return Shape(len(rows(model.facts, job).each), measured(model.facts), job.by_token)


def all_measures(reading: Reading) -> dict[str, Measure]:
    """What is taken of weights while they pass, by name."""
    return measures(reading) | weighted(reading)


def of_block(block: Attention, reading: Reading) -> dict[str, np.ndarray]:
    """The measures (head, query) of a block that was computed with `all_measures`, by name."""
    found = of_heads(block, reading)
    return found | {"effective_keys": np.exp2(found["entropy"])}


def _held(model: Model, max_memory: int) -> Model:
    """The same model, keeping what it reads where half of what may be used has room for it."""
    tensors = model.weights.tensors.values()
    made = 4 * sum(prod(tensor.shape) for tensor in tensors if tensor.dtype != "F32")
    return family.in_memory(model) if made <= machine.allowed(max_memory) // 2 else model


class Scanner:
    """Measures parts with one model. Raises ContentError and UsageError for a job that cannot be.

    `model` is the job's where it is open already; `sample` is how it reads its sample prompt.
    """

    def __init__(self, job: Job, model: Model | None = None) -> None:
        opened = model or load(job.model, ignore_config=job.ignore_config, adapter=job.adapter)
        self.job, self.model = job, _held(opened, job.max_memory)
        self.rows = rows(opened.facts, job)
        self.shape = shape_of(opened, job)
        self._read = partial(tokenise, opened, **job.reading)
        self._where = tuple(dict.fromkeys((at.stack, at.kind) for at in self.rows.blocks))
        self._rows = self.rows.places
        self._names = tuple(one.name for one in self.shape.measures)
        self._longest: dict[str, int] = {}
        self._edges: tuple[list[int], list[int]] | None = None
        self.sample = self._read(text=opened.facts.sample)
        self._check_settings()
        if job.chunk:
            self._added()

    def scan(self, part: Part) -> Generator[int, None, Record]:
        """The record of a part; yields how many tokens each prompt of it had."""
        record = Record(self.job.digest, self.shape)
        record.parts[part.number] = part.digest
        for piece in part.pieces:
            for place, prompt in self._prompts(piece, record):
                yield self._tried(place, prompt, record)
        record.examples.settle()
        return record

    def _prompts(
        self, piece: Piece, record: Record
    ) -> Iterator[tuple[Place, Callable[[], Prompt]]]:
        """Where each prompt of a piece begins, and what reads it."""
        if piece.problem:
            record.fail(piece.file, piece.line, 0, piece.problem, piece.hint)
        elif not self.job.chunk:
            yield Place(piece.file, piece.line), partial(self._read, text=piece.text)
        else:
            try:
                yield from self._chunks(piece)
            except AttnError as problem:
                record.fail(piece.file, piece.line, 0, problem.message, problem.hint)

    def _chunks(self, piece: Piece) -> Iterator[tuple[Place, Callable[[], Prompt]]]:
        """A text cut into prompts of so many tokens, those that the tokenizer adds included."""
        before, after = self._added()
        size = self.job.chunk - len(before) - len(after)
        tokens = self.model.tokenizer.encode(piece.text, special=False)
        line, read = piece.line, 0
        for number, start in enumerate(range(0, len(tokens), size)):
            begins = tokens[start].span[0]
            line, read = line + piece.text.count("\n", read, begins), max(read, begins)
            ids = [*before, *(token.id for token in tokens[start : start + size]), *after]
            yield Place(piece.file, line, number), partial(self._read, ids=ids)

    def _added(self) -> tuple[list[int], list[int]]:
        """The ids that the tokenizer puts before and after a text. Raises UsageError where these
        leave no room."""
        if self._edges is None:
            tokenizer, sample = self.model.tokenizer, self.model.facts.sample
            plain, whole = (
                [token.id for token in tokenizer.encode(sample, special=special)]
                for special in (False, self.job.reading.get("special", True))
            )
            starts = range(len(whole) - len(plain) + 1)
            at = next((s for s in starts if whole[s : s + len(plain)] == plain), 0)
            self._edges = whole[:at], whole[at + len(plain) :]
        before, after = self._edges
        least = len(before) + len(after) + 1
        if self.job.chunk < least:
            raise UsageError(f"--chunk {self.job.chunk} is too small", f"{least} tokens or more")
        return self._edges

    def _tried(self, place: Place, read: Callable[[], Prompt], record: Record) -> int:
        """Measures a prompt, or counts it as one that could not be; how many tokens it had."""
        try:
            prompt = read()
            readings = {of: Reading(prompt, *of) for of in self._where}
            steps = session.records(self.model, prompt.last.ids, self._request(prompt))
            taken: dict[tuple[str, str], list[_Taken]] = {of: [] for of in self._where}
            for step in steps:
                if isinstance(step, Attention):
                    of = step.stack, step.kind
                    taken[of].append(self._taken(step, readings[of]))
        except AttnError as problem:
            record.fail(*place, problem.message, problem.hint)
            return 0
        at = len(record.examples.places)
        record.examples.places.append(place)
        record.examples.prompts.append(np.array(prompt.ids, np.int32))
        for of, blocks in taken.items():
            some = max(1, _TOGETHER // blocks[0].values_MHQ.size)
            for start in range(0, len(blocks), some):
                self._count(blocks[start : start + some], readings[of], record, at)
        tokens = len(prompt.tokens) + (len(prompt.target.tokens) if prompt.target else 0)
        record.prompts, record.tokens = record.prompts + 1, record.tokens + tokens
        return tokens

    def _request(self, prompt: Prompt) -> Request:
        """What to ask of the pass. Raises ContentError where it takes too much memory."""
        changes = session.what_if(self.model, prompt, self._where, **self.job.what_if)
        request = session.request_for(
            prompt, blocks=frozenset(self.rows.blocks), heads=self.rows.heads,
            # A block whose output is touched is what-if.
            arrays=frozenset({"output", "sink_share"}), whole=False,
            measures={place: self._measures(prompt, place) for place in self._where},
            what_if=changes,
        )  # fmt: skip
        tokens = {stack: len(prompt.of(stack).tokens) for stack, _ in self._where}
        if any(count > self._longest.get(stack, 0) for stack, count in tokens.items()):
            per_token = 8 * (len(self._names) + 1) * len(self.rows.each)  # see `_Taken`
            room.check(
                self.model, prompt, request, self.job.max_memory, per_token=per_token,
                forgotten=True,
            )  # fmt: skip
            self._longest |= {
                stack: max(count, self._longest.get(stack, 0)) for stack, count in tokens.items()
            }
        return request

    def _measures(self, prompt: Prompt, place: tuple[str, str]) -> dict[str, Measure]:
        known = all_measures(Reading(prompt, *place))
        return {name: known[name] for name in (*self._names, _LOOKS) if name in known}

    def _taken(self, block: Attention, reading: Reading) -> _Taken:
        """What is taken of a block, of which nothing else is kept."""
        found = of_block(block, reading)
        return _Taken(
            heads=self._rows[block.address],
            values_MHQ=np.stack([found[name] for name in self._names]),
            keys_HQ=found[_LOOKS].astype(np.int32),
            blind=len(block.blind),
            touched=bool(block.what_if),
        )

    def _count(
        self, blocks: Sequence[_Taken], reading: Reading, record: Record, place: int
    ) -> None:
        """Takes in the measures of some blocks of one attention."""
        heads = np.concatenate([block.heads for block in blocks])
        values_MHQ = np.concatenate([block.values_MHQ for block in blocks], axis=1)
        keys_HQ = np.concatenate([block.keys_HQ for block in blocks])
        asked_MQ = np.array([reading.counts(name) for name in self._names])
        used_MHQ = record.statistics.add(heads, values_MHQ, asked_MQ[:, None])
        record.examples.offer(heads, values_MHQ, used_MHQ, keys_HQ, place)
        if record.pairs is not None:
            record.pairs.add(heads, reading.ids_Q, reading.ids_K, keys_HQ)
        for block in blocks:
            record.blind += block.blind
            if block.touched:
                record.touched[block.heads] = 1

    def _check_settings(self) -> None:
        """Raises UsageError for settings that are wrong in a short prompt and a long one alike:
        those can be in none."""
        context = self.model.facts.context or _PROBE
        known = self.sample.ids
        ids = [known[at % len(known)] for at in range(min(context, _PROBE))]
        try:
            self._request(self.sample)
        except UsageError as problem:
            if isinstance(problem, PromptError):
                return
            try:
                self._request(self._read(ids=ids))
            except UsageError as again:
                if again.message == problem.message:
                    raise
        except AttnError:
            return
