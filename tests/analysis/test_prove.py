"""Probes: scores and losses redone from traces, nulls from a text without a repeat, and a story."""

import numpy as np
import pytest

import attn_cli
from attn_cli import session
from attn_cli.analysis import low_rank, prove
from attn_cli.analysis.components import components_steps
from attn_cli.analysis.loss import loss
from attn_cli.analysis.probes import BLOCK, ROLES, Passes, probe
from attn_cli.errors import ContentError, UsageError
from attn_cli.records import Address

SELF = ("decoder", "self")


def proved(model, where=SELF, seed=0, **settings):
    read = probe(model, where, seed)
    steps = prove.prove_steps(model, read, where, settings, seed=seed)
    return read, session.finished(steps)


def weights_of(model, prompt, where, **settings):
    stack, kind = where
    trace = attn_cli.trace(
        prompt=prompt,
        model=model,
        stack=stack,
        kind=kind,
        arrays={"weights"},
        next=False,
        **settings,
    )
    return np.array([block.weights for block in trace.attention], np.float64)


PLACES = [
    ("tiny", SELF), ("tiny-encoder", ("encoder", "self")), ("tiny-translator", SELF),
    ("tiny-translator", ("encoder", "self")), ("random:layers=2,heads=3,model_width=24", SELF),
]  # fmt: skip


@pytest.mark.parametrize(("name", "where"), PLACES)
def test_scores_are_means_of_cells_and_nulls_the_largest_without_a_repeat(name, where):
    model = session.load(name)
    read, found = proved(model, where)
    size, start = len(found.block), found.start
    second = np.arange(start + size, start + 2 * size)
    tokens = read.prompt.of(where[0]).ids
    assert size == BLOCK
    assert len(set(found.block)) == size
    assert tokens[start : start + 2 * size] == found.block * 2
    w = weights_of(model, read.prompt, where)
    every = np.arange(1, len(tokens))
    wanted = {
        "induction": w[..., second, second - size + 1], "duplicate": w[..., second, second - size],
        "previous": w[..., every, every - 1], "self": w[..., every, every],
        "sink": w[..., every, 0],
    }  # fmt: skip
    for head in found.heads:
        for role in ROLES:
            cells = wanted[role][head.layer, head.head]
            assert getattr(head, role) == pytest.approx(cells.mean(), rel=1e-5), role
    plain = read.plain.of(where[0]).ids
    assert len(plain) == len(tokens)
    assert len(set(plain[start : start + 2 * size])) == 2 * size
    w = weights_of(model, read.plain, where)
    nulls = {role.name: role.null for role in found.roles}
    for role, back in (("induction", size - 1), ("duplicate", size)):
        largest = w[..., second, second - back].mean(axis=-1).max()
        assert nulls[role] == pytest.approx(largest, rel=1e-5)
    assert nulls["previous"] == nulls["self"] == nulls["sink"] < w.max()


def test_a_probe_has_the_special_tokens_of_a_text_and_draws_none():
    encoder = session.load("tiny-encoder")
    read = probe(encoder, ("encoder", "self"), 3)
    special = [encoder.tokenizer.token(id).special for id in read.prompt.ids]
    assert special == [True, *[False] * (2 * BLOCK), True]
    assert read.start == 1
    translator = session.load("tiny-translator")
    read = probe(translator, SELF, 3)
    assert read.prompt.last.ids[0] == translator.facts.start
    assert not {*read.prompt.ids} & {*read.block}
    assert (
        probe(encoder, ("encoder", "self"), 4).block != probe(encoder, ("encoder", "self"), 3).block
    )


@pytest.mark.parametrize("seed", range(12))
def test_no_special_token_is_drawn(seed):
    model = session.load("tiny-encoder")
    read = probe(model, ("encoder", "self"), seed)
    ids = {*read.block, *read.plain.ids[1:-1]}
    assert not any(model.tokenizer.token(id).special for id in ids)


