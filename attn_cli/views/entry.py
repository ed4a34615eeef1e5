"""The page of `attn why --array`: one entry of a projection, of z or of the output."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from attn_cli.notes import place
from attn_cli.records import Address, Facts, Trace
from attn_cli.views.items import Column, Columns, Heading, Page, StepTitle, Words, say, what_ifs
from attn_cli.views.text import labels
from attn_cli.views.why import Products, bracketed, shown_rows
from attn_cli.views.workings import Sheet, total
from attn_cli.vocabulary import ARRAYS, LATENTS
from attn_cli.words import note

if TYPE_CHECKING:
    from attn_cli.analysis.entry import Entry, HeadNorm, Rotation

_PRODUCTS, _HEADS = 10, 12  # lines of a table, unless the page is full
Items = Iterator[NamedTuple]


def page(trace: Trace, found: "Entry", digits: int, full: bool) -> Page:
    """The sum of products, and what follows it: a bias, a norm, a rotation, the other heads."""
    at = Address(found.stack, found.kind, found.layer)
    sides = trace.prompt.sides(found.stack, found.kind)
    keys = labels(sides[1].labels)
    token = (keys if found.array in ("k", "v") else labels(sides[0].labels))[found.position]
    telling = _Telling(found, Sheet(digits), token, keys, full)
    telling.fill()
    where = note("page.head", where=place(trace.model, at), head=found.head)
    words = {"token": token, "column": found.column, "input": found.input, "array": found.array}
    return [
        Heading(trace.model, trace.prompt, where),
        *what_ifs(trace.settings),
        say("why.entry", "headline", **words, value=telling.sheet.text("value")),
        say("why.what"),
        StepTitle(ARRAYS[found.array].step, note(f"why.title_{found.array}", **words)),
        say(f"why.made_{found.array}", **words),
        telling.table(),
        *_latent(trace.model, found),
        *telling.after(),
        *telling.heads(),
    ]


def _latent(model: Facts, found: "Entry") -> Items:
    """What the input of a product is, in a model whose heads share a latent."""
    if found.input in LATENTS:
        yield say(f"why.{found.input}")
    elif found.array == "k" and model.kv_latent:
        yield say("why.shared_key", rotated=model.rotated)


class _Telling(NamedTuple):
    """An entry, its figures, and the names of its token and of every key."""

    found: "Entry"
    sheet: Sheet
    token: str
    keys: list[str]
    full: bool

    @property
    def stages(self) -> list[str]:
        """The figures on the way, in order; the last is the entry's own."""
        found = self.found
        biased = not math.isnan(found.bias) and not found.heads
        last = [("normed", found.norm), ("rotated", found.rotation)]
        if any(norm.of == "rotated" for norm in found.norm):
            last.reverse()
        parts = {"sum": True, "biased": biased, "clipped": not math.isnan(found.clip), **dict(last),
                 "output": found.heads}  # fmt: skip
        return [name for name, here in parts.items() if here]

    def name(self, stage: str) -> str:
        """The figure of a stage."""
        return "value" if stage == self.stages[-1] else stage

    def before(self, stage: str) -> str:
        """The figure that a stage begins with."""
        return self.stages[self.stages.index(stage) - 1]

    @property
    def products(self) -> Products:
        count = len(self.found.dot.products)
        return Products(self.found.dot, self.sheet, shown_rows(count, _PRODUCTS, self.full))

    def fill(self) -> None:
        found, sheet = self.found, self.sheet
        sheet.put("value", found.value)
        if len(self.stages) > 1:
            sheet.put("sum", found.dot.value, "heads" if found.heads else "")
        self.products.fill(self.name("sum"))
        if "biased" in self.stages:
            sheet.put("bias", found.bias)
            if self.name("biased") != "value":
                sheet.put("biased", found.dot.value + found.bias)
            sheet.rule(self.name("biased"), "sum", "bias", by=total)
        if "clipped" in self.stages:
            self._fill_clip()
        for norm in found.norm:
            self._fill_norm(norm)
        for turn in found.rotation:
            self._fill_rotation(turn)
        self._fill_heads()

    @property
    def unclipped(self) -> float:
        """The sum and its bias."""
        return self.found.dot.value + (self.found.bias if "biased" in self.stages else 0.0)

    def _fill_clip(self) -> None:
        sheet, clip = self.sheet, self.found.clip

        def clipped(x: float) -> float:
            return min(max(x, -clip), clip)

        if self.name("clipped") != "value":
            sheet.put("clipped", clipped(self.unclipped))
        sheet.rule(self.name("clipped"), self.before("clipped"), by=clipped)

    def _fill_norm(self, norm: "HeadNorm") -> None:
        sheet, before = self.sheet, self.before("normed")
        sheet.put("root", norm.root)
        sheet.put("norm_weight", norm.weight)
        if self.name("normed") != "value":
            sheet.put("normed", norm.value)
        more = {"mean": norm.mean, "norm_bias": norm.bias}
        inputs = [name for name, value in more.items() if not math.isnan(value)]
        for name in inputs:
            sheet.put(name, more[name])

        def normed(a: float, root: float, w: float, *rest: float) -> float:
            given = dict(zip(inputs, rest, strict=True))
            return (a - given.get("mean", 0.0)) / root * w + given.get("norm_bias", 0.0)

        sheet.rule(self.name("normed"), before, "root", "norm_weight", *inputs, by=normed)

    def _fill_rotation(self, turn: "Rotation") -> None:
        sheet, is_first = self.sheet, self.found.column == turn.first
        for name, value in (("cos", math.cos(turn.angle)), ("sin", math.sin(turn.angle))):
            sheet.put(name, value)
            sheet.rule(name, "angle", by=getattr(math, name))
        sheet.put("angle", turn.angle)
        own, other = (turn.a, turn.b) if is_first else (turn.b, turn.a)
        sheet.put(self.before("rotated"), own, "pair")
        sheet.put("partner", other, "pair")
        factor = float(f"{turn.factor:.6g}") * float(f"{turn.growth:.6g}")
        sign, name = -1 if is_first else 1, self.name("rotated")
        if name != "value":
            turned = own * math.cos(turn.angle) + sign * other * math.sin(turn.angle)
            sheet.put("rotated", turned * turn.factor * turn.growth)
        sheet.rule(name, self.before("rotated"), "partner", "cos", "sin",
                   by=lambda a, b, cos, sin: (a * cos + sign * b * sin) * factor)  # fmt: skip

    def _fill_heads(self) -> None:
        found, sheet = self.found, self.sheet
        shown = self._shown_heads()
        for part in shown:
            sheet.put(f"head:{part.head}", part.value, "heads")
        parts = [f"head:{part.head}" for part in shown]
        if len(shown) < len(found.heads):
            rest = math.fsum(p.value for p in found.heads) - math.fsum(p.value for p in shown)
            sheet.put("heads_rest", rest, "heads")
            parts.append("heads_rest")
        if found.heads and not math.isnan(found.bias):
            sheet.put("bias", found.bias, "heads")
            parts.append("bias")
        if found.heads:
            sheet.rule("value", *parts, by=total)

    def _shown_heads(self) -> list:
        """The heads that add most, and the entry's own."""
        heads = sorted(self.found.heads, key=lambda part: -abs(part.value))
        shown = heads[: shown_rows(len(heads), _HEADS, self.full)]
        own = [part for part in heads if part.head == self.found.head]
        return shown if own[:1] == [] or own[0] in shown else [*shown[:-1], *own]

    def table(self) -> Columns:
        found, products, name = self.found, self.products, self.name("sum")
        array, column = found.array, found.column
        of = note("why.column_of", array=_MATRICES[array], column=column)
        if array == "z":
            names = dict(enumerate(self.keys))
            return products.table(name, "", note("column.key"), note("column.weight"), of, names)
        left = note("why.of", array=found.input, token=self.token)
        return products.table(name, "", note("why.dimension"), left, of, {})

    def bias(self) -> Items:
        if "biased" in self.stages:
            text = self.sheet.text
            yield say("why.plus_bias", x=text("sum"), bias=bracketed(text("bias")),
                      value=text(self.name("biased")))  # fmt: skip

    def clip(self) -> Items:
        if "clipped" in self.stages:
            clip, text = self.found.clip, self.sheet.text
            key = "why.unclipped" if abs(self.unclipped) <= clip else "why.clipped"
            yield say(key, clip=f"{clip:g}", x=text(self.before("clipped")),
                      value=text(self.name("clipped")))  # fmt: skip

    def norm(self) -> Items:
        text = self.sheet.text
        for norm in self.found.norm:
            centred = not math.isnan(norm.mean)
            of = note("why.of_all_heads" if norm.of == "all" else "why.of_head")
            mean = {"mean": bracketed(text("mean"))} if centred else {}
            if centred:
                added = "" if math.isnan(norm.bias) else bracketed(text("norm_bias"))
                mean["bias"] = note("why.norm_bias", bias=added) if added else ""
                mean["adding"] = note("why.norm_adds") if added else ""
            yield say("why.head_norm_layer" if centred else "why.head_norm", of=of, **mean,
                      x=text(self.before("normed")), root=text("root"),
                      weight=bracketed(text("norm_weight")),
                      value=text(self.name("normed")))  # fmt: skip

    def after(self) -> Items:
        """What follows the map, in the model's order."""
        for stage in self.stages:
            made = {"biased": self.bias, "clipped": self.clip, "normed": self.norm,
                    "rotated": self.rotation}.get(stage)  # fmt: skip
            yield from made() if made else ()

    def rotation(self) -> Items:
        text, column = self.sheet.text, self.found.column
        for turn in self.found.rotation:
            is_first = column == turn.first
            yield say("why.turned", column=column, angle=text("angle"), cos=text("cos"),
                      sin=text("sin"), partner=turn.second if is_first else turn.first,
                      value=text("partner"))  # fmt: skip
            factor = "" if turn.factor == 1 else note("why.factor", factor=f"{turn.factor:.6g}")
            growth = "" if turn.growth == 1 else note("why.growth", growth=f"{turn.growth:.6g}")
            words = {
                "x": text(self.before("rotated")),
                "cos": bracketed(text("cos")),
                "partner": bracketed(text("partner")),
                "sin": bracketed(text("sin")),
            }
            name = self.name("rotated")
            array = self.found.array if name == "value" else note("why.rotated_first")
            yield say("why.rotated", **words, sign="−" if is_first else "+", factor=factor,
                      growth=growth, array=array, value=text(name))  # fmt: skip

    def heads(self) -> Items:
        found, text, shown = self.found, self.sheet.text, self._shown_heads()
        if not found.heads:
            return
        yield say("why.heads", column=found.column)
        names: list[Words] = [note("column.head", head=part.head) for part in shown]
        cells = [text(f"head:{part.head}") for part in shown]
        if len(shown) < len(found.heads):
            names.append(note("why.other_heads", count=len(found.heads) - len(shown)))
            cells.append(text("heads_rest"))
        if not math.isnan(found.bias):
            names.append(note("why.bias", column=found.column))
            cells.append(text("bias"))
        names.append(note("why.sum", name="output"))
        cells.append(text("value"))
        yield Columns("", [Column("", names, "left"), Column("head_output", cells, "right")])


# What is multiplied with the left side of each product.
_MATRICES = {"q": "W_Q", "k": "W_K", "v": "W_V", "z": "v", "output": "W_O"}
