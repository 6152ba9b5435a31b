"""Formulas of the grader multi: arithmetic by hand, and nothing but arithmetic."""

from __future__ import annotations

import pytest

from tunesmith.grade.formula import FormulaError, evaluate, names

SCORES = {"a": 1.0, "b": -2.0, "c": 0.25}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("0.5 * a + max(b, 0)", 0.5),
        ("a + b * c", 0.5),  # 1 - 2 * 0.25
        ("(a + b) / c", -4.0),
        ("2 ^ 3 ^ 2", 512.0),  # right to left: 2^9
        ("-b ^ 2", -4.0),  # the power binds first: -((-2)^2)
        ("abs(b) - +a", 1.0),
        ("floor(1.5) + ceil(c) + sqrt(4) + exp(0) + log(1)", 5.0),  # 1 + 1 + 2 + 1 + 0
        ("min(a, b, c)", -2.0),
        ("max(a)", 1.0),
    ],
)
def test_values_by_hand(formula: str, value: float) -> None:
    assert evaluate(formula, SCORES) == pytest.approx(value)


def test_the_names_a_formula_asks_for() -> None:
    assert names("0.7 * right + max(style, 1/0)") == {"right", "style"}


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("__import__('os').system('true')", "is not arithmetic"),
        ("a.real", "is not arithmetic"),
        ("(lambda: 1)()", "is not arithmetic"),
        ("[1][0]", "is not arithmetic"),
        ("'a' * 3", "is not arithmetic"),
        ("True + 1", "is not arithmetic"),
        ("a if a else b", "is not arithmetic"),
        ("a // b", "is not arithmetic"),
        ("max(*a)", "is not arithmetic"),
        ("eval(a)", "there is no function 'eval'"),
        ("sqrt(a, b)", "sqrt takes one number"),
        ("min()", "min takes numbers"),
        ("a +", "is not a formula"),
        ("", "is not a formula"),
        ("(" * 500 + "a" + ")" * 500, "at most 1000 characters"),
        ("a" * 1001, "at most 1000 characters"),
    ],
)
def test_what_is_not_arithmetic_is_refused(formula: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        names(formula)


@pytest.mark.parametrize("formula", ["1 / (a - 1)", "9 ^ 9 ^ 9", "sqrt(b)", "log(0)", "exp(1000)", "1e308 * 10", "d"])
def test_no_finite_value_is_an_error(formula: str) -> None:
    with pytest.raises(FormulaError):
        evaluate(formula, SCORES)
