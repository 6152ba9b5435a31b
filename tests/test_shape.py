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


def length(text: str) -> Iterator[str]:
    lines = len(text.splitlines())
    if lines > FILE_LINES:
        yield f"{lines} lines, allowed {FILE_LINES}: split it by noun"


def size_of_functions(tree: ast.Module) -> Iterator[str]:
    for function in functions(tree):
        lines = function.end_lineno - function.lineno + 1
        if lines > FUNCTION_LINES:
            yield f"{function.name}:{function.lineno} has {lines} lines, allowed {FUNCTION_LINES}"
        wide = len(parameters(function))
        if wide > PARAMETERS:
            yield (
                f"{function.name}:{function.lineno} has {wide} parameters, allowed {PARAMETERS}: "
                "group those that travel together in a value"
            )


def mutable_state(tree: ast.Module) -> Iterator[str]:
    found = [f"{name}:{line}" for name, value, line in assigned(tree) if name != "__all__" and is_mutable(value)]
    found += [f"global:{node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Global)]
    if found:
        yield f"mutable state; make it a tuple or frozenset, annotate it as Mapping[...], or pass it in: {found}"


def exports(tree: ast.Module) -> Iterator[str]:
    """`__all__` names exactly what is public."""
    names = exported(tree)
    if names is None:
        yield "__all__ is missing"
        return
    functions_and_classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef | Function)}
    defined = functions_and_classes | {name for name, _, _ in assigned(tree)}
    public = {name for name in functions_and_classes if not name.startswith("_")}
    if not public <= set(names):
        yield f"defined but not exported (rename with _ or export): {sorted(public - set(names))}"
    if not set(names) <= defined | imported(tree):
        yield f"exported but absent: {sorted(set(names) - defined)}"


def annotations(tree: ast.Module) -> Iterator[str]:
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    if [alias.name for node in imports for alias in node.names] != ["annotations"]:
        yield "annotations are not lazy: from __future__ import annotations"


def docstrings(tree: ast.Module) -> Iterator[str]:
    if not ast.get_docstring(tree):
        yield "the module has no docstring"
    bare = [name for name, node in public_things(tree) if not ast.get_docstring(node)]
    if bare:
        yield f"without docstring: {bare}"


RULES = (size_of_functions, mutable_state, exports, annotations, docstrings)


def problems(path: Path) -> list[str]:
    """Everything that is wrong with the shape of a file, which is read and parsed once."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    attic = [f"{path.stem} says nothing: name the module after one thing"] if path.stem in ATTICS else []
    return [*attic, *length(text), *(problem for rule in RULES for problem in rule(tree))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_the_shape_of_the_others(path):
    assert problems(path) == []


SHAPELESS = {
    "a long file": ("x = 1\n" * (FILE_LINES + 1), "301 lines, allowed 300"),
    "a long function": ("def f():\n" + "    1\n" * FUNCTION_LINES, "f:1 has 61 lines, allowed 60"),
    "a wide function": ("def f(a, b, c, d, *, e, g, h): ...", "f:1 has 7 parameters, allowed 6"),
    "a list of the module": ("rows = []", "mutable state"),
    "a call of the module": ("rows = dict()", "mutable state"),
    "a global": ("def _f():\n    global g", "mutable state"),
    "no list of exports": ("x = 1", "__all__ is missing"),
    "not exported": ('__all__ = ["f"]\ndef f(): ...\ndef g(): ...', "not exported (rename with _ or export): ['g']"),
    "exported but absent": ('__all__ = ["f"]', "exported but absent: ['f']"),
    "eager annotations": ("import os", "annotations are not lazy"),
    "no docstring of the module": ("x = 1", "the module has no docstring"),
    "no docstring of a method": ('class A:\n    """A."""\n    def b(self): ...', "without docstring: ['A.b']"),
}


@pytest.mark.parametrize(("text", "complaint"), SHAPELESS.values(), ids=SHAPELESS)
def test_what_has_another_shape_is_named(text, complaint, tmp_path):
    (tmp_path / "thing.py").write_text(text, encoding="utf-8")
    assert any(complaint in problem for problem in problems(tmp_path / "thing.py"))


def test_an_attic_is_named(tmp_path):
    (tmp_path / "utils.py").write_text("", encoding="utf-8")
    assert problems(tmp_path / "utils.py")[0].startswith("utils says nothing")
