"""Arithmetic on a page: numbers with as few digits as let each be had from those printed before.

A `Sheet` holds figures by name. Those of one group have the same decimals. A rule says what a
figure is computed from; inputs get more decimals until the rule, applied to what is printed,
gives what is printed.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from attn_cli.views import numbers

_MOST = 9  # decimals more than a group begins with: float32 holds no more


class Rule(NamedTuple):
    """A figure and the ones that `compute` makes it from, in this order."""

    result: str
    inputs: tuple[str, ...]
    compute: Callable[..., float]


class Sheet:
    """The figures of one calculation, in the order in which a reader meets them."""

    def __init__(self, digits: int) -> None:
        self._digits = digits
        self._values: dict[str, float] = {}
        self._groups: dict[str, str] = {}
        self._rules: list[Rule] = []
        self._decimals: dict[str, int] = {}

    def put(self, name: str, value: float, group: str = "") -> None:
        """One figure; without a group it has decimals of its own."""
        self._values[name], self._groups[name] = value, group or name

    def rule(self, result: str, *inputs: str, by: Callable[..., float]) -> None:
        """`result` is what `by` makes of the inputs."""
        self._rules.append(Rule(result, inputs, by))

    def text(self, name: str) -> str:
        """A figure as it is printed."""
        if not self._decimals:
            self._fit()
        return numbers.decimal(self._values[name], self._decimals[self._groups[name]])

    def _fit(self) -> None:
        """The fewest decimals from those asked for; other ones where rounding allows none."""
        asked = self._digits
        for digits in (asked, *range(asked + 1, 10), *range(asked - 1, -1, -1)):
            if self._fits(digits):
                return
        self._decimals = self._first(self._digits)

    def _first(self, digits: int) -> dict[str, int]:
        """Decimals before any rule is looked at: more for groups of small numbers."""
        sizes: dict[str, float] = {}
        for name, value in self._values.items():
            group = self._groups[name]
            size = abs(value) if math.isfinite(value) else 0.0
            sizes[group] = max(sizes.get(group, 0.0), size)
        return {group: numbers.decimals(size, digits) for group, size in sizes.items()}

    def _fits(self, digits: int) -> bool:
        """Whether every rule holds with these decimals, or with more for what goes in."""
        self._decimals = first = self._first(digits)
        self._decimals = dict(first)
        settled = False
        while not settled:
            settled = True
            for rule in reversed(self._rules):
                while not self._holds(rule):
                    settled = False
                    groups = {self._groups[name] for name in rule.inputs}
                    groups.discard(self._groups[rule.result])
                    if not groups or any(self._decimals[g] > first[g] + _MOST for g in groups):
                        return False
                    for group in groups:
                        self._decimals[group] += 1
        return True

    def _holds(self, rule: Rule) -> bool:
        inputs = [numbers.read(self.text(name)) for name in rule.inputs]
        if not all(map(math.isfinite, (*inputs, self._values[rule.result]))):
            return True
        try:
            made = rule.compute(*inputs)
        except ArithmeticError:
            return False
        decimals = self._decimals[self._groups[rule.result]]
        return numbers.decimal(made, decimals) == self.text(rule.result)


def total(*values: float) -> float:
    """Their sum, for a rule."""
    return math.fsum(values)
