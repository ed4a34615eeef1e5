"""One word in two texts: how its vectors part layer by layer, and toward which words."""

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np

from attn_cli import parse, session, vocabulary
from attn_cli.analysis.embed import pieces_note
from attn_cli.candidates import likeliest
from attn_cli.errors import UsageError, shorten, some
from attn_cli.maths.directions import compared, cosine, cosines, length
from attn_cli.model.family import Model, output_matrix
from attn_cli.model.weights import NOTHING
from attn_cli.notes import NO_TARGET
from attn_cli.reading import token_of
from attn_cli.records import Passed, Prompt, Trace
from attn_cli.words import Note

OUTPUT, EMBEDDING = "output", "embedding"


class Side(NamedTuple):
    """A text, its tokens, and the one that is followed: the last of the `pieces` of a `word`."""

    text: str
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    position: int
    word: str
    pieces: tuple[str, ...]


class Toward(NamedTuple):
    """A token that a vector is pulled toward, and the cosine of its row with the pull."""

    id: int
    token: str
    cosine: float


class AtLayer(NamedTuple):
    """The two vectors after so many layers, 0 being what enters the first.

    `cosine` and `lengths` are theirs; the pull of the first text is the first vector less the
    second, that of the second the other way round, and `first` and `second` are the tokens nearest
    to these, as far as their cosines are above 0.
    """

    layers: int
    cosine: float
    lengths: tuple[float, ...]
    first: tuple[Toward, ...]
    second: tuple[Toward, ...]


class Contexts(NamedTuple):
    """One word in two texts, through the layers of a `stack`.

    Pulls are differences `through` the final norm, and tokens the rows of the `output` matrix;
    where nothing is predicted, differences as they are and the rows of the `embedding`, and none
    where their widths differ. `positioned`: what enters the first layer is the token's vector and
    that of its position.
    """

    provenance: str
    stack: str
    through: str
    positioned: bool
    sides: tuple[Side, ...]
    layers: tuple[AtLayer, ...]


# --- which token ---------------------------------------------------------------------------------


def side(prompt: Prompt, word: str, which: str) -> Side:
    """The token of a text that is followed: one of that text or position, or a word's last.

    Raises UsageError where there is none, or several.
    """
    labels = prompt.labels
    places = [(place,) for place in _named(word, labels)] or _spelt(word, prompt)
    if not places:
        raise UsageError(
            f"--token {shorten(word)!r} does not stand in the {which} text",
            f"a position from 0 to {len(labels) - 1}, or one of: {shorten(' '.join(labels[:12]))}",
        )
    if len(places) > 1:
        ends = [place[-1] for place in places]
        example = f"{labels[ends[0]].strip()}·{ends[0]}"
        raise UsageError(
            f"--token {shorten(word)!r} stands in the {which} text at positions {some(ends)}",
            f"choose one: --token {example}, one --token for each text",
        )
    (place,) = places
    pieces = tuple(labels[n] for n in place)
    called = word if len(pieces) > 1 else pieces[0]
    return Side(prompt.text, labels, prompt.ids, place[-1], called, pieces)


def _named(word: str, labels: Sequence[str]) -> tuple[int, ...]:
    """Where a token of that text stands, or what a position names."""
    try:
        return parse.positions([word], labels, "--token")
    except UsageError:
        return ()


def _spelt(word: str, prompt: Prompt) -> list[tuple[int, ...]]:
    """The tokens of each place where a word of several of them stands."""
    found, start = [], prompt.text.find(word) if word.strip() else -1
    while start >= 0:
        end = start + len(word)
        spans = [token.span for token in prompt.tokens]
        found.append(tuple(n for n, (a, b) in enumerate(spans) if a < end and b > start))
        start = prompt.text.find(word, end)
    return [places for places in found if places]


# --- both passes ---------------------------------------------------------------------------------