@pytest.mark.parametrize("where", [SELF, ("encoder", "self")])
def test_a_key_drawn_by_accident_has_no_role(where):
    model = session.load("tiny-encoder" if where[0] == "encoder" else "tiny")
    passes = Passes(model=model, probe=probe(model, where, 0), where=where, settings={})
    keys, at = passes.drawn_keys(100, 0)[3:], np.arange(3, 100)
    assert ((keys > 0) & (keys != at) & (keys != at - 1)).all()
    assert (keys < at).all() == (where == SELF)
    assert len(set(keys.tolist())) > 30


def test_a_block_is_as_long_as_fits():
    read = probe(session.load("random:layers=1,heads=1,context=21"), SELF, 0)
    assert len(read.block) == 10
    with pytest.raises(ContentError, match="no room"):
        probe(session.load("random:layers=1,heads=1,context=7"), SELF, 0)
    with pytest.raises(UsageError, match="cross-attention"):
        probe(session.load("tiny-translator"), ("decoder", "cross"), 0)


@pytest.fixture
def easily_named(monkeypatch):
    """Lets heads of small models have names, which none of them deserves."""
    monkeypatch.setattr(prove, "LEAST", 0.02)


def passes_of(model, read):
    return Passes(model=model, probe=read, where=SELF, settings={})


def loss_on_second(model, read, *heads):
    """The same loss from `attn loss`: the mean over the second copy but for its first token."""
    changes = session.what_if(model, read.prompt, without_head=list(heads))
    rows = loss(model, read.prompt, changes).positions
    size = len(read.block)
    return np.mean([row.loss for row in rows[size : 2 * size - 1]])


@pytest.mark.parametrize("few", [False, True])
def test_losses_and_partners_are_those_of_single_runs(easily_named, monkeypatch, few):
    model = session.load("random:layers=4,heads=4,model_width=32" if few else "tiny")
    if few:  # so that others are left, from some of the layers
        scores = session.finished(passes_of(model, probe(model, SELF, 0)).scores())
        monkeypatch.setattr(prove, "LEAST", np.sort(scores.of_roles["self"].ravel())[-2])
    read, found = proved(model)
    assert found.loss == pytest.approx(loss_on_second(model, read), rel=1e-5)
    named = [head for head in found.heads if set(head.names) - {"sink"}]
    assert named
    arrays = low_rank.NEEDS
    trace = attn_cli.trace(ids=[5], model=model, arrays=arrays, next=False)

    def matrices(layer, head):
        return low_rank.matrices(trace.block(layer), head, 1)

    for head in found.heads:
        nulls = {role.name: role.null for role in found.roles}
        for role in ROLES:
            deserved = getattr(head, role) >= prove.LEAST and getattr(head, role) > nulls[role]
            assert deserved == (role in head.names)
        if head not in named:
            assert np.isnan(head.loss_without)
            assert head.partners == ()
            continue
        without = loss_on_second(model, read, f"{head.layer}.{head.head}")
        assert head.loss_without == pytest.approx(without, rel=1e-5)
        reads = matrices(head.layer, head.head)
        scores = {}
        for layer in range(head.layer):
            for other in range(4):
                writes = matrices(layer, other)
                qk, ov = reads.q.w_MW @ reads.k.w_MW.T, writes.v.w_MW @ writes.w_o
                whole = np.linalg.norm(qk) * np.linalg.norm(ov)
                scores[layer, other] = np.linalg.norm(qk @ ov.T) / whole
        best = sorted(scores, key=lambda at: (-scores[at], at))[:3]
        assert [(one.layer, one.head) for one in head.partners] == best
        for one in head.partners:
            assert one.composition == pytest.approx(scores[one.layer, one.head])
    for role in found.roles:
        holders = [f"{h.layer}.{h.head}" for h in found.heads if role.name in h.names]
        assert list(role.heads) == holders
        for heads, known in (
            (role.heads, role.loss_without), (role.others, role.loss_without_others)
        ):  # fmt: skip
            asked = bool(heads) and role.name != "sink"
            wanted = loss_on_second(model, read, *heads) if asked else np.nan
            assert known == pytest.approx(wanted, rel=1e-5, nan_ok=True)
        layers = [head.layer for head in found.heads if role.name in head.names]
        idle = [
            (-head.sink, f"{head.layer}.{head.head}")
            for head in found.heads
            if head not in named and layers and min(layers) <= head.layer <= max(layers)
        ]
        wanted = [head for _, head in sorted(idle)][: len(holders)]
        enough = len(wanted) == len(holders) and role.name != "sink"
        assert list(role.others) == (wanted if enough else [])
    assert any(role.others for role in found.roles) == few


