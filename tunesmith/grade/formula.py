"""Arithmetic over named scores, for the grader `multi`. No code is ever executed.

formula := numbers, names, + - * / ^ ( ), and min max abs floor ceil exp sqrt log
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType

__all__ = ["FUNCTIONS", "FormulaError", "evaluate", "names"]

LONGEST = 1000

FUNCTIONS: Mapping[str, Callable[..., float]] = MappingProxyType(
    {
        "min": min,
        "max": max,
        "abs": abs,
        "floor": math.floor,
        "ceil": math.ceil,
        "exp": math.exp,
        "sqrt": math.sqrt,
        "log": math.log,
    }
)
_OPERATORS: Mapping[type[ast.AST], Callable[..., float]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.Pow: math.pow,
        ast.USub: operator.neg,
        ast.UAdd: operator.pos,
    }
)


class FormulaError(ValueError):
    """The formula cannot be read, or has no finite value for these scores."""


def names(formula: str) -> frozenset[str]:
    """The scores a formula asks for. Raises FormulaError when it is not arithmetic over numbers and names."""
    found: set[str] = set()

    def note(name: str) -> float:
        found.add(name)
        return 1.0

    _value(_parse(formula), note, check_only=True)
    return frozenset(found)


def evaluate(formula: str, scores: Mapping[str, float]) -> float:
    """The value of `formula`: `evaluate("0.5 * a + max(b, 0)", {"a": 1, "b": -2})` is 0.5.

    Raises FormulaError for what is not arithmetic, a name without a score, a division by zero, a result that is
    not finite.
    """

    def score(name: str) -> float:
        if name not in scores:
            raise FormulaError(f"there is no score {name!r}; there are: {', '.join(scores)}")
        return float(scores[name])

    try:
        result = _value(_parse(formula), score, check_only=False)
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(f"{formula!r} has no value here: {error}") from None
    if not math.isfinite(result):
        raise FormulaError(f"{formula!r} gives {result}")
    return result


def _parse(formula: str) -> ast.expr:
    if len(formula) > LONGEST:
        raise FormulaError(f"a formula has at most {LONGEST} characters, this one {len(formula)}")
    try:
        return ast.parse(formula.replace("^", "**").strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormulaError(f"{formula!r} is not a formula: {error}") from None


def _value(node: ast.expr, score: Callable[[str], float], *, check_only: bool) -> float:
    """Value of one node; with `check_only` every operation gives 1, so that only the form is judged."""

    def inner(child: ast.expr) -> float:
        return _value(child, score, check_only=check_only)

    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.Name):
        return score(node.id)
    if isinstance(node, ast.UnaryOp | ast.BinOp) and type(node.op) in _OPERATORS:
        children = [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]
        values = [inner(child) for child in children]
        return 1.0 if check_only else float(_OPERATORS[type(node.op)](*values))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in FUNCTIONS:
            raise FormulaError(f"there is no function {node.func.id!r}; allowed: {', '.join(FUNCTIONS)}")
        if not node.args or (len(node.args) != 1 and node.func.id not in ("min", "max")):
            raise FormulaError(f"{node.func.id} takes {'numbers' if node.func.id in ('min', 'max') else 'one number'}")
        values = [inner(child) for child in node.args]
        if check_only:
            return 1.0
        return (
            values[0]
            if len(values) == 1 and node.func.id in ("min", "max")
            else float(FUNCTIONS[node.func.id](*values))
        )
    raise FormulaError(f"{ast.unparse(node)!r} is not arithmetic over numbers, names and {', '.join(FUNCTIONS)}")
