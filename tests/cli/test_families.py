"""The page says of each family what its model does, and what it does not do."""

import json

import jsonschema
import numpy as np
import pytest

from attn_cli.training.tokenizer import ENCODER

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
        "times as long": False, "An RMS norm then normalises": False, "× w_norm + b_norm": True,
    },
    "deberta-shared": {
        "layer norm of the token vector": True, "where the token stands": False,
        "scores = content_to_content + content_to_position + position_to_content": True,
        "how far apart the two tokens stand": True, "scores ÷ √(8 × 3)": True,
        "it enters in step 3, as terms of the scores": True,
        "every query sees every key": True, "a norm brings the sum to scale": True,
    },
    "deberta-c2p": {
        "x = layer norm of token vector + position vector + segment vector": True,
        "A third says which of the two segments": True, "it enters in": False,
        "scores = content_to_content + content_to_position How": True, "scores ÷ √(5 × 2)": True,
    },
    "deberta-absolute": {"scores = q · kᵀ": True, "scores × 0.316228": True},
    "modernbert-windows": {
        "q = x·W_Q": True, "every query sees every key": True, "rotate together": True,
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


def test_the_page_says_what_a_later_layer_does(attn, golden_copy):
    """A window that the text is shorter than on one side of every token, a norm without a bias."""
    path = str(golden_copy("modernbert-windows"))
    page = attn("trace", "--ids", "1,2,3,4", "--model", path, "--layer", "1").text
    words = " ".join(page.split())
    assert "each query sees itself and, at most, the 2 tokens on either side" in words
    assert "√(variance + ε) × w_norm with ε" in words and "q = normed·W_Q" in words


def test_the_page_says_that_segments_are_all_that_is_added(attn, golden_copy, repack):
    folder = golden_copy("deberta-p2c")
    config = json.loads((folder / "config.json").read_text()) | {"type_vocab_size": 2}
    (folder / "config.json").write_text(json.dumps(config))
    place = "deberta.embeddings.token_type_embeddings.weight"
    types = np.ones((2, 15), np.float32).tobytes()
    repack(folder, lambda entries: entries | {place: ("F32", (2, 15), types)})
    page = attn("trace", "--ids", "1,2,3", "--model", str(folder)).text
    words = " ".join(page.split())
    assert "x = layer norm of token vector + segment vector" in words
    assert "A second vector says which of the two segments it belongs to." in words
    assert "where the token stands" not in words and "type_embedding" in words


@pytest.mark.parametrize(("name", "head"), [
    ("deberta-shared", "makes of x: a linear map, gelu and a layer norm"),
    ("deberta-absolute", "makes of x: a linear map, relu and a layer norm"),
    ("modernbert-windows", "makes of x: a layer norm, a linear map, gelu and a layer norm"),
])  # fmt: skip
def test_the_page_says_what_a_head_for_masked_tokens_does(attn, golden_copy, name, head):
    path = str(golden_copy(name, ENCODER))
    page = attn("trace", "the [MASK] sees", "--model", path).text
    words = " ".join(page.split())
    assert head in words and "the token for `[MASK]`" in words and "plus the token's bias" in words


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