def contexts_steps(
    model: Model,
    prompts: Sequence[Prompt],
    sides: Sequence[Side],
    top: int,
    max_memory: int = 0,
    **settings: object,
) -> Generator[Passed, None, tuple[Contexts, tuple[Trace, ...]]]:
    """One word's vectors in two texts; yields each layer that is done.

    Returns the traces too, with what they say of the texts and settings. See `session.trace` for
    the settings.
    """
    stack, traces = prompts_stack(model), []
    for prompt in prompts:
        asked = session.ask(
            prompt=prompt, model=model, stack=stack, head=0, arrays={"x", "mlp_output"},
            next=False, max_memory=max_memory, **settings,
        )  # fmt: skip
        traces.append((yield from session.tracing(asked)))
    vectors_SLM = [_vectors(trace, one.position) for trace, one in zip(traces, sides, strict=True)]
    through = _through(model, stack)
    layers = _layers(model, through, np.stack(vectors_SLM, axis=1), top)
    touched = any(block.what_if for trace in traces for block in trace.attention)
    provenance = vocabulary.WHAT_IF if touched else vocabulary.DERIVED
    positioned = vocabulary.POSITIONS[model.facts.positions] == "position_embedding"
    positioned = positioned and "positions" not in traces[0].settings["without"]
    found = Contexts(provenance, stack, through, positioned, tuple(sides), layers)
    return found, tuple(traces)


def prompts_stack(model: Model) -> str:
    """The stack that reads a prompt."""
    return "encoder" if model.facts.encodes else "decoder"


def _vectors(trace: Trace, position: int) -> np.ndarray:
    """(layers + 1, model): what enters the first layer at a position, and what each layer gives."""
    blocks = trace.attention
    return np.stack([blocks[0].x[position], *(block.shown["x"][position] for block in blocks)])


def _through(model: Model, stack: str) -> str:
    facts, weights = model.facts, model.weights
    if facts.predicts and stack == facts.stack:
        return OUTPUT
    width = weights.tensor(model.family.embedding).shape[1]
    return EMBEDDING if width == facts.model_width else ""


@np.errstate(all="ignore")
def _layers(model: Model, through: str, vectors_LSM: np.ndarray, top: int) -> tuple[AtLayer, ...]:
    pulls_L = (
        _pulled(model, through, vectors_LSM, top) if through else [((), ())] * len(vectors_LSM)
    )
    return tuple(
        AtLayer(layer, cosine(*both_SM), tuple(length(both_SM).tolist()), *pulls)
        for layer, (both_SM, pulls) in enumerate(zip(vectors_LSM, pulls_L, strict=True))
    )


def _pulled(
    model: Model, through: str, vectors_LSM: np.ndarray, top: int
) -> list[tuple[tuple[Toward, ...], tuple[Toward, ...]]]:
    """The tokens in the direction from the second vector to the first, and in the other one."""
    count, both, width = vectors_LSM.shape
    if through == OUTPUT:
        final = model.family.final(model, vectors_LSM.reshape(-1, width))
        vectors_LSM = final.reshape(count, both, -1)
    pulls_LM = vectors_LSM[:, 0] - vectors_LSM[:, 1]
    name = output_matrix(model) if through == OUTPUT else model.family.embedding
    matrix = model.weights.map(name.removesuffix(".weight"))._replace(bias=NOTHING)
    dots_LV, lengths_V = compared(pulls_LM, matrix)
    near_LV = cosines(dots_LV, length(pulls_LM)[:, None], lengths_V)

    def toward(near_V: np.ndarray) -> tuple[Toward, ...]:
        ids = (int(id) for id in likeliest(near_V, top) if near_V[id] > 0)
        return tuple(Toward(id, token_of(model, id).text, float(near_V[id])) for id in ids)

    return [(toward(near_V), toward(-near_V)) for near_V in near_LV]


def contexts_notes(model: Model, found: Contexts, traces: Sequence[Trace]) -> tuple[Note, ...]:
    """What both passes say, each once, and what stands for a word of several tokens."""
    notes = [said for trace in traces for said in trace.notes if said.key != NO_TARGET]
    notes += [
        said for one in found.sides if (said := pieces_note(model, one.word, one.pieces))
    ]  # fmt: skip
    return tuple({str(said): said for said in notes}.values())
