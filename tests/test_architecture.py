"""The layout holds: who imports whom, how long things may be, and where words and families live."""

import ast
import re
from pathlib import Path

import pytest

import attn_cli
from attn_cli import vocabulary
from attn_cli.families import FAMILIES
from attn_cli.words import en

PACKAGE = Path(attn_cli.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# From the top of the house to the bottom: a row imports its own and lower rows only.
ROWS = (
    ("cli",),
    ("views",),
    ("analysis",),
    ("session",),
    ("opening",),
    ("training",),
    ("families",),
    ("model",),
    ("records", "hook_names"),
    ("checkpoints",),
    ("tokens",),
    ("files", "parse"),
    ("maths",),
    ("vocabulary", "words", "errors"),
)
LEVEL = {name: level for level, row in enumerate(ROWS) for name in row}
STANDARD_ONLY = ("parse", "vocabulary", "words", "errors", "files", "tokens")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Dotted names of every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
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


def test_views_never_import_families_and_maths_only_numpy():
    for path in MODULES:
        names = imported(path)
        if part_of(path) == "views":
            assert not any(name.startswith("attn_cli.families") for name in names), path
        if part_of(path) == "maths":
            roots = {name.split(".")[0] for name in names}
            assert roots <= {"numpy", "math", "typing", "types", "collections", "attn_cli"}, path
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
    for path in MODULES:
        for node in tree(path).body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
            assert not public or ast.get_docstring(node), f"{path}: {node.name}"


def test_the_vocabulary_agrees_with_itself():
    assert [step.number for step in vocabulary.STEPS] == [1, 2, 3, 4, 5, 6]
    steps = [spec.step for spec in vocabulary.ARRAYS.values()]
    assert steps == sorted(steps), "arrays stand in computing order"
    axes = {axis for spec in vocabulary.ARRAYS.values() for axis in spec.axes}
    assert axes == {"head", "kv_head", "query", "key", "model", "width", "value_width"}


def test_every_sentence_is_used_and_every_used_sentence_exists():
    source = "\n".join(p.read_text() for p in MODULES if p.name != "en.py")
    used = set(re.findall(r"""["\']([a-z_]+\.[a-z0-9_]+)["\']""", source))
    keys = set(en.SENTENCES)
    families = {key.split(".")[0] for key in keys}
    unknown = {name for name in used if name.split(".")[0] in families and name not in keys}
    assert {name for name in unknown if not name.endswith((".json", ".safetensors"))} == set()
    dynamic = {k for k in keys if f'f"{k.split(".")[0]}.' in source}
    assert keys - used - dynamic == set()
