"""What a run takes is known before it takes it, and said with what would fit."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from made_folders import made_folder

import attn_cli
from attn_cli import machine, room, room_of_file, session, vocabulary
from attn_cli.analysis.verify import verify
from attn_cli.checkpoints.dequantise import BY_NAME, dequantise, scales_of
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError, UsageError
from attn_cli.maths import cores, tiles
from attn_cli.model.family import in_memory
from attn_cli.model.stack import Request
from attn_cli.model.weights import Stored, Weights
from attn_cli.parse import memory

MIB = 1 << 20
GOLDEN = ("albert", "bart", "bloom", "deberta-both", "gemma2", "gpt2-a", "llama-plain", "t5-gelu")
# What every block of every family has.
COMMON = {"x", "q", "k", "v", "scores", "scaled", "masked", "weights", "z", "head_output", "output"}


@pytest.fixture(scope="module")
def tiny():
    return attn_cli.load("tiny")


@pytest.fixture
def free(monkeypatch):
    """Sets how many bytes are free."""
    return lambda count: monkeypatch.setattr(machine, "available", lambda: count)


def asked(model, prompt, head="all", **more):
    """The request of a trace of every block, and how many tokens each stack reads."""
    blocks, heads = session.chosen(model.facts, model.facts.attentions, "all", head)
    request = session.request_for(prompt, blocks=frozenset(blocks), heads=heads, **more)
    stacks = {stack for stack, _ in model.facts.attentions}
    return request, {stack: len(prompt.of(stack).tokens) for stack in stacks}


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("head", ["all", "1"])
def test_what_is_recorded_is_what_the_arrays_of_a_trace_hold(golden_path, name, head):
    model = attn_cli.load(str(golden_path / name))
    more = {"target_ids": [1, 2, 3, 4]} if model.facts.encoder else {}
    prompt = session.tokenise(model, ids=[3, 4, 5, 6, 7, 8, 9], **more)
    # The heads of BART's encoder are narrower than its decoder's, which is not looked at.
    common = COMMON - ({"q", "k", "v", "z"} if name == "bart" else set())
    for names, exact in ((common, True), (vocabulary.DEFAULT_ARRAYS - {"visible"}, False)):
        request, tokens = asked(model, prompt, head, arrays=frozenset(names))
        none = replace(request, blocks=frozenset())
        estimate = room.needed(model, request, tokens) - room.needed(model, none, tokens)
        trace = session.trace(
            prompt=prompt, model=model, head=head, arrays=names, stack="all", kind="all"
        )
        kept = sum(a.nbytes for block in trace.attention for a in block.arrays.values())
        # Nor whether a norm stands before the attention.
        more = sum(3 * block.x.nbytes for block in trace.attention)
        assert kept <= estimate <= kept + (0 if exact else more)


@pytest.mark.parametrize("name", GOLDEN)
def test_of_fewer_rows_less_is_recorded(golden_path, name):
    model = attn_cli.load(str(golden_path / name))
    more = {"target_ids": [1, 2, 3, 4]} if model.facts.encoder else {}
    prompt = session.tokenise(model, ids=[3, 4, 5, 6, 7, 8, 9], **more)
    rows = dict.fromkeys(model.facts.attentions, (3, 1))
    names = COMMON - ({"q", "k", "v", "z"} if name == "bart" else set())
    request, tokens = asked(model, prompt, arrays=frozenset(names), rows=rows)
    none = replace(request, blocks=frozenset())
    estimate = room.needed(model, request, tokens) - room.needed(model, none, tokens)
    trace = session.trace(
        prompt=prompt, model=model, head="all", arrays=names, rows=rows, stack="all", kind="all"
    )
    assert estimate == sum(a.nbytes for block in trace.attention for a in block.arrays.values())


def test_a_layer_works_with_so_much_whatever_is_recorded(tiny):
    """Of each token five vectors, what is inside the network, a query and a key and value; on each
    thread two blocks of 128 queries and all keys."""
    tokens = {"decoder": 200}
    cores.use(3)
    try:
        found = room.needed(tiny, Request(), tokens)
    finally:
        cores.use(0)
    width = tiny.facts.model_width
    assert found == 4 * (200 * (5 * width + 4 * width + 3 * width) + 3 * 2 * 128 * 200)
    double = replace(tiny, weights=replace(tiny.weights, dtype=np.float64))
    with_one = room.needed(double, Request(), tokens)
    assert with_one == 2 * room.needed(tiny, Request(), tokens)


@pytest.mark.parametrize(
    ("given", "there", "may"),
    [(0, 100, 50), (30, 100, 30), (80, 100, 80), (101, 100, 100), (1 << 60, 100, 100), (0, 0, 0)],
)
def test_half_of_what_is_there_may_be_used_or_what_was_given(free, given, there, may):
    free(there)
    assert machine.allowed(given) == may


@pytest.mark.parametrize("given", [-1, -(1 << 60)])
def test_less_than_nothing_is_refused(given):
    with pytest.raises(UsageError, match=r"max_memory -1.* is out of range"):
        attn_cli.trace("the", max_memory=given)


def test_a_trace_that_fits_runs_and_one_byte_less_is_refused(tiny):
    prompt = session.tokenise(tiny, ids=[5] * 200)
    arrays = frozenset({"weights", "q"})
    request, tokens = asked(tiny, prompt, arrays=arrays)
    need = room.needed(tiny, request, tokens) + room.of_tokenizer(tiny)
    need += room_of_file.of_file(tiny, request, 200)
    run = {"prompt": prompt, "model": tiny, "arrays": arrays}
    assert len(session.trace(max_memory=need, **run).attention) == 2
    with pytest.raises(ContentError, match=r"reading 200 tokens takes .* for 2 layers; .* may be"):
        session.trace(max_memory=need - 1, **run)


def refusal(model, **more):
    with pytest.raises(ContentError) as refused:
        session.trace(model=model, **more)
    return refused.value


def test_what_would_fit_does(free):
    """Whatever the hint names runs, and one more of it does not."""
    model = attn_cli.load("random:layers=4,heads=4,model_width=32,context=4096")
    free(1 << 40)
    ids, most = [5] * 600, 12 * MIB
    run = {"ids": ids, "arrays": {"weights"}, "max_memory": most}
    hint = refusal(model, **run).hint
    assert "fewer rows (attn trace --query A-B)" in hint
    layers, heads, tokens = (
        int(re.search(rf"([\d,]+) {word}", hint)[1].replace(",", ""))
        for word in ("layers? ", "heads? ", "tokens?")
    )
    assert 0 < layers < 4 and 0 < heads < 4 and 0 < tokens < 600
    for fits, more in (
        ({"layer": list(range(layers))}, {"layer": list(range(layers + 1))}),
        ({"head": list(range(heads))}, {"head": list(range(heads + 1))}),
        ({"ids": [5] * tokens}, {"ids": [5] * (tokens + 1)}),
    ):
        session.trace(model=model, **{**run, **fits})
        refusal(model, **{**run, **more})
    option = re.search(r"--max-memory (\S+)$", hint)[1]
    session.trace(model=model, **{**run, "max_memory": memory(option, "")})


def test_what_would_not_fit_is_not_offered(free, tiny):
    layer = room_of_file.of_file(tiny, Request(), 200)
    free(100_000 + 2 * (room.of_tokenizer(tiny) + layer))
    said = refusal(tiny, ids=[5] * 200, layer=0, head=0, arrays={"weights"})
    assert said.hint.startswith("what fits: a prompt of ")
    assert not {"--layer", "--head", "--max-memory"} & set(said.hint.split())
    free(10)
    assert refusal(tiny, ids=[5]).hint == "this model needs more memory"


def test_tokens_are_not_compared_where_there_is_no_room_for_them(free, tiny):
    """A tokenizer, and six numbers in float64 of each."""
    from attn_cli.analysis.embed import expression, nearest

    sum_of, need = expression(tiny, "father"), (500 + 48) * tiny.facts.vocabulary
    free(need)
    assert nearest(tiny, sum_of, max_memory=need).nearest
    for may, hint in ((need - 1, "what fits: --max-memory 1MiB"), (0, "needs more memory")):
        free(need - (not may))
        with pytest.raises(ContentError, match=r"comparing 995 tokens takes .* may be used") as no:
            nearest(tiny, sum_of, max_memory=may)
        assert hint in no.value.hint


def test_a_long_text_says_how_long_it_may_be(free):
    """Not only a trace: every run has to fit."""
    model = attn_cli.load("random:context=4096,layers=2,heads=2,model_width=16")
    prompt = session.tokenise(model, ids=[5] * 3000)
    free(3 * MIB)
    for run in (attn_cli.loss, lambda *given, **more: attn_cli.sample(*given, _cold(), **more)):
        with pytest.raises(ContentError, match=r"reading 3,0\d\d tokens takes") as refused:
            run(model, prompt, **({} if run is attn_cli.loss else {"seed": 0}))
        assert re.match(r"what fits: a prompt of [\d,]+ tokens", refused.value.hint)


def _cold():
    from attn_cli.analysis.sample import Sampling

    return Sampling()


def test_a_verification_has_room_for_the_trace_and_its_double(tiny, monkeypatch):
    from attn_cli.analysis.verify import verify

    prompt, dtypes = session.tokenise(tiny, ids=[5] * 50), []
    request, tokens = asked(tiny, prompt, arrays=vocabulary.DEFAULT_ARRAYS | {"w_o", "b_o"})
    parts = room._parts(tiny, request, tokens, forgotten=False)
    need = room.of_tokenizer(tiny) + 3 * parts.recorded + 2 * parts.working
    need += room_of_file.of_file(tiny, request, 50)
    # What a block is recomputed in, beside what a layer works with.
    need += 6 * parts.block
    assert verify(tiny, prompt, {}, max_memory=need).verdict == "normal"
    monkeypatch.setattr(session, "records", lambda *given: dtypes.append(given))
    with pytest.raises(ContentError, match="reading 50 tokens takes"):
        verify(tiny, prompt, {}, max_memory=need - 1)
    assert dtypes == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 1), ("1000000", 10**6), ("5B", 5), ("500MB", 5 * 10**8), ("2GiB", 2 << 30),
        ("1.5G", 3 << 29), ("1.5GB", 15 * 10**8), ("2gib", 2 << 30), ("3 MiB", 3 << 20),
        ("64k", 1 << 16), ("0.5TiB", 1 << 39), ("1Mi", 1 << 20), ("0000001K", 1024),
        ("0.000000001GB", 1),
    ],
)  # fmt: skip
def test_a_size_is_a_number_with_a_unit(text, count):
    assert memory(text, "--max-memory") == count


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "G", "GiB", "-1", "+1", "0", "0GiB", "1.5", "1.", ".5G", "1e9", "1_000", "٣",
        "２G", "nan", "inf", "1 000", "2 G iB", "5i", "5iB", "2GG", "2PB", "1.5B", "0.0000001K",
        "9" * 5000, "9" * 5000 + "G", "999999999999999999T", "2GiB ", "2GiB\n", "0x10",
        "half", "50%",
    ],
)  # fmt: skip
def test_anything_else_is_none(text):
    with pytest.raises(
        UsageError, match=r"(?s)^--max-memory .* is (no size|out of range)$"
    ) as refused:
        memory(text, "--max-memory")
    assert "2GiB" in refused.value.hint
    assert len(refused.value.message) < 100


@pytest.mark.parametrize("kind", ["Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "Q8_0"])
@pytest.mark.parametrize("moved", [False, True])
def test_what_is_made_of_blocks_counts_as_it_is_stored_too(monkeypatch, kind, moved):
    """What a thread has of a matrix at a time: floats, stored rows, in another order copies."""
    monkeypatch.setattr(tiles, "VIEWED", tiles.MADE)
    outputs, inputs, positions = 4608, 2048, 6
    _, block, size = BY_NAME[kind]
    raw = np.zeros((outputs, inputs // block * size), np.uint8)
    scales = scales_of(kind)
    tensor = Tensor(kind, (outputs, inputs), raw.nbytes, "", lambda: raw, dequantise, scales=scales)
    stored = {"m": Stored("t", np.flipud)} if moved else {"m": Stored("t")}
    model = SimpleNamespace(weights=Weights(tensors={"t": tensor}, stored=stored))
    cores.use(1)
    told = room_of_file._rows(model, "m", positions)
    rows = max(some.stop - some.start for *_, some in tiles.cut(
        [tiles.Job(positions, inputs, outputs, made=tiles.UNPACKED, sharing=bool(scales))]
    )[0])  # fmt: skip
    cores.use(0)
    at_once = max(some.stop - some.start for some in tiles.in_parts(inputs, rows))
    need = 4 * at_once * inputs + (1 + moved) * rows * raw.shape[1]
    need += sum(one.nbytes for one in scales(raw[:rows])) if scales else 0
    assert need <= told <= 1.1 * need


def test_weights_that_are_kept_for_many_passes_count(golden_copy, repack):
    """Those that have to be widened: 4 bytes a number."""
    folder = golden_copy("llama-plain")
    repack(folder, lambda entries: {
        name: ("F16", shape, np.frombuffer(data, "<f4").astype("<f2").tobytes())
        for name, (_, shape, data) in entries.items()
    })  # fmt: skip
    model = session.load(str(folder))
    prompt = session.tokenise(model, ids=[5, 6])
    request = session.request_for(prompt)
    once = room.needed(model, request, {"decoder": 2})
    numbers = sum(tensor.size // 2 for tensor in model.weights.tensors.values())
    once += room.of_tokenizer(model)
    # The pages of one tensor are there while the copy is made.
    rows = room_of_file.of_file(model, request, 2)
    need = once + 4 * numbers + max(t.size for t in model.weights.tensors.values())
    room.check(model, prompt, request, once + rows)
    with pytest.raises(ContentError, match="may be used"):
        room.check(in_memory(model), prompt, request, need - 1)
    room.check(in_memory(model), prompt, request, need)


def test_pages_of_weights_that_are_kept_count_too(golden_path, tmp_path):
    """All but an embedding that is not the output matrix too, of which rows are read."""
    tied = session.load(str(golden_path / "llama-plain"))
    assert room_of_file.held(in_memory(tied), Request()) == tied.weights.size
    assert room_of_file.held(tied, Request()) == 0
    untied = session.load(str(made_folder(tmp_path, "llama-a")))
    rows = untied.weights.tensors["model.embed_tokens.weight"].size
    assert room_of_file.held(in_memory(untied), Request()) == untied.weights.size - rows


def test_layers_that_nobody_chose_are_not_offered(golden_path):
    model = session.load(str(golden_path / "llama-plain"))
    prompt = session.tokenise(model, ids=[5] * 20)
    with pytest.raises(ContentError) as refused:
        verify(model, prompt, {}, max_memory=300_000)
    assert "--layer" not in refused.value.hint and "a prompt of" in refused.value.hint


# --- what a layer makes of the file, and works with ----------------------------------------------


def of_layer(model):
    """How many numbers a token adds to what a pass that records nothing works with."""
    cores.use(1)
    try:
        one, two = (room.needed(model, Request(), {"decoder": count}) for count in (1, 2))
    finally:
        cores.use(0)
    return (two - one) // 4 - 2 * 128


def test_a_mixture_works_with_what_its_experts_do_side_by_side(tmp_path):
    """Arrays of 24 and 9 numbers, for each of three experts of a token."""
    model = attn_cli.load(str(made_folder(tmp_path, "olmoe-a")))
    assert model.facts.experts == (8, 3, 0)
    facts = model.facts
    queries, keys = facts.heads * facts.head_width, 2 * facts.kv_heads * facts.head_width
    attention = 3 * 24 + 4 * queries + 2 * keys
    inner = max(24, queries, 8)  # of matrices of layer 0 that are no expert's
    network = 5 * 24 + queries + keys + inner + 3 * 2 * (24 + 9)
    assert of_layer(model) == max(attention, network)


def test_latents_work_with_keys_of_every_head(tmp_path):
    model = attn_cli.load(str(made_folder(tmp_path, "minicpm3-a")))
    facts = model.facts
    every, keys = 3 * (5 + 4), facts.kv_heads * (5 + 4 + 7)
    attention = 3 * 21 + 4 * every + 2 * keys + 4 * every + 3 * 7 + 13 + 11
    assert of_layer(model) == attention


def test_matrices_that_are_made_of_the_file_count_one_network_at_a_time(golden_path):
    """Beyond 256 tokens; of a file in float32 none are, nor are those again that are kept."""
    plain = attn_cli.load(str(golden_path / "llama-plain"))
    tensors = {name: t._replace(dtype="F16") for name, t in plain.weights.tensors.items()}
    half = replace(plain, weights=replace(plain.weights, tensors=tensors))
    networks = {"self_attn": 0, "mlp": 0}
    for name, tensor in half.weights.tensors.items():
        for network in networks:
            if f"layers.0.{network}." in name and len(tensor.shape) == 2:
                networks[network] += 4 * np.prod(tensor.shape)
    assert max(networks.values()) > 0

    def of_file(model, positions, request=Request()):  # noqa: B008
        return room_of_file.of_file(model, request, positions)

    pages = sum(
        tensor.size for name, tensor in plain.weights.tensors.items() if "layers.0." in name
    )
    assert of_file(half, 257) == max(networks.values()) + pages
    double = replace(plain, weights=replace(plain.weights, dtype=np.float64))
    assert of_file(double, 257) == 2 * max(networks.values()) + pages
    assert of_file(plain, 257) == pages
    kept = replace(half, weights=replace(half.weights, hold=True))
    assert of_file(kept, 256) == of_file(kept, 257) == 0
    # A pass that stops at the attention of layer 0 comes to no network.
    blocks, _ = session.chosen(plain.facts, plain.facts.attentions, 0, "all")
    first = Request(blocks=frozenset(blocks), whole=False)
    assert networks["self_attn"] < of_file(half, 257, first) < networks["self_attn"] + pages


def test_of_a_few_positions_threads_have_rows_of_a_matrix(golden_path):
    """As they are stored, and in float32; of logits too, which stand beside them."""
    plain = attn_cli.load(str(golden_path / "llama-plain"))
    # As if a layer had a matrix of 40 MB, of which each thread asks for three quarters of a million
    # numbers at a time, and in the end for half as many more.
    big = {name: t._replace(shape=(4096, 2560), size=4096 * 2560 * 4)
           for name, t in plain.weights.tensors.items() if len(t.shape) == 2}  # fmt: skip
    large = replace(plain, weights=replace(plain.weights, tensors=plain.weights.tensors | big))
    halves = {name: t._replace(dtype="F16", size=t.size // 2) for name, t in big.items()}
    half = replace(plain, weights=replace(plain.weights, tensors=plain.weights.tensors | halves))
    part = (3 << 18) // 2560 * 2560 * 3 // 2
    for threads in (1, 3):
        cores.use(threads)
        try:
            assert room_of_file.of_file(large, Request(), 20) == threads * 4 * part
            assert room_of_file.of_file(half, Request(), 20) == threads * 6 * part
            logits = 4 * 20 * plain.facts.vocabulary
            assert room_of_file.of_logits(half, 20) == logits + threads * 6 * part
        finally:
            cores.use(0)
    assert room_of_file.of_logits(half, 0) == 0


def test_a_long_pass_gives_back_what_layers_worked_with(tiny, monkeypatch):
    """So that what is made in the end comes in its place; a short one keeps it for the next."""
    given = []
    monkeypatch.setattr(session, "give_back", lambda: given.append(1))
    model = attn_cli.load("random:layers=1,heads=1,model_width=8,context=512")
    for count, times in ((256, 0), (257, 1)):
        prompt = session.tokenise(model, ids=[5] * count)
        session.run(model, prompt.ids, Request())
        assert len(given) == times
    parts = room._parts(model, Request(), {"decoder": 257}, forgotten=False)
    held = room_of_file.of_file(model, Request(), 257)
    need = room.of_tokenizer(model) + max(10**8, parts.working + held)
    room.check(model, prompt, Request(), need, made=room.Made(bytes=10**8))
    with pytest.raises(ContentError, match="reading 257 tokens takes"):
        room.check(model, prompt, Request(), need - 1, made=room.Made(bytes=10**8))


def test_a_run_whose_matrices_do_not_fit_is_refused(golden_path):
    plain = attn_cli.load(str(golden_path / "llama-plain"))
    tensors = {name: t._replace(dtype="BF16") for name, t in plain.weights.tensors.items()}
    stored = replace(plain, weights=replace(plain.weights, tensors=tensors))
    prompt = session.tokenise(plain, ids=[5] * 300, force_context=True)
    need = room.needed(plain, Request(), {"decoder": 300}) + room.of_tokenizer(plain)
    room.check(plain, prompt, Request(), need + room_of_file.of_file(plain, Request(), 300))
    with pytest.raises(ContentError, match="reading 300 tokens takes"):
        room.check(stored, prompt, Request(), need + room_of_file.of_file(plain, Request(), 300))
    room.check(stored, prompt, Request(), need + room_of_file.of_file(stored, Request(), 300))


def test_what_is_made_of_the_records_counts_beside_them(tiny):
    prompt = session.tokenise(tiny, ids=[5] * 100)
    request, tokens = asked(tiny, prompt, arrays=frozenset({"weights", "visible"}))
    parts = room._parts(tiny, request, tokens, forgotten=False)
    weights, visible = 4 * 4 * 100 * 100, 100 * 100  # of four heads; what is seen is one byte
    assert parts.array == weights and parts.block == weights + visible
    assert parts.recorded == 2 * parts.block
    for made, bytes in (
        (room.Made(of_all=9), 18 * parts.block), (room.Made(of_block=9), 9 * parts.block),
        (room.Made(of_array=9), 9 * weights), (room.Made(bytes=10**8), 10**8),
        (room.Made(), 0),
    ):  # fmt: skip
        need = room.of_tokenizer(tiny) + parts.recorded + parts.working + bytes
        need += room_of_file.of_file(tiny, request, 100)
        room.check(tiny, prompt, request, need, made=made)
        with pytest.raises(ContentError, match="reading 100 tokens takes"):
            room.check(tiny, prompt, request, need - 1, made=made)
