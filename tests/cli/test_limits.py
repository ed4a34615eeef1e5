"""What a run may take: threads, memory, and more tokens than its model was trained to read."""

import json
import os
import resource

import pytest

from attn_cli.maths import cores

PROMPT = "the greatest thinker in China is"
RUNNING = ("trace", "heads", "mask", "sample", "loss", "lens", "verify")
SEEDED = {command: ("--seed", 1) if command == "sample" else () for command in RUNNING}


def refused(result, code, *words):
    assert result.code == code, result
    assert all(word in result.said for word in words), result.said
    assert "\nhint: " in result.said
    return result


# --- threads -------------------------------------------------------------------------------------

NUMBERS = (
    "nan", "inf", "1e400", "1_0", "٣", "9" * 5000, "0x10", " ", "-7", "many", "0", "-1", "1025",
    "1.5", "+ 2", " 2",
)  # fmt: skip
COMPUTING = (
    *((command, "the king") for command in RUNNING), ("models", "tiny"),
    ("train", "corpus.txt", "--out", "m"),
)  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: text[:8])
@pytest.mark.parametrize("asked", COMPUTING, ids=lambda asked: asked[0])
def test_threads_that_are_no_number_are_refused_by_what_computes(attn, asked, text):
    result = attn(*asked, env={"ATTN_THREADS": text})
    refused(result, 2, "attn: ATTN_THREADS ", "\nhint: a whole number, 1 to 1024\n")
    assert len(result.said) < 200


@pytest.mark.parametrize("asked", [("--version",), ("--help",), ("trace", "--help"), ("schema",)])
def test_what_computes_nothing_asks_for_no_threads(attn, asked):
    assert attn(*asked, env={"ATTN_THREADS": "many"}).code == 0


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("", 0), ("1024", 1024), ("007", 7)])
def test_so_many_threads_compute_in_this_run_alone(attn, monkeypatch, text, count):
    used = []
    monkeypatch.setattr(cores, "use", used.append)
    assert attn("trace", PROMPT, env={"ATTN_THREADS": text}).code == 0
    assert attn("trace", PROMPT).code == 0
    assert used == [count, 0]


# --- memory --------------------------------------------------------------------------------------


def test_a_prompt_above_the_memory_is_refused_with_what_it_needs(attn, monkeypatch):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1200}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    long = "the " * 256
    result = attn("trace", long)
    refused(result, 1, "reading 256 tokens takes ", " MiB for 1 layer; 2.3 MiB may be used")
    refused(result, 1, "hint: what fits: fewer rows (attn trace --query A-B), a prompt of ")
    assert attn("trace", PROMPT).code == 0


@pytest.mark.parametrize("command", RUNNING)
def test_what_needs_more_than_may_be_used_is_refused(attn, command):
    """By every command that runs a model, whatever the machine has, before anything is run."""
    ids = ",".join(["5"] * 200)
    result = attn(command, "--ids", ids, "--max-memory", "60kB", "--json")
    refused(result, 1, "tokens takes ", "; 58.6 KiB may be used", "hint: what fits: ")
    assert "--max-memory" in result.said
    option = result.said.rpartition("--max-memory ")[2].strip()
    assert attn(command, "--ids", ids, "--max-memory", option, "--json").code == 0
    plain = attn(command, PROMPT, "--json", *SEEDED[command]).out
    assert attn(command, PROMPT, "--json", "--max-memory", "1G", *SEEDED[command]).out == plain


@pytest.mark.slow
def test_a_limit_on_addresses_refuses_with_the_estimate(process):
    """As ulimit -v sets it: an allocation would fail somewhere in the middle."""
    model = ("--model", "random:layers=2,heads=8,model_width=64,context=4096")
    asked = ("trace", *model, "--ids", ",".join(["5"] * 4000), "--layer", "all", "--head", "all")

    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    result = process(*asked, preexec_fn=limited)
    refused(result, 1, "reading 4,000 tokens takes ", " GiB for 2 layers", "hint: what fits: ")