def test_what_ifs_act_on_the_probes(easily_named):
    model = session.load("tiny")
    settings = {"without_head": ["0.0"], "attention_temperature": 0.5}
    read, found = proved(model, **settings)
    w = weights_of(model, read.prompt, SELF, **settings)
    at = np.arange(1, 2 * BLOCK)
    assert found.provenance == "what-if"
    for head in found.heads:
        mean = w[head.layer, head.head, at, at - 1].mean()
        assert head.previous == pytest.approx(mean, rel=1e-5)
        if not np.isnan(head.loss_without):
            changes = session.what_if(
                model, read.prompt, attention_temperature=0.5,
                without_head=["0.0", f"{head.layer}.{head.head}"],
            )  # fmt: skip
            rows = loss(model, read.prompt, changes).positions[BLOCK : 2 * BLOCK - 1]
            mean = np.mean([row.loss for row in rows])
            assert head.loss_without == pytest.approx(mean, rel=1e-5)


# --- one story of a real model -------------------------------------------------------------------

INDUCTION = [(17, 3), (17, 4), (17, 5), (18, 6), (18, 7), (20, 6), (23, 2), (23, 7)]


@pytest.fixture(scope="module")
def smollm2():
    return session.load("smollm2")


def repeated(model, seed):
    """A block of 50 ids from 1,000 to 39,999, read twice."""
    block = np.random.default_rng(seed).integers(1000, 40000, 50).tolist()
    read = probe(model, SELF, seed, block)
    return passes_of(model, read)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_induction_in_smollm2(smollm2, seed):
    passes = repeated(smollm2, seed)
    scores = session.finished(passes.scores())
    of_roles = scores.of_roles
    assert of_roles["previous"][16, 0] >= 0.85
    assert of_roles["induction"][18, 6] >= 0.80
    assert [tuple(at) for at in np.argwhere(of_roles["induction"] > 0.4)] == INDUCTION
    roles = np.array([of_roles[role] for role in ROLES[:-1]])
    idle = np.argwhere(roles.max(axis=0) < prove.LEAST)
    idle = sorted(map(tuple, idle), key=lambda at: -of_roles["sink"][at])
    others = [at for at in idle if 17 <= at[0] <= 23][:8]
    without, without_others = session.finished(passes.losses([INDUCTION, others]))
    assert without > 3 * scores.loss
    assert without_others == pytest.approx(scores.loss, abs=0.2)
    tokens, query = passes.probe.prompt, 75
    at = Address("decoder", "self", 18)
    split = session.finished(components_steps(smollm2, tokens, at, 6, query, query - 49))
    wrote = next(one.value for one in split.by_key if one.writer == "head 16.0")
    assert wrote > split.advantage / 2
    assert split.error < 1e-4


@pytest.mark.slow
def test_a_previous_token_head_feeds_induction_in_smollm2(smollm2):
    passes = repeated(smollm2, 0)
    found = session.finished(passes.partners([(17, 3)], 17 * 9))
    scores = [score for score, _ in found[17, 3]]
    assert len(scores) == 17 * 9
    assert found[17, 3][0][1] == (16, 0)
    assert scores[0] > 2 * scores[1]
