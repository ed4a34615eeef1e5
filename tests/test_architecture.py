"""The layout holds: who imports whom, how long things may be, and where words and families live."""

import ast
import re
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from rich.errors import StyleSyntaxError
from rich.style import Style

import attn_cli
from attn_cli import vocabulary
from attn_cli.families import FAMILIES
from attn_cli.model.family import Family
from attn_cli.views import html
from attn_cli.words import LANGUAGES, table

PACKAGE = Path(attn_cli.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# From the top of the house to the bottom: a row imports its own and lower rows only.
ROWS = (
    ("cli",),
    ("views",),
    ("scanning",),
    ("analysis",),
    ("session",),
    ("reading", "notes", "room", "room_of_file", "candidates", "blocks"),
    ("opening",),
    ("training",),
    ("families",),
    ("model",),
    ("records", "prompt", "hook_names", "routing"),
    ("checkpoints",),
    ("tokens",),
    ("files", "writing", "signals", "strict", "lines", "parse", "machine"),
    ("maths",),
    ("vocabulary", "words", "errors"),
)
LEVEL = {name: level for level, row in enumerate(ROWS) for name in row}
STANDARD_ONLY = (
    "parse", "lines", "machine", "vocabulary", "words", "errors", "files", "writing", "signals",
    "strict", "tokens",
)  # fmt: skip


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imported(path: Path) -> set[str]:
    """Dotted names of every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_of(path) for path in MODULES}


class RunTimeImports(ast.NodeVisitor):
    """The package's modules that running a file may import; for type checkers only is not that."""

    def __init__(self):
        self.found = set()

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, ast.expr):  # which hold no statement
            super().visit(node)

    def visit_If(self, node: ast.If) -> None:
        typing_only = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in node.orelse if typing_only else [node.test, *node.body, *node.orelse]:
            self.visit(inner)

    def visit_Import(self, node: ast.Import) -> None:
        self.found |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            self.found.add(inner if inner in NAMES else node.module)


def imported_at_run_time(source: str) -> set[str]:
    visitor = RunTimeImports()
    visitor.visit(ast.parse(source))
    inside = {name for name in visitor.found if name in NAMES}
    # A package comes with its modules; the front door itself imports nothing until it is asked.
    packages = {name.rpartition(".")[0] for name in inside}
    return (inside | packages) & NAMES - {"attn_cli"}


@cache
def imports() -> dict[str, set[str]]:
    """What each module of the package may import."""
    return {module_of(path): imported_at_run_time(path.read_text()) for path in MODULES}


def reached(start: str, graph: dict[str, set[str]] | None = None) -> set[str]:
    """Every module that importing and using `start` brings in, through others too."""
    graph, found, left = graph or imports(), set(), [start]
    while left:
        new = graph.get(left.pop(), set()) - found
        found |= new
        left.extend(new)
    return found


def wrong_direction(part: str, names: set[str]) -> list[str]:
    used = {n.split(".")[1] for n in names if n.startswith("attn_cli.") and n.count(".")}
    return sorted(n for n in used if n in LEVEL and LEVEL[n] < LEVEL[part])


def inner_modules() -> list[Path]:
    return [path for path in MODULES if part_of(path) in LEVEL]


def test_every_module_has_its_row():
    outside = {part_of(path) for path in MODULES} - set(LEVEL) - {"__init__", "__main__"}
    assert outside == set()


