"""`--adapter`: a model with a LoRA adapter in the commands."""

from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent.parent / "golden"
BASE, ADAPTER, OTHER = (
    str(GOLDEN / name) for name in ("llama-plain", "adapters/plain", "adapters/patterns")
)
ASKED = ("--ids", "3,1,4", "-m", BASE)


def test_compare_shows_what_an_adapter_changes(attn):
    found = attn("compare", *ASKED, "--adapter", ADAPTER, "--json").json
    right = found["result"]["right"]
    assert found["model"]["name"] == "llama-plain"
    assert "adapter" not in found["settings"]
    assert right["model"]["name"] == "llama-plain + plain"
    assert right["settings"]["adapter"] == ADAPTER
    assert found["result"]["prediction"][0]["divergence"] > 0.01
    page = attn("compare", *ASKED, "--adapter", ADAPTER).text
    assert "A and B differ most" in page
    assert "llama-plain + plain" in page


def test_two_adapters_are_one_for_each_side(attn):
    twice = ("--adapter", ADAPTER, "--adapter", OTHER)
    found = attn("compare", *ASKED, *twice, "--json").json
    assert found["settings"]["adapter"] == ADAPTER
    assert found["result"]["right"]["settings"]["adapter"] == OTHER
    refused = attn("compare", *ASKED, *twice, "--adapter", OTHER)
    assert refused.code == 2
    assert "--adapter is given 3 times" in refused.said


def test_the_page_names_the_adapter_and_its_tips_do_too(attn):
    page = attn("trace", *ASKED, "--adapter", ADAPTER, "--quiet").text
    assert page.startswith(" llama-plain + plain · llama")
    tips = " ".join(page[page.index("try next") :].split())
    assert f"--model {BASE} --adapter {ADAPTER}" in tips.replace("- ", "-").replace("/ ", "/")


@pytest.mark.parametrize("command", [
    ("trace",), ("heads",), ("mask", "--mask", "none"), ("sample", "-s", "1"), ("loss",), ("lens",),
    ("why",), ("verify",), ("embed", "--ids", "5"),
])  # fmt: skip
def test_every_document_says_which_adapter_it_is_of(attn, command):
    given = command[1:] if command[0] == "embed" else (*command[1:], "--ids", "3,1,4")
    found = attn(command[0], *given, "-m", BASE, "--adapter", ADAPTER, "--json")
    assert found.code == 0, found.said
    assert found.json["settings"]["adapter"] == ADAPTER
    assert found.json["model"]["name"] == "llama-plain + plain"


def test_models_and_cost_know_it_too(attn):
    inside = attn("models", BASE, "--adapter", ADAPTER, "--json").json
    kinds = {tensor["name"]: tensor["dtype"] for tensor in inside["result"]["tensors"]}
    assert kinds["layers.0.self_attn.q_proj.weight"] == "F32+LoRA"
    assert attn("cost", "-m", BASE, "--adapter", ADAPTER).code == 0
    alone = attn("models", "--adapter", ADAPTER)
    assert alone.code == 2
    assert "--adapter goes with a MODEL" in alone.said


@pytest.mark.parametrize(("given", "code", "said"), [
    ("", 2, "--adapter is empty"), ("/nowhere/at/all", 1, "no adapter /nowhere/at/all"),
    (BASE, 1, "is no LoRA adapter: it has no adapter_config.json"),
    (str(GOLDEN / "adapters" / "inputs-first"), 1, "which llama-plain does not have"),
])  # fmt: skip
def test_what_is_no_adapter_of_this_model_is_refused(attn, given, code, said):
    refused = attn("trace", *ASKED, "--adapter", given)
    assert refused.code == code
    assert said in refused.said
    assert len(refused.said.splitlines()) <= 3


def test_an_adapter_as_a_model_says_how_it_opens(attn):
    refused = attn("trace", "--ids", "1", "-m", ADAPTER)
    assert refused.code == 1
    assert f"with --adapter {ADAPTER}" in refused.said
