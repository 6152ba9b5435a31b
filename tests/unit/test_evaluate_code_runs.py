"""pass@k: the estimate against counting, and programs that really run, fail, hang and cheat in the sandbox."""

from __future__ import annotations

import asyncio
import sys
from itertools import combinations

import pytest

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.code_runs import code_of, pass_at_k
from tunesmith.evaluate.metric import Answered, Graded, load_metric
from tunesmith.types.conversation import Message
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Prediction
from tunesmith.types.suite import Item

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="seccomp and Landlock are Linux's")


@pytest.mark.parametrize("samples", range(1, 7))
def test_the_estimate_equals_counting_all_draws(samples: int) -> None:
    for right in range(samples + 1):
        for k in range(1, samples + 1):
            draws = list(combinations([True] * right + [False] * (samples - right), k))
            assert pass_at_k(samples, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_fewer_samples_than_k_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 3 samples"):
        pass_at_k(2, 1, 3)


def test_code_is_taken_out_of_an_answer() -> None:
    assert code_of("x = 1") == "x = 1"
    assert code_of("So:\n```python\nx = 1\n```\nand\n```\ny = 2\n```\nDone.") == "x = 1\n\ny = 2"
    assert code_of("```py\nx = 1\n") == "x = 1"  # cut off before the closing fence


def answered(*samples: str, tests: tuple[str, ...] = ("assert add(1, 2) == 3", "assert floor(1.5) == 1")) -> Answered:
    expect = {"tests": list(tests), "setup": "from math import floor"}
    message = Message(role="user", content="Write add(a, b).")
    item = Item.model_validate({"id": "x", "type": "code", "messages": (message,), "expect": expect})
    prediction = Prediction(
        example_id="x", reference="", answer=samples[0], label=None, tokens=1, seconds=0.1, first_token_seconds=0.1,
        finish_reason="stop", samples=samples, expect=item.expect,
    )  # fmt: skip
    return Answered(item, prediction)


RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"


@linux_only
def test_programs_are_run_and_graded() -> None:
    metric = load_metric(MetricSpec.model_validate({"name": "pass_at_k", "timeout_seconds": 4.0}))
    assert isinstance(metric, Graded)
    given = [
        answered(RIGHT),
        answered("def add(a, b):\n    return a - b"),
        answered("def add(a, b) return a + b"),
        answered("import os\nos._exit(0)"),
        answered("raise SystemExit(0)"),
        answered("while True: pass"),
        answered("import socket\nsocket.socket()\n" + code_of(RIGHT)),
        answered(RIGHT, "def add(a, b):\n    return 3\n", "no"),
        answered(RIGHT, tests=()),
    ]
    assert asyncio.run(metric.grade(given, None)) == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, pytest.approx(2 / 3), None]


def test_too_few_answers_for_k_say_what_to_set() -> None:
    metric = load_metric(MetricSpec.model_validate({"name": "pass_at_k", "k": 5}))
    assert isinstance(metric, Graded)
    with pytest.raises(EvaluationError, match="x has 1") as caught:
        asyncio.run(metric.grade([answered(RIGHT)], None))
    assert caught.value.hint is not None
    assert "samples: 5" in caught.value.hint
