"""Pages of types whose norms and positions stand elsewhere say what their models do."""

import pytest
from made_folders import made_folder

PAGES = [
    ("olmo-a", "no number of q, k and v is left above 0.9 or below −0.9"),
    ("olmo-a", "normed = (x − mean) ÷ √(variance + ε) with"),
    ("olmo2-a", "q, k = norm(x·W_Q, x·W_K) v = x·W_V"),
    ("olmo2-a", "each token's queries of all heads as one vector"),
    ("olmo2-a", "Each of the two first passes its own norm"),
    ("smollm3-b", "in other layers than this"),
    ("smollm3-b", "this one does not, so that its dot products are the same"),
    ("cohere-a", "both start from this layer's x"),
    ("cohere-a", "A layer norm then normalises each query and each key"),
    ("cohere-a", "output matrix, times 0.3"),
    ("glm-a", "Only the first 4 of a head's 8 dimensions are rotated"),
    ("glm4-a", "Each of the two first passes its own norm"),
    ("hunyuan_v1_dense-a", "An RMS norm then normalises each rotated query and key"),
    ("hunyuan_v1_dense-a", "rotation by itself affects a dot product only through the distance"),
    ("ministral3-a", "rotation by itself affects a dot product only through the distance"),
    ("smollm3-a", "position affects a dot product only through the distance"),
    ("exaone4-a", "An RMS norm then normalises each query and each key"),
]


@pytest.mark.parametrize(("name", "sentence"), PAGES)
def test_a_page_tells_the_models_own_order(attn, tmp_path, name, sentence):
    said = attn("trace", "--ids", "3,1,4", "--model", str(made_folder(tmp_path, name))).text
    assert sentence in " ".join(said.split())


WHY = [
    ("olmo-a", "q", "−0.9 and 0.9"),
    ("olmo2-a", "k", "The RMS norm of all heads together divides"),
    ("cohere-a", "q", "The layer norm of this head subtracts the mean"),
    ("hunyuan_v1_dense-a", "q", "rotated = "),
]


@pytest.mark.parametrize(("name", "array", "sentence"), WHY)
def test_the_page_of_an_entry_tells_each_step(attn, tmp_path, name, array, sentence):
    said = attn(
        "why", "--ids", "3,1,4", "--model", str(made_folder(tmp_path, name)), "--array", array,
        "--column", "1", "--layer", "1",
    ).text  # fmt: skip
    assert sentence in " ".join(said.split())


CIRCUITS = [
    ("olmo-a", "The norm before the attention has no weights"),
    ("olmo-a", "The clipping of queries, keys and values is left out"),
    ("olmo2-a", "norms stand after the attention and after the feed-forward network, none before"),
    ("olmo2-a", "The norm that a token's queries of all heads pass as one vector after W_Q"),
    ("olmo2-a", "The norm after the attention, which its output passes before it is added to x"),
    ("exaone4-a", "The norm that every query and every key passes after W_Q and W_K is left out"),
    ("glm4-a", "The weight of the norm before the attention is folded"),
    ("glm4-a", "The norm after the attention, which its output passes before it is added to x"),
    ("ministral3-a", "That queries grow with their position is left out"),
    ("bert", "norms stand after each sum, none before the attention"),
    ("modernbert-biased", "In this layer no norm stands before the attention"),
]


@pytest.mark.parametrize(("name", "sentence"), CIRCUITS)
def test_circuits_tell_where_norms_stand_and_what_is_left_out(
    attn, tmp_path, golden_path, name, sentence
):
    golden = golden_path / name
    model = str(golden if golden.is_dir() else made_folder(tmp_path, name))
    said = attn("heads", "--ids", "3,1", "--model", model, "--circuit", "0.1").text
    assert sentence in " ".join(said.split())


DIRECT = [
    ("olmo2-a", "through the norm after the attention and the last norm, whose roots stay"),
    ("granite-a", "times 0.4 and through the last norm, whose root stays"),
    ("ministral3-a", ": through the last norm, whose root stays"),
    ("cohere-a", ": through the last norm, whose mean and root stay"),
]


@pytest.mark.parametrize(("name", "sentence"), DIRECT)
def test_a_direct_share_tells_all_that_it_passes(attn, tmp_path, name, sentence):
    model = str(made_folder(tmp_path, name))
    said = attn("why", "--ids", "3,1,4", "--model", model, "--layer", "1").text
    assert sentence in " ".join(said.split())


@pytest.mark.parametrize(("name", "norms"), [
    ("glm4-a", "the scale of every norm on the way"), ("granite-a", "the last norm's scale"),
])  # fmt: skip
def test_a_split_logit_tells_which_norms_are_frozen(attn, tmp_path, name, norms):
    model, asked = str(made_folder(tmp_path, name)), ("--by", "component", "--logit", "7")
    said = attn("why", "--ids", "3,1,4", "--model", model, *asked).text
    assert f"With {norms} kept as it is here (frozen)" in " ".join(said.split())
