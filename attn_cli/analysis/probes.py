"""A block of random tokens that is read twice, and what heads do with it, pass by pass.

Olsson et al. 2022, "In-context Learning and Induction Heads". A pass is a generator that yields
each layer that is done.
"""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from attn_cli import room, session
from attn_cli.analysis import low_rank
from attn_cli.analysis.low_rank import Factor, Matrices
from attn_cli.analysis.measures import first_share, share_at, share_back
from attn_cli.errors import AttnError, ContentError, UsageError
from attn_cli.maths import cores
from attn_cli.maths.kept import Measure
from attn_cli.maths.layers import cross_entropy
from attn_cli.model import family
from attn_cli.model.family import Model
from attn_cli.model.stack import Request
from attn_cli.model.what_if import Changes
from attn_cli.records import Address, Attention, Facts, Passed, Prompt

ROLES = ("induction", "duplicate", "previous", "self", "sink")
BLOCK = 50
_SMALLEST = 4  # tokens of a block that say anything
_TOGETHER = 8  # passes that go side by side
_OF_LOGIT = 4 * _TOGETHER + 24  # bytes: itself of each pass, and of one in float64
_NEAR = 3  # queries before this have no key to draw but those with a role

T = TypeVar("T")
Head = tuple[int, int]  # its layer and its number in it


class Probe(NamedTuple):
    """A repeated block as a prompt, another prompt of as many tokens without a repeat, one of a
    single token, the ids of the block, and where it begins."""

    prompt: Prompt
    plain: Prompt
    short: Prompt
    block: tuple[int, ...]
    start: int


