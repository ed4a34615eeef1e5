"""Which modules a quantised folder's config means, by names, patterns and kinds."""

import pytest

from attn_cli.checkpoints.packed.modules import Module
from attn_cli.errors import ContentError
from attn_cli.opening.patterns import first_of
from attn_cli.opening.quantised import _by_target
from measure import counted

LINEAR = ("Linear", "class"), ("Embedding", "table"), ("LlamaAttention", "other")


@pytest.mark.parametrize(("module", "others", "wanted"), [
    ("m", (), "class"), ("model.embed_tokens", (), "table"),
    ("m", [("m", "name"), ("re:m", "pattern")], "name"),
    ("lm_head", [("m", "name")], "class"), ("m.n", [("m", "name")], "class"),
    ("m", [("re:m", "second"), ("re:.*", "first"), ("re:l", "neither")], "first"),
])  # fmt: skip
def test_a_module_is_of_the_group_that_names_it_best(module, others, wanted):
    """compressed-tensors' `match_targets`: by name, by pattern in their order, by class."""
    find = _by_target(dict([*LINEAR, *others]))
    assert find(Module(module, {}, "here")) == wanted


def test_a_kind_of_module_that_is_no_matrix_names_none():
    with pytest.raises(ContentError, match="m is quantised, and no group of config_groups names"):
        _by_target({"LlamaAttention": "other", "n": "name"})(Module("m", {}, "here"))


def test_hundreds_of_modules_left_out_are_looked_for_at_once():
    left_out = [f"model.layers.{n}.{part}" for n in range(50) for part in ("norm", "mlp.gate")]
    find = first_of(("lm_head", *left_out, r"re[", "(x.)+y"))
    modules = [f"model.layers.{n}.mlp.experts.{e}.up_proj" for n in range(9) for e in range(50)]
    with counted() as work:
        assert not any(map(find, modules))
    assert work.lines < 20 * len(modules)
    assert find("model.layers.7.mlp.gate.proj") == "model.layers.7.mlp.gate"
    assert find("model.layers.70.mlp.gate") == find("model.layers.7.mlp.gates") == ""
    assert find("xaxby.m") == "(x.)+y" and find("head.lm_head") == "lm_head"
