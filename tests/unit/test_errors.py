"""The error tree is what its docstring draws; every error has a message, survives pickling, and is a builtin too."""

from __future__ import annotations

import pickle
import re

import pytest

from tunesmith import errors
from tunesmith.errors import DataError, Problem, RecipeError, TunesmithError, nearest


def tree(kind: type[TunesmithError]) -> list[type[TunesmithError]]:
    return [kind] + [deeper for child in kind.__subclasses__() for deeper in tree(child)]


PUBLIC = [
    kind for kind in tree(TunesmithError) if kind.__module__ == errors.__name__ and not kind.__name__.startswith("_")
]


def test_the_docstring_draws_exactly_the_public_tree():
    drawn = dict(re.findall(r"[├└]── (\w+)(?:\s+\((\w+)\))?", errors.__doc__ or ""))
    assert set(drawn) == {kind.__name__ for kind in PUBLIC} - {"TunesmithError"}
    for name, builtin in drawn.items():
        parents = [parent.__name__ for parent in getattr(errors, name).__mro__]
        assert not builtin or builtin in parents


def test_no_other_module_adds_to_the_tree_in_secret():
    assert {kind.__name__ for kind in PUBLIC} <= set(errors.__all__)


@pytest.mark.parametrize("kind", PUBLIC)
def test_the_docstring_is_the_default_message(kind):
    assert (kind.__doc__ or "").strip() in str(kind())


@pytest.mark.parametrize("kind", PUBLIC)
def test_errors_survive_pickling_with_all_they_carry(kind):
    problem = Problem("is wrong", file="a.yaml", line=3, field="b", fix="right it")
    error = kind([problem], hint="do this") if kind in (RecipeError, DataError) else kind("broken", hint="do this")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), copy.hint, copy.args) == (str(error), "do this", error.args)
    assert copy.__dict__ == error.__dict__


def test_a_problem_reads_as_place_field_message_fix():
    assert str(Problem("is 0", file="r.yaml", line=4, field="train.epochs", fix="write 1")) == (
        "r.yaml:4: train.epochs: is 0 -> write 1"
    )
    assert str(Problem("is empty", file="r.yaml")) == "r.yaml: is empty"
    assert str(Problem("is empty")) == "is empty"


def test_the_hint_follows_the_message():
    assert str(TunesmithError("broken", hint="mend it")) == "broken\nmend it"


@pytest.mark.parametrize(("word", "found"), [("acuracy", "accuracy"), ("zzz", None)])
def test_the_nearest_allowed_word(word, found):
    assert nearest(word, ["accuracy", "macro_f1"]) == found