@pytest.mark.parametrize("path", inner_modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    assert wrong_direction(part_of(path), imported(path)) == []


def test_an_upward_import_would_be_seen():
    assert wrong_direction("maths", {"attn_cli.views.page", "numpy"}) == ["views"]


@pytest.mark.parametrize("path", inner_modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards_through_others_too(path):
    assert wrong_direction(part_of(path), reached(module_of(path))) == []


VIEWS = [path for path in MODULES if part_of(path) == "views"]
DOCUMENTS = (
    "json", "csv", "npz", "schema", "check", "saved", "saved_scan", "parquet_apart", "__init__",
)  # fmt: skip
PAGES = [path for path in VIEWS if path.stem not in DOCUMENTS]
DRAWERS = (
    "table", "matrix", "strips", "folding", "charts", "drawers", "cells", "heatmap", "dots",
    "lines", "svg", "screen", "width",
)  # fmt: skip


@pytest.mark.parametrize("path", VIEWS, ids=lambda p: p.stem)
def test_views_reach_neither_families_nor_what_stands_above_them(path):
    found = reached(module_of(path))
    parts = {name.split(".")[1] for name in found}
    assert parts & {"families", "training", "opening", "session", "cli"} == set()
    assert {name for name in found if name.startswith("attn_cli.analysis.")} <= {
        "attn_cli.analysis.heads", "attn_cli.analysis.measures",
    }  # fmt: skip


def test_a_way_through_others_would_be_seen():
    graph = {"attn_cli.views.x": {"attn_cli.analysis.y"}, "attn_cli.analysis.y": {"attn_cli.cli.z"}}
    assert reached("attn_cli.views.x", graph) == {"attn_cli.analysis.y", "attn_cli.cli.z"}
    assert "attn_cli.families" in reached("attn_cli.session")
    assert "attn_cli.families" in reached("attn_cli.analysis.verify")
    hidden = (
        "if TYPE_CHECKING:\n from attn_cli.session import trace\n"
        "else:\n from attn_cli import parse\n"
        "def f():\n from attn_cli.views.json import encode\n import attn_cli.words.en\n"
    )
    assert imported_at_run_time(hidden) == {
        "attn_cli.parse", "attn_cli.views.json", "attn_cli.views", "attn_cli.words.en",
        "attn_cli.words",
    }  # fmt: skip


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_what_makes_a_page_does_not_know_how_it_is_drawn(path):
    if path.stem not in DRAWERS:
        modules = [module_of(path), *reached(module_of(path))]
        assert not {name.rpartition(".")[2] for name in modules if "views." in name} & {*DRAWERS}
        for module in modules:
            file = ROOT / f"{module.replace('.', '/')}.py"
            assert not file.exists() or "rich" not in {n.split(".")[0] for n in imported(file)}


def literals(source: str) -> set[str]:
    """The string literals of a file, docstrings left out."""
    nodes = list(ast.walk(ast.parse(source)))
    docs = {id(n.value) for n in nodes if isinstance(n, ast.Expr)}
    return {
        n.value
        for n in nodes
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs
    }


def is_style(text: str) -> bool:
    try:
        return bool(Style.parse(text))
    except StyleSyntaxError:
        return False


def words(source: str) -> set[str]:
    """Literals with a letter and a space, other than Rich's styles and parts of commands."""
    found = {text for text in literals(source) if re.search(r"[^\W\d_]", text) and " " in text}
    command = re.compile(r"attn [a-z]+| --[a-z-]+[ =](block:)?")
    return {text for text in found if not is_style(text) and not command.fullmatch(text)}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_no_word_that_a_user_reads_stands_in_a_page_or_a_drawer(path):
    assert words(path.read_text()) == set()


def test_a_word_in_a_page_would_be_seen():
    source = """'A doc string.'\nx = f'{n} more'\ny = ('bold dim', 'key.only', '  ·  ')"""
    assert words(source) == {" more"}


def test_maths_imports_only_numpy_and_what_holds_its_threads():
    for path in MODULES:
        names = imported(path)
        if part_of(path) == "maths":
            roots = {name.split(".")[0] for name in names}
            others = roots - set(sys.stdlib_module_names)
            assert others <= {"numpy", "threadpoolctl", "attn_cli"}, path
            inside = {name for name in names if name.startswith("attn_cli.")}
            assert all(name.startswith("attn_cli.maths") for name in inside), path


def test_the_lowest_rows_need_the_standard_library_only():
    for path in MODULES:
        if part_of(path) in STANDARD_ONLY:
            assert not {name.split(".")[0] for name in imported(path)} & {
                "numpy", "rich", "typer", "orjson"
            }, path  # fmt: skip


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]


def length(function: ast.FunctionDef) -> int:
    """Lines from `def` to the last statement, the docstring left out."""
    doc = function.body[0] if ast.get_docstring(function) else None
    lines = function.end_lineno - function.lineno + 1
    return lines - (doc.end_lineno - doc.lineno + 1 if doc else 0)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_budgets(path):
    assert len(path.read_text().splitlines()) <= 400
    long = [f.name for f in functions(path) if length(f) > 50]
    assert long == []


# Those that siblings are made of, and those of several kinds of block or of two stacks.
LONGER = {
    "bart", "bert", "bloom", "deberta", "gemma2", "gpt2", "llama", "llama_gguf", "modernbert",
    "opt", "t5",
}  # fmt: skip


def test_a_family_reads_as_its_order_of_operations():
    """Of at most 150 lines, and none is let off that need not be."""
    families = [path for path in MODULES if part_of(path) == "families"]
    lines = {path.stem: len(path.read_text().splitlines()) for path in families}
    assert {name for name, count in lines.items() if count > 150} == LONGER


def calls(path: Path, name: str) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in ast.walk(tree(path))
    )


def test_only_output_writes_to_the_terminal():
    for path in MODULES:
        assert not calls(path, "print"), path
        name, text = path.relative_to(PACKAGE).as_posix(), path.read_text()
        if name != "cli/streams.py":
            assert not re.search(r"sys\.std(in|out|err)", text), path
        if name not in ("cli/streams.py", "cli/output.py", "cli/app.py"):
            assert not re.search(r"\.std(out|err)\b", text), path


def test_no_family_name_in_code_outside_families():
    names = set(FAMILIES)
    for path in MODULES:
        if part_of(path) in ("families", "tokens", "training"):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{path}: {node.value!r}"


def test_public_functions_have_docstrings():
    parts = {field.name for field in fields(Family)}  # the record says once what each of them is
    for path in MODULES:
        for node in tree(path).body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
            public = public and not (part_of(path) == "families" and node.name in parts)
            assert not public or ast.get_docstring(node), f"{path}: {node.name}"


def test_the_vocabulary_agrees_with_itself():
    assert [step.number for step in vocabulary.STEPS] == [1, 2, 3, 4, 5, 6]
    steps = [spec.step for spec in vocabulary.ARRAYS.values()]
    assert steps[-1] == 0, "what comes after attention"
    assert steps[:-1] == sorted(steps[:-1]), "arrays stand in computing order"
    axes = {axis for spec in vocabulary.ARRAYS.values() for axis in spec.axes}
    assert axes == {
        "head", "kv_head", "query", "key", "model", "width", "value_width", "latent", "bucket",
    }  # fmt: skip


_FILES = (".json", ".safetensors", ".html", ".css")


def test_every_sentence_is_used_and_every_used_sentence_exists():
    tables = {PACKAGE / "words" / language for language in LANGUAGES}
    source = "\n".join(p.read_text() for p in MODULES if p.parent not in tables)
    used = set(re.findall(r"""["\']([a-z_]+\.[a-z0-9_]+)["\']""", source))
    used |= html.keys()  # those of the page's own script
    keys = set(table("en"))
    families = {key.split(".")[0] for key in keys}
    unknown = {name for name in used if name.split(".")[0] in families and name not in keys}
    assert {name for name in unknown if not name.endswith(_FILES)} == set()
    made = {family for family in families if f'f"{family}.' in source}
    assert {key for key in keys - used if key.split(".")[0] not in made} == set()
