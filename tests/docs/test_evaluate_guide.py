"""What docs/evaluate.md shows can be read and run as it stands."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest

from tunesmith.cli.eval_models import choice
from tunesmith.evaluate.engine_subject import EngineSubject, Served
from tunesmith.evaluate.prompting import AS_WRITTEN
from tunesmith.evaluate.report.suite_files import FORMATS, write_evaluation, write_reports
from tunesmith.evaluate.running import RunOptions, run_suite
from tunesmith.evaluate.suite import load_suite
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.testing.echo import ByteCodec, echo_engine

GUIDE = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")


class ByteRenderer(ByteCodec):
    """Conversations as bytes."""

    tool_syntax = None

    def prompt_ids(self, messages, tools=()):
        return tuple("|".join(message.content or "" for message in messages).encode())


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (text,) = re.findall(r"<!-- file: capitals.yaml -->\n```yaml\n(.*?)```", GUIDE, flags=re.S)
    (tmp_path / "capitals.yaml").write_text(text)
    (tmp_path / "more.csv").write_text("prompt,gold,continent\nWhat is the capital of Japan?,Tokyo,Asia\n")
    return tmp_path / "capitals.yaml"


def test_the_suite_is_asked_and_reported(suite: Path, tmp_path: Path) -> None:
    said = {"France": "Paris", "Kenya": "nairobi.", "sentence": "lima lies by the sea.", "Japan": "Tokyo"}
    engine = echo_engine(said)
    subject = EngineSubject("echo", Served(engine, ByteRenderer(), "echo", None, {}), AS_WRITTEN)
    report = asyncio.run(run_suite(load_suite(suite), [subject], RunOptions(), Silent()))
    answers = [row.answer for row in report.contestants[0].predictions]
    assert (answers[0], answers[1], answers[3]) == ("Paris", "nairobi.", "Tokyo")
    scores = report.contestants[0].scores
    assert (scores["about_right"].value or 0) > (scores["exact_match"].value or 0)
    write_evaluation(report, tmp_path)
    assert len(write_reports({report.split: report}, tmp_path, tuple(FORMATS))) == 4


def test_the_part_of_a_recipe_is_accepted(suite: Path, tmp_path: Path) -> None:
    (part,) = re.findall(r"<!-- part: evaluate -->\n```yaml\n(.*?)```", GUIDE, flags=re.S)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    start = "name: n\nprepare: {sources: [{path: rows.jsonl}]}\nrelease: {name: n}\n"
    (tmp_path / "recipe.yaml").write_text(start + part)
    assert load_recipe(tmp_path / "recipe.yaml").evaluate.suites == ("general", "capitals.yaml")


def test_the_commands_name_models_that_can_be_told_apart() -> None:
    commands = re.findall(r"^    tunesmith eval run (.*?)(?<!\\)\n", GUIDE, flags=re.S | re.M)
    found = []
    for each in commands:
        words = shlex.split(each.replace("\\\n", " "))
        found.append([choice(words[place + 1]) for place, word in enumerate(words) if word == "--model"])
    assert [[model.label for model in models] for models in found] == [
        ["base", "disputes", "gpt-4o"],
        ["old", "new"],
        ["base", "base+prompt", "base+prompt+3shots"],
    ]
    assert found[0][2].url == "https://api.openai.com/v1"
    assert (found[1][0].what, found[1][0].url) == ("disputes@v1", None)
    assert (found[2][2].what, found[2][2].prompt, found[2][2].shots) == ("base", True, 3)
