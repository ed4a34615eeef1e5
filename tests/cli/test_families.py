"""The page says of each family what its model does, and what it does not do."""

import jsonschema
import numpy as np
import pytest

SAID = {
    "gpt2-a": {
        "where the token stands": True, "soft cap": False, "bias is added that": False,
        "it is added to x": True, "rotate": False,
    },
    "llama-plain": {
        "rotate together": True, "where the token stands": False, "multiplied by √": False,
        "it is added to x": True,
    },
    "gemma2": {
        "multiplied by √20": True, "it rotates queries and keys": True,
        "bends each score to stay between −3 and 3": True,
        "sees itself and, at most, the 4 tokens before it": True,
        "a norm of its own brings it to scale": True, "multiplied by 0.377964": True,
        "hides later tokens from earlier ones": False, "3·tanh(scores × 0.377964 ÷ 3)": True,
    },
    "bloom": {
        "brought to a common scale by a layer norm": True, "as a bias on the scores": True,
        "it is 0.2500 × the key's position": True, "rotate": False, "soft cap": False,
        "scores × 0.5 + bias": True, "hides later tokens from earlier ones": True,
    },
    "opt-behind": {
        "where the token stands": True, "q = x·W_Q": True, "have another width": True,
        "a norm brings the sum to scale": True,
    },
    "bloom-normed": {"added to `normed`, not to x": True, "it is added to x": False},
    "gemma3": {"q, k = norm(normed·W_Q, normed·W_K)": True, "An RMS norm then normalises": True},
    "qwen3-yarn": {"An RMS norm then normalises": True, "times as long": True},
    "phi3-short": {
        "Only the first 6 of a head's 8 dimensions": True, "1.209 times as long": True,
    },
    "llama-yarn": {"1.300 times as long": True, "Only the first": False},
    "opt-before": {
        "where the token stands": True, "q = normed·W_Q": True, "have another width": False,
    },
    "neox-parallel": {
        "rotate together": True, "the bias b_O": True, "Only the first 4 of": True,
        "times as long": False, "An RMS norm then normalises": False,
    },
    "bert": {
        "x = layer norm of token vector + position vector + segment vector": True,
        "A third says which of the two segments": True, "hides later tokens": False,
        "a norm brings the sum to scale": True, "q = x·W_Q": True, "linear map leads": False,
    },
    "roberta": {"a norm brings the sum to scale": True, "q = x·W_Q": True},
    "distilbert": {
        "x = layer norm of token vector + position vector Training": True, "A third says": False,
    },
    "electra": {
        "x = W·norm(token vector + position vector + segment vector) + b": True,
        "Training has set these vectors of 11 numbers": True,
        "linear map leads from its 11 numbers to the model's 20": True,
    },
    "albert": {"linear map leads from its 11 numbers to the model's 20": True},
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_the_page_says_what_this_model_does(attn, golden_copy, name):
    page = attn("trace", "--ids", "1,2,3,4,5,6", "--model", str(golden_copy(name))).text
    words = " ".join(page.split())
    assert {sentence: sentence in words for sentence in SAID[name]} == SAID[name]


@pytest.mark.parametrize(("name", "array"), [("gemma2", "soft_cap"), ("bloom", "bias")])
def test_scaled_can_be_redone_from_the_document(attn, golden_copy, name, array):
    path = str(golden_copy(name))
    document = attn("trace", "--ids", "1,2,3,4", "-m", path, "--json").json
    jsonschema.validate(document, attn("schema", "trace").json)
    (block,) = document["attention"]
    assert ("soft_cap" in block) == (array == "soft_cap")
    values = {key: np.array(found["values"], float) for key, found in block["arrays"].items()}
    scaled = values["scores"] * block["scale"]
    if array == "soft_cap":
        scaled = block["soft_cap"] * np.tanh(scaled / block["soft_cap"])
    else:
        scaled = scaled + values["bias"]
    assert np.allclose(values["scaled"], scaled, rtol=0, atol=1e-5)
