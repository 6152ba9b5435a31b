"""The shape of the code, read from its syntax trees: small files, small functions, no attics, no hidden state."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for folder in ("tunesmith", "bench") for path in (ROOT / folder).rglob("*.py"))
FILE_LINES, FUNCTION_LINES, PARAMETERS = 300, 60, 6
ATTICS = {"utils", "util", "helpers", "helper", "common", "misc"}
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "defaultdict", "OrderedDict", "Counter", "deque"}
MUTABLE_NODES = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
READ_ONLY = ("Mapping[", "Sequence[", "Set[")  # the type checker refuses to change these
Function = ast.FunctionDef | ast.AsyncFunctionDef

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def parameters(function: Function) -> list[str]:
    arguments = function.args
    names = [item.arg for item in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls", "ctx")]


def assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None, int]]:
    """(name, value, line) of every assignment at module level; no value where the type forbids changing it."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value, node.lineno
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            read_only = ast.unparse(node.annotation).startswith(READ_ONLY)
            yield node.target.id, None if read_only else node.value, node.lineno


def exported(tree: ast.Module) -> list[str] | None:
    for name, value, _ in assigned(tree):
        if name == "__all__" and value is not None:
            return [str(item) for item in ast.literal_eval(value)]
    return None


def imported(tree: ast.Module) -> set[str]:
    return {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        called = value.func
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        return name in MUTABLE_CALLS
    return isinstance(value, MUTABLE_NODES)


def public_things(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """(name, node) of public classes and functions, and the public methods of public classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, Function) and not inner.name.startswith("_"):
                        yield f"{node.name}.{inner.name}", inner


def test_there_is_something_to_check():
    assert len(FILES) > 30


@every_file
def test_files_are_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES, f"{lines} lines, allowed {FILE_LINES}: split it by noun"


@every_file
def test_functions_are_short(path):
    long = {
        f"{function.name}:{function.lineno}": function.end_lineno - function.lineno + 1
        for function in functions(parse(path))
        if function.end_lineno - function.lineno + 1 > FUNCTION_LINES
    }
    assert not long, f"longer than {FUNCTION_LINES} lines: {long}"


@every_file
def test_functions_take_few_parameters(path):
    wide = {
        f"{function.name}:{function.lineno}": len(parameters(function))
        for function in functions(parse(path))
        if len(parameters(function)) > PARAMETERS
    }
    assert not wide, f"more than {PARAMETERS} parameters: {wide}; group those that travel together in a value"


@every_file
def test_modules_are_named_after_one_thing(path):
    assert path.stem not in ATTICS


@every_file
def test_modules_hold_no_mutable_state(path):
    tree = parse(path)
    found = [f"{name}:{line}" for name, value, line in assigned(tree) if name != "__all__" and is_mutable(value)]
    found += [f"global:{node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Global)]
    assert not found, f"make it a tuple or frozenset, annotate it as Mapping[...], or pass it in: {found}"


@every_file
def test_all_names_exactly_what_is_public(path):
    tree = parse(path)
    names = exported(tree)
    assert names is not None, "__all__ is missing"
    functions_and_classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef | Function)}
    defined = functions_and_classes | {name for name, _, _ in assigned(tree)}
    public = {name for name in functions_and_classes if not name.startswith("_")}
    assert public <= set(names), f"defined but not exported (rename with _ or export): {sorted(public - set(names))}"
    assert set(names) <= defined | imported(tree), f"exported but absent: {sorted(set(names) - defined)}"


@every_file
def test_annotations_are_lazy(path):
    imports = [node for node in parse(path).body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert [alias.name for node in imports for alias in node.names] == ["annotations"]


@every_file
def test_public_things_have_docstrings(path):
    tree = parse(path)
    assert ast.get_docstring(tree), "the module has no docstring"
    bare = [name for name, node in public_things(tree) if not ast.get_docstring(node)]
    assert not bare, f"without docstring: {bare}"
