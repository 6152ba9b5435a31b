"""What every gate rule promises, found by listing the folder. Its schema holds an example of its options."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.gate.stage import FOLDER, load_rule, problems
from tunesmith.types.recipe import EvaluateSpec, GateSpec, PluginSpec

NAMES = plugins.names(FOLDER)


def example(name: str) -> dict[str, Any]:
    found = plugins.load(FOLDER, name).model_json_schema()["examples"]
    assert found
    return dict(found[0])


def test_there_are_rules() -> None:
    assert {"beats", "max_invalid", "min_score"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_a_frozen_value_that_survives_json(name: str) -> None:
    kind = plugins.load(FOLDER, name)
    rule = kind.model_validate(example(name))
    assert kind.model_validate_json(rule.model_dump_json()) == rule
    with pytest.raises(ValidationError):
        setattr(rule, next(iter(kind.model_fields)), "x")
    with pytest.raises(ValidationError):
        kind.model_validate({**example(name), "no_such_option": 1})


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_reads_what_a_default_recipe_measures(name: str) -> None:
    spec = PluginSpec.model_validate({"name": name, **example(name)})
    reads = load_rule(spec).reads()
    assert reads.metrics
    assert reads.contestants
    assert problems(GateSpec(rules=(spec,)), EvaluateSpec()) == ()
