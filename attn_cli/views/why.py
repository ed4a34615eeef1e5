"""The page of `attn why`: one cell of the weights, so that a calculator can redo it."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from attn_cli.notes import place
from attn_cli.records import Address, Trace
from attn_cli.views import numbers, sinks
from attn_cli.views.items import (
    Column,
    Columns,
    Heading,
    Page,
    Say,
    StepTitle,
    Words,
    paragraph,
    say,
    what_ifs,
)
from attn_cli.views.text import label, labels
from attn_cli.views.workings import Sheet, total
from attn_cli.vocabulary import MASKS, WHAT_IFS, changes
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.analysis.why import Cell, Dot

Items = Iterator[NamedTuple]
_MASK = f"{WHAT_IFS['mask'].option} "
_PRODUCTS, _KEYS = 8, 6  # lines of a table, unless the page is full


def page(trace: Trace, found: "Cell", digits: int, full: bool) -> Page:
    """Steps 3 to 6 for one query and one key."""
    at = Address(found.stack, found.kind, found.layer)
    sides = trace.prompt.sides(found.stack, found.kind)
    query, keys = labels(sides[0].labels)[found.query], labels(sides[1].labels)
    telling = _Telling(trace, found, query, keys, Sheet(digits), full)
    telling.fill()
    where = note("page.head", where=place(trace.model, at), head=found.head)
    return [
        Heading(trace.model, trace.prompt, where),
        *what_ifs(trace.settings),
        telling.headline(),
        say("why.what"),
        *telling.dot_products(),
        *telling.scale_and_mask(),
        *telling.softmax(),
        *telling.added(),
    ]


def shown_rows(count: int, most: int, full: bool) -> int:
    """How many rows a table has: all where it would leave out one alone."""
    return count if full or count <= most + 1 else most


class Products(NamedTuple):
    """The table of one sum of products, with its figures on a sheet."""

    dot: "Dot"
    sheet: Sheet
    shown: int

    def fill(self, name: str) -> None:
        """The figures of the shown products and of the rest, of which `name` is the sum."""
        for i, product in enumerate(self.dot.products[: self.shown]):
            self.sheet.put(f"{name}:left:{i}", product.left, f"{name}:factors")
            self.sheet.put(f"{name}:right:{i}", product.right, f"{name}:factors")
            self.sheet.put(f"{name}:{i}", product.value, f"{name}:products")
            inputs = f"{name}:left:{i}", f"{name}:right:{i}"
            self.sheet.rule(f"{name}:{i}", *inputs, by=lambda a, b: a * b)
        rest = math.fsum(product.value for product in self.dot.products[self.shown :])
        self.sheet.put(f"{name}:rest", rest, f"{name}:products")
        parts = [f"{name}:{i}" for i in range(self.shown)] + [f"{name}:rest"]
        self.sheet.rule(name, *parts, by=total)

    def table(
        self,
        name: str,
        title: Words,
        index: Words,
        left: Words,
        right: Words,
        names: Mapping[int, str],
    ) -> Columns:
        """A line for each product, one for the rest of them, and the sum."""
        rows = self.dot.products[: self.shown]
        others = len(self.dot.products) - len(rows)
        text = self.sheet.text
        first: list[Words] = [names.get(row.index, str(row.index)) for row in rows]
        columns = [[text(f"{name}:{side}{i}") for i in range(len(rows))]
                   for side in ("left:", "right:", "")]  # fmt: skip
        if others:
            first.append(note("why.others", count=others))
            for column, cell in zip(columns, ("", "", text(f"{name}:rest")), strict=True):
                column.append(cell)
        first.append(note("why.sum", name=self.dot.name))
        for column, cell in zip(columns, ("", "", text(name)), strict=True):
            column.append(cell)
        heads = (left, right, note("why.product"))
        return Columns(title, [
            Column(index, first, "left"),
            *(Column(head, cells, "right") for head, cells in zip(heads, columns, strict=True)),
        ])  # fmt: skip


class _Telling(NamedTuple):
    """A cell, its figures, and the names of its query and of every key."""

    trace: Trace
    found: "Cell"
    query: str
    keys: list[str]
    sheet: Sheet
    full: bool

    @property
    def key(self) -> str:
        return self.keys[self.found.key]

    # --- the figures, and what they are computed from --------------------------------------------

    def fill(self) -> None:
        found, sheet = self.found, self.sheet
        several = len(found.terms) > 1
        for term in found.terms:
            if several:
                sheet.put(term.name, term.value, "terms")
        sheet.put("scores", found.scores)
        for products in self._tables():
            products.fill(products.dot.name)
        if several:
            sheet.rule("scores", *(term.name for term in found.terms), by=total)
        self._fill_scaled()
        sheet.put("largest", found.largest, "masked")
        for i, row in enumerate(self._rows()):
            sheet.put(f"masked:{i}", row.masked, "masked")
            sheet.put(f"shifted:{i}", row.shifted, "shifted")
            sheet.put(f"power:{i}", row.power, "powers")
            sheet.rule(f"shifted:{i}", f"masked:{i}", "largest", by=lambda a, b: a - b)
            sheet.rule(f"power:{i}", f"shifted:{i}", by=self._power)
        shown = sum(row.power for row in self._rows() if row.key >= 0)
        sheet.put("power_rest", math.fsum(row.power for row in found.row) - shown, "powers")
        sheet.put("total", found.total)
        powers = [f"power:{i}" for i in range(len(self._rows()))]
        sheet.rule("total", *powers, "power_rest", by=total)
        sheet.put("weight", found.weight)
        if self._place() >= 0:
            sheet.rule("weight", f"power:{self._place()}", "total", by=lambda a, b: a / b)
        self._fill_added()

    def _fill_scaled(self) -> None:
        found, sheet, scale = self.found, self.sheet, self._scale()
        sheet.put("scaled", found.scaled, "masked")
        biased, capped = not math.isnan(found.bias), bool(found.soft_cap)
        first = "multiplied" if biased or capped else "scaled"
        sheet.put("multiplied", found.multiplied)
        sheet.rule(first, "scores", by=lambda score: score * float(scale))
        if capped:
            cap = float(f"{found.soft_cap:g}")
            last = "capped" if biased else "scaled"
            sheet.put("capped", found.capped)
            sheet.rule(last, "multiplied", by=lambda x: cap * math.tanh(x / cap))
        if biased:
            sheet.put("bias", found.bias)
            sheet.rule("scaled", "capped" if capped else "multiplied", "bias", by=total)

    def _fill_added(self) -> None:
        added, sheet = self.found.added, self.sheet
        sheet.put("value_norm", added.value_norm)
        sheet.put("norm", added.norm)
        if not self.found.removed:
            sheet.rule("norm", "weight", "value_norm", by=lambda a, b: a * b)

    def _tables(self) -> list[Products]:
        return [
            Products(term, self.sheet, shown_rows(len(term.products), _PRODUCTS, self.full))
            for term in self.found.terms
        ]

    def _rows(self) -> list:
        """The keys that are shown: those with the largest weights, and the cell's own; then the
        sink, if there is one."""
        rows = self.found.row
        shown = list(rows[: shown_rows(len(rows), _KEYS, self.full)])
        own = [row for row in rows if row.key == self.found.key]
        shown = shown if not own or own[0] in shown else [*shown[:-1], *own]
        return [*shown, *self.found.sink_row]

    def _place(self) -> int:
        """Where the cell's key stands among the shown keys, −1 if it has no weight."""
        return next((i for i, r in enumerate(self._rows()) if r.key == self.found.key), -1)

    def _power(self, shifted: float) -> float:
        temperature = float(self._temperature())
        return math.exp(shifted / temperature) if temperature else float(shifted == 0)

    def _temperature(self) -> str:
        return f"{self.found.attention_temperature:g}"

    def _scale(self) -> str:
        return f"{self.found.scale:.6g}"

    # --- the page --------------------------------------------------------------------------------

    def headline(self) -> Say:
        found = self.found
        words = {"query": self.query, "key": self.key, "keys": len(found.row)}
        if not found.row:
            return say("why.blind", "headline", **words)
        if math.isnan(found.weight):
            return say("why.nan", "headline", **words)
        weight = self.sheet.text("weight")
        if not found.visible:
            return say("why.hidden" if not found.weight else "why.hidden_valued", "headline",
                       **words, weight=weight)  # fmt: skip
        rank = 1 + sum(row.weight > found.weight for row in found.row)
        alone = "why.alone_sink" if found.sink_row else "why.alone"
        key = alone if len(found.row) == 1 else "why.best" if rank == 1 else "why.ranked"
        return say(key, "headline", **words, weight=weight, rank=rank)

    def dot_products(self) -> Items:
        found = self.found
        several = len(found.terms) > 1
        yield StepTitle(3, note("dot.title_terms", terms=" + ".join(t.name for t in found.terms))
                        if several else "")  # fmt: skip
        if not several:
            yield say("why.dot", query=self.query, key=self.key)
        for products in self._tables():
            name = products.dot.name
            if several and not products.dot.value:
                yield say("why.no_term", name=name)
                continue
            of_query = note(
                "why.of",
                array="k" if name.startswith("position") else "q",
                token=self.key if name.startswith("position") else self.query,
            )
            of_key = _OF_DISTANCE.get(name, ("k", self.key))
            yield products.table(name, note("why.term", name=name) if several else "",
                                 note("why.dimension"), of_query,
                                 note("why.of", array=of_key[0], token=of_key[1]), {})  # fmt: skip
        if several:
            texts = [self.sheet.text(term.name) for term in found.terms]
            yield say("why.scores", terms=" + ".join(map(bracketed, texts)),
                      scores=self.sheet.text("scores"))  # fmt: skip

    def scale_and_mask(self) -> Items:
        found, text = self.found, self.sheet.text
        biased, capped = not math.isnan(found.bias), bool(found.soft_cap)
        form = f"{'cap' if capped else ''}{'bias' if biased else ''}"
        yield StepTitle(4, note(f"why.title_{form}") if form else "")
        said = [say("why.scaled" if not (biased or capped) else "why.multiplied",
                    scores=text("scores"), scale=self._scale(),
                    value=text("scaled" if not (biased or capped) else "multiplied"))]  # fmt: skip
        if capped:
            key = "why.capped" if biased else "why.capped_last"
            said.append(say(key, cap=f"{found.soft_cap:g}", x=text("multiplied"),
                            value=text("capped" if biased else "scaled")))  # fmt: skip
        if biased:
            said.append(say("why.biased", x=text("capped" if capped else "multiplied"),
                            bias=bracketed(text("bias")), value=text("scaled")))  # fmt: skip
        yield from said
        yield self._mask()

    def _mask(self) -> Say:
        found = self.found
        words = {"query": self.query, "key": self.key}
        if found.visible:
            return say("why.visible", **words)
        value = self.trace.settings["mask_value"]
        masked = "−∞" if value is None else numbers.exact(value)
        at = Address(found.stack, found.kind, found.layer)
        typed = [word for word in changes(self.trace.settings) if word.startswith(_MASK)]
        kinds = [MASKS.get(word.split()[1].partition(":")[0]) for word in typed]
        based = [kind for kind in kinds if not kind or kind.base]
        later = at.causal and found.key > found.query and not based
        key = "why.mask_later" if later else "why.mask_typed" if typed else "why.mask_window"
        why = note(key, **words, typed=" ".join(typed))
        said = [say("why.masked", masked=masked, why=why)]
        if found.row and value is None:
            said.append(say("why.unhidden", weight=found.unhidden, **words))
        return paragraph(*said)

    def softmax(self) -> Items:
        found, text, rows = self.found, self.sheet.text, self._rows()
        if not rows:
            yield StepTitle(5, note("softmax.title"))
            yield say("why.no_row", query=self.query)
            return
        temperature = found.attention_temperature
        yield sinks.softmax_title(temperature, sunk=bool(found.sink_row))
        if not temperature:
            yield say("softmax.cold")
        names: list[Words] = [sinks.NAME if r.key < 0 else self.keys[r.key] for r in rows]
        cells = [[text(f"{name}:{i}") for i in range(len(rows))]
                 for name in ("masked", "shifted", "power")]  # fmt: skip
        others = len(found.row) + len(found.sink_row) - len(rows)
        if others:
            names.append(note("why.other_keys", count=others))
            for column, cell in zip(cells, ("", "", text("power_rest")), strict=True):
                column.append(cell)
        names.append("Σ")
        for column, cell in zip(cells, ("", "", text("total")), strict=True):
            column.append(cell)
        power = note("why.power" if temperature == 1 else "why.power_heated" if temperature
                     else "why.power_cold", temperature=self._temperature())  # fmt: skip
        heads = ("masked", note("why.shifted"), power)
        yield Columns("", [
            Column(note("column.key"), names, "left"),
            *(Column(head, column, "right") for head, column in zip(heads, cells, strict=True)),
        ])  # fmt: skip
        if self._place() >= 0:
            yield say("why.weight", power=text(f"power:{self._place()}"), total=text("total"),
                      weight=text("weight"))  # fmt: skip
        else:
            yield say("why.weight_hidden", key=self.key)

    def added(self) -> Items:
        found, text = self.found, self.sheet.text
        yield StepTitle(6, note("why.title_added"))
        words = {"query": self.query, "key": self.key}
        if found.removed:
            yield say("why.removed", **words)
            return
        if not found.weight:
            yield say("why.adds_nothing", **words)
            return
        yield say("why.adds", **words, weight=text("weight"), value_norm=text("value_norm"),
                  norm=text("norm"))  # fmt: skip
        yield say("why.direction", output=found.added.output_norm, cosine=found.added.cosine,
                  query=self.query)  # fmt: skip
        direct = found.direct
        if direct.reason:
            yield say(f"why.path_{direct.reason.replace('-', '_')}", query=self.query)
            return
        cap = note("why.before_cap") if direct.soft_cap else ""
        frozen = self._frozen(direct.norm) if direct.norm else ""
        added, logit = numbers.together(direct.added, direct.logit)
        yield say("why.logit", token=label(direct.token, 24), added=added, logit=logit, cap=cap,
                  frozen=frozen)  # fmt: skip

    def _frozen(self, norm: str) -> Note:
        """What stands between the block's output and the logits."""
        facts = self.trace.model
        if facts.residual == "normed":
            return note("why.frozen_after")
        if facts.residual_factor != 1:
            return note("why.frozen_times", factor=f"{facts.residual_factor:g}")
        return note(f"why.frozen_{norm}")


_OF_DISTANCE = {
    "content_to_position": ("k_position", note("why.distance")),
    "position_to_content": ("q_position", note("why.distance")),
}


def bracketed(text: str) -> str:
    """A number after a plus: a negative one stands in brackets."""
    return f"({text})" if text.startswith("−") else text
