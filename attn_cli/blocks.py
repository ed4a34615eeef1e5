"""Which blocks and heads of a model a choice of layers and heads means."""

from collections.abc import Iterable, Sequence

from attn_cli import parse
from attn_cli.errors import UsageError, some
from attn_cli.records import Address, Facts
from attn_cli.words import in_english, note


def chosen(
    facts: Facts,
    where: Sequence[tuple[str, str]],
    layer: str | int | Iterable[int] | None,
    head: str | int | Iterable[int],
) -> tuple[tuple[Address, ...], dict[str, tuple[int, ...]]]:
    """The blocks of these layers in each attention of `where`, and the heads of their stacks.

    A stack need not have all of the layers and heads; `all` layers are those with attention, and
    None is the first of them. Raises UsageError for what none has.
    """
    if layer is None:
        layer = facts.attending(where[0][0])[0]
    layer, head = (g if isinstance(g, str | int) else tuple(g) for g in (layer, head))
    (most_layers, most_heads), found, heads = most(facts, where), [], {}
    for stack in dict.fromkeys(stack for stack, _ in where):
        layers = parse.within(layer, facts.layers_of(stack), most_layers, "--layer")
        if layer == "all":
            layers = facts.attending(stack)
        check_attend(facts, stack, layers, "--layer")
        kinds = [kind for other, kind in where if other == stack]
        chosen = parse.within(head, facts.heads_of(stack), most_heads, "--head")
        if chosen and layers:
            heads[stack] = chosen
            found += [Address(stack, kind, number) for number in layers for kind in kinds]
    if not found:
        raise UsageError(
            f"--layer {layer} --head {head}: no stack has both",
            f"the most are {most_layers} layers and {most_heads} heads",
        )
    return tuple(found), heads


def check_attend(facts: Facts, stack: str, layers: Iterable[int], option: str) -> None:
    """Raises UsageError for a layer that has something else in place of attention."""
    known = facts.attending(stack)
    for layer in layers:
        if layer not in known:
            what = in_english(note(f"mixer.{facts.mixers[layer]}"))
            raise UsageError(
                f"{option}: layer {layer} of {facts.name} is {what}, which has no heads",
                f"layers with attention: {some(map(str, known), 12)}",
            )


def most(facts: Facts, where: Sequence[tuple[str, str]]) -> tuple[int, int]:
    """The most layers and the most heads that a stack of `where` has."""
    stacks = {stack for stack, _ in where}
    return max(map(facts.layers_of, stacks)), max(map(facts.heads_of, stacks))