def probe(model: Model, where: tuple[str, str], seed: int, block: Sequence[int] = ()) -> Probe:
    """Draws the probes of one attention; `block` are ids to be used instead of drawn ones.

    Raises UsageError for cross-attention, ContentError where too few tokens fit.
    """
    stack = where[0]
    if Address(*where, 0).crosses:
        raise UsageError(
            "--prove looks at tokens that come again in one text, and cross-attention has two",
            "--kind self",
        )
    rng, before, after = np.random.default_rng(seed), *_around(model, stack)
    context = (model.facts.context or 1 << 30) - len(before) - len(after)
    parts = 3 if model.facts.encoder else 2
    ids = _ordinary(model, rng, parts * BLOCK)
    size = min(len(block) or BLOCK, context // 2, len(ids) // parts)
    if size < _SMALLEST or len(block) > size:
        raise ContentError(
            f"{model.facts.name} has no room to read a block of random tokens twice: "
            f"{len(block) or _SMALLEST} tokens are needed, {size} fit",
            "another --model",
        )
    block = tuple(block) or ids[:size]

    def read(text: tuple[int, ...]) -> Prompt:
        whole = (*before, *text, *after)
        if not model.facts.encoder:
            return session.tokenise(model, ids=whole)
        if stack != model.facts.stack:
            return session.tokenise(model, ids=whole, target_ids=(max(0, model.facts.start),))
        return session.tokenise(model, ids=ids[2 * size : 3 * size], target_ids=whole)

    return Probe(read((*block, *block)), read(ids[: 2 * size]), read(block[:1]), block, len(before))


def _ordinary(model: Model, rng: np.random.Generator, count: int) -> tuple[int, ...]:
    """Up to so many different ids of text, and no special ones, in random order."""
    found = []
    for id in rng.permutation(model.facts.vocabulary).tolist():
        try:
            ordinary = not model.tokenizer.token(id).special
        except KeyError:  # a row that no token has, unless no token is known at all
            ordinary = bool(model.tokenizer.problem)
        if ordinary and id not in model.reserved:
            found.append(id)
        if len(found) == count:
            break
    return tuple(found)


def _around(model: Model, stack: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that stand before and after a text, as the model knows texts."""
    if model.facts.encoder and stack == model.facts.stack:
        return ((model.facts.start,) if model.facts.start >= 0 else ()), ()
    if model.tokenizer.problem:
        return (), ()
    tokens = model.tokenizer.encode("a")
    own = [place for place, token in enumerate(tokens) if not token.special] or [len(tokens)]
    ids = tuple(token.id for token in tokens)
    # A text of special tokens alone has them all before it.
    return ids[: own[0]], ids[own[-1] + 1 :]


def loses(facts: Facts, where: tuple[str, str]) -> bool:
    """Whether there is a loss on what an attention's stack reads twice."""
    return facts.writes and facts.predicts and where[0] == facts.stack


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passes:
    """The passes of a model through probes of one attention, `where`, under what-if `settings`."""

    model: Model
    probe: Probe
    where: tuple[str, str]
    settings: Mapping[str, Any]

    @property
    def layers(self) -> int:
        """How many layers have a head that is looked at."""
        return self.model.facts.layers_of(self.where[0])

    @property
    def loses(self) -> bool:
        """Whether there is a loss on what is read twice."""
        return loses(self.model.facts, self.where)

    def check(self, max_memory: int) -> None:
        """Raises ContentError for what takes more than it may, and for a model whose layers do not
        all have heads, and UsageError."""
        facts, stack = self.model.facts, self.where[0]
        if len(facts.attending(stack)) < facts.layers_of(stack):
            raise ContentError(
                f"--prove: {facts.name} has layers without attention, and it looks at every layer",
                "attn heads --layer all ranks the heads that there are",
            )
        prompt, changes = self.probe.prompt, self._changes(())
        logits = _OF_LOGIT * facts.vocabulary * len(self.probe.block) * self.loses
        made = room.Made(bytes=logits)
        if self.loses:
            model, request = family.side_by_side(self.model), self._request(changes)
            room.check(model, prompt, request, max_memory, times=_TOGETHER, made=made)
        room.check(
            self.model, prompt, self._request(changes, self._wanted()), max_memory, made=made
        )
        self._check_parameters(max_memory)

    def _check_parameters(self, max_memory: int, heads: int = 0) -> None:
        """The same for reading parameters, while what reads keys is kept of so many heads, and each
        thread has the four matrices of one, in float64."""
        facts, request = self.model.facts, self._of_parameters(self.layers)
        matrices = heads + 4 * min(cores.threads(), facts.heads_of(self.where[0]))
        kept = room.Made(bytes=8 * matrices * facts.model_width * facts.head_width)
        room.check(self.model, self.probe.short, request, max_memory, forgotten=True, made=kept)

    def scores(self) -> Generator[Passed, None, "Scores"]:
        """Each role's mean weight over its queries, the first token's value, and the loss."""
        probe, size = self.probe, len(self.probe.block)
        request = self._request(self._changes(()), self._wanted())
        ids = probe.prompt.last.ids
        blocks, end = yield from session.running(self.model, ids, request)
        second = slice(probe.start + size, probe.start + 2 * size)
        rows = {"induction": second, "duplicate": second}
        of_roles = {
            role: self._means(blocks, role, rows.get(role, slice(1, None))) for role in ROLES
        }
        lengths = np.array([block.value_lengths for block in self._in_order(blocks)])
        with np.errstate(all="ignore"):
            values = lengths[..., 0] / lengths[..., 1:].mean(axis=-1)
        (loss,) = self._losses([end.x]) if self.loses else (np.nan,)
        return Scores(of_roles, values, loss, end.touched)

    def nulls(self, seed: int) -> Generator[Passed, None, dict[str, float]]:
        """The largest score of any head where no token comes again (see `prove.Role`)."""
        size, start = len(self.probe.block), self.probe.start
        tokens = len(self.probe.plain.of(self.where[0]).tokens)
        wanted = {**self._wanted(), "anywhere": share_at(self.drawn_keys(tokens, seed))}
        prompt = self.probe.plain
        request = self._request(self._changes((), prompt), wanted, whole=False, prompt=prompt)
        blocks, _ = yield from session.running(self.model, prompt.last.ids, request)
        second = slice(start + size, start + 2 * size)
        far = {role: self._means(blocks, role, second) for role in ("induction", "duplicate")}
        anywhere = self._means(blocks, "anywhere", slice(_NEAR, None))
        return {role: float(np.nanmax(far.get(role, anywhere), initial=0.0)) for role in ROLES}

    def losses(self, removals: Sequence[Collection[Head]]) -> Generator[Passed, None, list[float]]:
        """The loss without each of these sets of heads: side by side, some at a time."""
        found: list[float] = []
        groups = [removals[at : at + _TOGETHER] for at in range(0, len(removals), _TOGETHER)]
        for place, group in enumerate(groups):
            model, ids = family.side_by_side(self.model), self.probe.prompt.last.ids
            requests = [self._request(self._changes(heads)) for heads in group]
            passes = [session.running(model, ids, request) for request in requests]
            ends = yield from _counted(family.abreast(model, passes), place, len(groups))
            for problem in (end for end in ends if isinstance(end, AttnError)):
                raise problem
            found += self._losses([end.x for _, end in ends])
        return found

    def partners(
        self, heads: Collection[Head], most: int, max_memory: int = 0
    ) -> Generator[Passed, None, dict[Head, list[tuple[float, Head]]]]:
        """The earlier heads of the same attention whose output the keys of these heads read most.

        The largest K-composition first, see `low_rank.composition`; none where keys are not made of
        what enters by one matrix.
        """
        if self.model.facts.kv_latent:
            return {}
        self._check_parameters(max_memory, len(heads))
        read: dict[Head, Factor] = {}
        found: dict[Head, list[tuple[float, Head]]] = {head: [] for head in heads}
        last = max((layer for layer, _ in heads), default=-1)

        def reader(block: Attention, head: int) -> None:
            if (block.layer, head) in found:
                read[block.layer, head] = low_rank.reading(self._matrices(block, head))

        def writer(block: Attention, head: int) -> None:
            writes = low_rank.writing(self._matrices(block, head))
            for later in (other for other in found if other[0] > block.layer):
                score = low_rank.composition(writes, read[later])
                found[later].append((score, (block.layer, head)))

        yield from self._parameters(last, reader)
        yield from self._parameters(last - 1, writer)
        best = {
            head: sorted(known, key=lambda one: (-one[0], one[1])) for head, known in found.items()
        }
        return {head: known[:most] for head, known in best.items()}

    def _parameters(
        self, last: int, work: Callable[[Attention, int], None]
    ) -> Generator[Passed, None, None]:
        """Hands each head of the layers up to `last` to `work`, with a block of its parameters."""
        request = self._of_parameters(last + 1)
        for step in session.records(self.model, self.probe.short.last.ids, request):
            if isinstance(step, Attention):
                with np.errstate(all="ignore"):
                    cores.each(partial(work, step), step.heads)
            else:
                yield step

    def _of_parameters(self, layers: int) -> Request:
        """What asks for the parameters of so many layers."""
        return session.request_for(
            self.probe.short, blocks=self._blocks(layers), arrays=low_rank.NEEDS, whole=False
        )

    def _matrices(self, block: Attention, head: int) -> Matrices:
        return low_rank.matrices(block, head, self.model.facts.group_of(block.stack))

    def _wanted(self) -> dict[str, Measure]:
        """What is measured, by roles."""
        size = len(self.probe.block)
        back = {"induction": size - 1, "duplicate": size, "previous": 1, "self": 0}
        return {**{role: share_back(many) for role, many in back.items()}, "sink": first_share}

    def drawn_keys(self, tokens: int, seed: int) -> np.ndarray:
        """For each query a key that it may see, none with a role: not the first, the one before,
        nor itself; −1 where there is none."""
        rng, causal = np.random.default_rng(seed), Address(*self.where, 0).causal
        keys = np.full(tokens, -1)
        for at in range(_NEAR, tokens):
            others = [key for key in range(1, at if causal else tokens) if key not in (at, at - 1)]
            keys[at] = rng.choice(others)
        return keys

    def _changes(self, heads: Collection[Head], prompt: Prompt | None = None) -> Changes:
        typed = [*self.settings.get("without_head", ()), *(f"{n}.{head}" for n, head in heads)]
        settings = {**self.settings, "without_head": typed}
        return session.what_if(self.model, prompt or self.probe.prompt, (self.where,), **settings)

    def _blocks(self, layers: int) -> frozenset[Address]:
        return frozenset(Address(*self.where, layer) for layer in range(layers))

    def _request(
        self,
        changes: Changes,
        wanted: Mapping[str, Measure] | None = None,
        *,
        whole: bool = True,
        prompt: Prompt | None = None,
    ) -> Request:
        blocks = self._blocks(self.layers) if wanted else frozenset()
        return session.request_for(
            prompt or self.probe.prompt, blocks=blocks, what_if=changes, whole=whole,
            measures={self.where: wanted or {}}, positions={self.where: ((0,), (0,))},
        )  # fmt: skip

    def _in_order(self, blocks: Mapping[Address, Attention]) -> list[Attention]:
        return [blocks[Address(*self.where, layer)] for layer in range(self.layers)]

    def _means(self, blocks: Mapping[Address, Attention], name: str, rows: slice) -> np.ndarray:
        """A measure's mean over some queries (layer, head)."""
        taken = [block.measures[name][:, rows] for block in self._in_order(blocks)]
        return np.array([of_heads.mean(axis=-1) for of_heads in taken])

    def _losses(self, ends: Sequence[np.ndarray]) -> list[float]:
        """The mean loss on the second copy, but for its first token, of each of these ends."""
        size, start = len(self.probe.block), self.probe.start
        rows = slice(start + size, start + 2 * size - 1)
        logits = session.predict(self.model, np.concatenate([x[rows] for x in ends]))
        targets = np.array(self.probe.block[1:])
        with np.errstate(all="ignore"):
            return [
                float(cross_entropy(part.astype(np.float64), targets).mean())
                for part in np.split(logits, len(ends))
            ]


class Scores(NamedTuple):
    """Of each role (layer, head); `values`: the length of the first token's value, after W_O, over
    the mean of the others' (layer, head); `touched`: a what-if setting has changed the vectors."""

    of_roles: dict[str, np.ndarray]
    values: np.ndarray
    loss: float
    touched: bool


def _counted(
    steps: Generator[Passed, None, T], before: int, works: int
) -> Generator[Passed, None, T]:
    """The same steps as those of one of many works that are alike, of which some went before."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        at, layers = before * step.layers + step.layer, works * step.layers
        yield step._replace(stack="passes", layer=at, layers=layers)