# --- the context ---------------------------------------------------------------------------------


def ids(count):
    return ",".join(str(3 + n % 7) for n in range(count))


@pytest.mark.parametrize("command", RUNNING)
def test_a_table_of_positions_has_an_end(attn, command):
    """Whatever is forced, there is no vector for a position beyond it."""
    result = attn(command, "the " * 300, "--force-context")
    refused(result, 1, "has 300 tokens, and tiny has no vector for a position beyond 256")
    assert "hint: shorten it by 44 tokens\n" in result.said


@pytest.mark.parametrize("name", ["deberta-absolute", "deberta-c2p", "bart", "gpt2-a", "roberta"])
def test_no_table_is_read_beyond_its_end(attn, golden_path, name):
    target = ("--target-ids", "1,2") if name == "bart" else ()
    asked = ("trace", "--model", golden_path / name, "--ids", ids(30), *target)
    refused(attn(*asked, "--force-context"), 1, "no vector for a position beyond")
    assert "--force-context" not in attn(*asked).said
    if target:
        long = ("--ids", "5", "--target-ids", ids(12), "--force-context")
        refused(attn(*asked[:3], *long), 1, "the target has 12 tokens, and bart has no vector")


@pytest.mark.parametrize("command", RUNNING)
def test_what_rotates_reads_on_with_a_note(attn, golden_copy, command):
    """What it then computes is what a config with a longer context would have made it compute."""
    folder = golden_copy("llama-plain")
    asked = (command, "--model", folder, "--ids", ids(30), "--json", *SEEDED[command])
    said = "30 tokens, 7 more than the context that llama-plain was trained on"
    refused(attn(*asked), 1, "has 30 tokens, llama-plain reads at most 23", "--force-context")
    forced = attn(*asked, "--force-context")
    assert (forced.code, forced.said) == (0, f"note: {said}\n")
    found = forced.json
    assert said in found["notes"] and found["settings"].pop("force_context") is True
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 64}))
    longer = attn(*asked).json
    differ = {key for key in found if found[key] != longer[key]}
    assert differ == {"model", "notes"}
    assert "force_context" not in longer["settings"]


def test_what_is_written_goes_on_beyond_the_context_too(attn, golden_path):
    asked = ("--model", golden_path / "llama-plain", "--ids", ids(20), "--max-tokens", 8)
    full = attn("sample", *asked, "--seed", 1, "--temperature", 5, "--json")
    assert "3 of 8 tokens: the context of 23 tokens is full" in full.said
    on = attn("sample", *asked, "--seed", 1, "--temperature", 5, "--json", "--force-context")
    assert [drawn["position"] for drawn in on.json["result"]["drawn"]] == list(range(20, 28))
    assert "note: 27 tokens, 4 more than the context that llama-plain was trained on" in on.said
    longer = attn("trace", *asked, "--force-context", "--json", "--step", 1)
    assert len(longer.json["prompt"]["tokens"]) == 28
    assert "note: 28 tokens, 5 more than the context that" in longer.said


@pytest.mark.parametrize("model", ["tiny", "bloom", "llama-plain"])
def test_a_context_that_is_not_left_is_not_forced(attn, golden_path, model):
    place = model if model == "tiny" else golden_path / model
    result = attn("trace", "--ids", "3,4", "--model", place, "--force-context", "--json")
    said = f"--force-context changes nothing here: nothing is beyond the context of {model}"
    assert result.code == 0
    assert result.said.endswith(f"note: {said}\n")
    assert said in result.json["notes"]


def test_a_text_that_is_forced_is_still_bounded_by_memory(attn, golden_copy, monkeypatch):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**8}  # 1 MiB: 512² numbers
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    asked = ("trace", "--model", golden_copy("llama-plain"), "--force-context")
    refused(attn(*asked, "the cat " * 300_000), 1, "this machine could read 512 in its memory")
    refused(attn(*asked, "the cat " * 300), 1, "takes ", "512.0 KiB may be used")
