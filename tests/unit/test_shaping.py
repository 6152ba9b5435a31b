"""Penalties, biases and constraints against hand-worked logits and a byte tokenizer."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from tunesmith.engine.backends._grammar import Grammars
from tunesmith.engine.backends._shaping import shaping_of
from tunesmith.engine.engine import Constraint, Sampling
from tunesmith.errors import EngineError, RequestRefused
from tunesmith.models.template import Renderer

LOGITS = torch.tensor([1.0, 2.0, 3.0, 4.0])


@pytest.fixture(scope="module")
def renderer(tiny: Path) -> Renderer:
    return Renderer(tiny)


@pytest.fixture(scope="module")
def grammars(renderer: Renderer) -> Grammars:
    return Grammars(renderer.tokenizer_json(), 259, renderer.stop_ids)


def schema(**fields: object) -> Constraint:
    return Constraint(kind="json_schema", source=json.dumps(fields))


def test_nothing_asked_means_no_shaping() -> None:
    assert shaping_of(Sampling(temperature=1.0, top_p=0.5), None) is None


def test_penalties_count_what_was_said() -> None:
    shaping = shaping_of(Sampling(frequency_penalty=0.5, presence_penalty=0.25), None)
    assert shaping is not None
    assert shaping.apply(LOGITS).tolist() == [1.0, 2.0, 3.0, 4.0]
    for token in (3, 3, 1):
        shaping.take(token)
    # Token 3 was said twice: 4 - 2 * 0.5 - 0.25; token 1 once: 2 - 0.5 - 0.25.
    assert shaping.apply(LOGITS).tolist() == [1.0, 1.25, 3.0, 2.75]
    assert LOGITS.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_biases_are_added() -> None:
    shaping = shaping_of(Sampling(logit_bias={0: 100.0, 3: -1.5}), None)
    assert shaping is not None
    assert shaping.apply(LOGITS).tolist() == [101.0, 2.0, 3.0, 2.5]


def test_only_what_the_constraint_allows_stays(grammars: Grammars, renderer: Renderer) -> None:
    constraint = Constraint(kind="regex", source="(ya|no)")
    shaping = shaping_of(Sampling(constraint=constraint), grammars.matcher(constraint))
    assert shaping is not None

    def allowed() -> set[str]:
        shaped = shaping.apply(torch.zeros(259))
        return {renderer.piece(token) for token, logit in enumerate(shaped.tolist()) if logit > -math.inf}

    assert allowed() == {"y", "n"}
    for text, after in (("n", {"o"}), ("o", {"<|im_end|>"})):
        shaping.take(renderer.answer_ids(text)[0])
        assert allowed() == after
    with pytest.raises(EngineError, match="cannot be followed"):
        shaping.take(renderer.answer_ids("x")[0])


def test_matchers_of_one_constraint_do_not_share_their_place(grammars: Grammars, renderer: Renderer) -> None:
    constraint = Constraint(kind="json_object")
    first, second = grammars.matcher(constraint), grammars.matcher(constraint)
    assert first.consume_token(renderer.answer_ids("{")[0])
    assert second.consume_token(renderer.answer_ids("{")[0])


REFUSED = [
    (schema(type="obj"), "Invalid type"),
    (schema(type="array", uniqueItems=True), "uniqueItems"),
    (schema(type="string", format="nope"), "format"),
    (schema(**{"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}}), "uniqueItems"),
    (schema(**{"$ref": "http://127.0.0.1:9/x"}), "registry"),
    (Constraint(kind="json_schema", source="{"), "cannot be enforced"),
    (Constraint(kind="json_schema", source="5"), "schema"),
    (Constraint(kind="regex", source="(a"), "regex"),
    (Constraint(kind="regex", source="(?=a)"), "regex"),
    (Constraint(kind="lark", source="start: nothing"), "nothing"),
]


@pytest.mark.parametrize(("constraint", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_cannot_be_enforced_is_refused(grammars: Grammars, constraint: Constraint, reason: str) -> None:
    with pytest.raises(RequestRefused, match=reason) as caught:
        grammars.matcher(constraint)
    assert caught.value.field == "constraint"


def test_a_huge_schema_is_refused_in_time(grammars: Grammars) -> None:
    bomb: dict[str, object] = {"type": "string"}
    for _ in range(8):
        bomb = {"anyOf": [{"type": "object", "properties": {f"k{i}": bomb for i in range(4)}}]}
    with pytest.raises(RequestRefused, match="schema too large"):
        grammars.matcher(Constraint(kind="json_schema", source=json.dumps({"allOf": [bomb] * 2})))
