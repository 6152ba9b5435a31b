"""docs/suites.md: its suites load and run, and its tables name every type, constraint and reader with what they say."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any, cast

import pytest

from tunesmith import plugins
from tunesmith.evaluate.constraints.table import CHECKS
from tunesmith.evaluate.item import FOLDER as ITEMS
from tunesmith.evaluate.item import ItemType
from tunesmith.evaluate.reader import FOLDER as READERS
from tunesmith.evaluate.running import RunOptions, run_suite
from tunesmith.evaluate.subject import Asked, Reply
from tunesmith.evaluate.suite import load_suite
from tunesmith.progress import Silent
from tunesmith.types.conversation import Message
from tunesmith.types.suite import Item

GUIDE = (Path(__file__).parents[2] / "docs" / "suites.md").read_text(encoding="utf-8")
SUITES = re.findall(r"<!-- suite -->\n```yaml\n(.*?)```", GUIDE, flags=re.S)


class Knowing:
    """A subject that gives every item's reference, or a refusal where one is wanted."""

    name = "knowing"

    @property
    def identity(self) -> dict[str, Any]:
        return {"model": self.name}

    async def answer(self, item: Item, messages: tuple[Message, ...], asked: Asked) -> Reply:
        refused = item.expect.get("refusal") == "refuse"
        said = "I'm sorry, but I can't help with that." if refused else item.reference
        if item.type == "code":
            said = "```python\nimport math\ndef area(radius):\n    return math.pi * radius ** 2\n```"
        if item.type == "grounded_qa" and not refused:
            said = "On Saturdays it is open from 10 [hours]."
        wanted: Any = item.expect.get("calls", [])
        calls = tuple({"name": call["name"], "arguments": '{"city": "nyc", "day": "Tomorrow"}'} for call in wanted)
        return Reply(said or "Come on Friday and see you there!", 2, 5, 0.5, 0.25, "stop", calls)

    async def logprob(self, item: Item, answer: str) -> tuple[float, int] | None:
        return (-1.0 if answer == item.reference else -2.0), 1


@pytest.mark.parametrize("text", SUITES, ids=lambda text: text.splitlines()[0])
def test_its_suites_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_suite(path).items


def test_every_type_has_an_example_that_a_right_answer_passes(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(next(text for text in SUITES if text.startswith("suite: every-type")), encoding="utf-8")
    suite = load_suite(path)
    assert {item.type for item in suite.items} == set(plugins.names(ITEMS))
    report = asyncio.run(run_suite(suite, [Knowing()], RunOptions(), Silent()))
    (contestant,) = report.contestants
    values = {name: (each.value, each.better) for name, each in contestant.scores.items() if each.n}
    right = ("json_schema", "field_accuracy", "final_number", "constraints", "citation_accuracy", "groundedness",
             "refusal_correctness", "tool_call_match", "tool_schema_success", "pass_at_k", "multiple_choice_accuracy",
             "preference_accuracy", "accuracy")  # fmt: skip
    assert {name: values[name] for name in right} == dict.fromkeys(right, (1.0, "higher"))
    wrong = ("leak_rate", "repair_rate", "over_refusal", "unknown_citation_rate", "hallucination_rate", "invalid_rate",
             "attack_success")  # fmt: skip
    assert {name: values[name] for name in wrong} == dict.fromkeys(wrong, (0.0, "lower"))


def rows_below(mark: str) -> dict[str, str]:
    table = GUIDE.split(f"<!-- {mark} -->\n")[1].split("\n\n")[0]
    return {row.split("|")[1].strip(" `"): row for row in table.splitlines()}


def test_the_types_are_listed_with_their_metrics() -> None:
    rows = rows_below("types")
    assert set(rows) == set(plugins.names(ITEMS))
    for name, row in rows.items():
        metrics = cast(type[ItemType], plugins.load(ITEMS, name)).metrics
        assert re.findall(r"`(\w+)`", row)[1:] == [spec.name for spec in metrics]


def test_the_constraints_are_listed_with_their_options() -> None:
    rows = rows_below("constraints")
    assert set(rows) == set(CHECKS)
    for name, row in rows.items():
        options = list(inspect.signature(CHECKS[name]).parameters)[1:]
        bounds = ["at_least", "at_most", "exactly"]
        written = [option for option in options if option not in bounds] + (bounds if bounds[0] in options else [])
        assert re.findall(r"`(\w+)`", row.split("|")[2]) == written


def test_the_readers_are_listed() -> None:
    assert set(rows_below("readers")) == set(plugins.names(READERS))
