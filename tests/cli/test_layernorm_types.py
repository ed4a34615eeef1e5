"""The page says of each type with a layer norm before attention what its model does."""

import pytest

BESIDE, ONE = "both start from this layer's x", "One norm serves both"
SAID = {
    "phi-b": {BESIDE: True, ONE: True, "A layer norm then normalises each query": True},
    "falcon-b": {BESIDE: True, ONE: False, "dimensions i and i + 2 rotate": True},
    "falcon-d": {
        BESIDE: False, "a bias (ALiBi)": True, "rounded to bfloat16 first": True, "rotate": False,
    },
    "gptj-a": {ONE: True, "dimensions 2i and 2i + 1": True, "Only the first 6 of a head's 8": True},
    "mpt-a": {
        "0.06250 × (the key's position − 5): 0 for the last token": True, "+ b_norm": False,
        "above 0.7 or below −0.7": True, "bias b_O": False, "scores × 0.61 + bias": True,
    },
    "gpt_neo-a": {
        "the scale is 1": True, "the 3 tokens before it": False, "where the token stands": True,
    },
    "gpt_neo-a --layer 1": {"the 3 tokens before it": True, "hides later tokens": False},
    "nemotron-a": {"w_norm is 1 + the weight in the file": True, BESIDE: False},
    "biogpt-a": {"multiplied by √24 on the way in": True, "sines and cosines": False},
    "xglm-a": {"multiplied by √24 on the way in": True, "It is not learned": True},
    "xglm-b": {"on the way in": False},
}  # fmt: skip


@pytest.mark.parametrize("asked", SAID)
def test_the_page_says_what_the_model_does(attn, type_folder, asked):
    name, *options = asked.split()
    result = attn(
        "trace", "--ids", "1,2,3,4,5,6", "--model", type_folder(name), *options, columns=4000
    )
    page = " ".join(result.text.split())
    assert result.code == 0
    assert {words: words in page for words in SAID[asked]} == SAID[asked]


def test_why_tells_the_bias_of_a_querys_norm(attn, type_folder):
    where = ("--ids", "1,2,3,4", "--model", type_folder("persimmon-a"), "--query", "3")
    result = attn("why", *where, "--array", "q", "--column", "1", columns=4000)
    assert "by a learned weight, to which it adds a learned bias: (" in result.text
    split = attn("why", *where, "--by", "component", columns=4000)
    assert "bias of the key's norm" in split.text
