"""A suite is read whole, or refused with every problem, its line, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.errors import DataError, Problem, RecipeError
from tunesmith.evaluate.metric import grade_key, load_metric
from tunesmith.evaluate.readers.rows import Rows
from tunesmith.evaluate.suite import judged_by, load_suite
from tunesmith.recipes import load_recipe, suite_file
from tunesmith.types.suite import Suite

QA = """\
suite: capitals
max_new_tokens: 8
items:
  - {type: qa, question: Capital of France?, answer: Paris, tags: {continent: Europe}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(RecipeError) as caught:
        load_suite(write(folder, text))
    return caught.value.problems


def test_inline_items(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, QA))
    assert (suite.name, suite.max_new_tokens) == ("capitals", 8)
    assert [spec.title for spec in suite.metrics] == ["exact_match"]
    (item,) = suite.items
    assert (item.messages[0].content, item.reference, item.tags) == (
        "Capital of France?",
        "Paris",
        {"continent": "Europe"},
    )
    assert Suite.model_validate_json(suite.model_dump_json()) == suite


def test_files_of_rows_with_columns_tags_and_a_limit(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1+1?", "gold": 2, "lang": "en"}\n\n{"prompt": "2+2?"}\n')
    (tmp_path / "rows.csv").write_text('q,a,b\n"Who,\nthen?",me,\nWhat?,this,that\n')
    text = """\
suite: mixed
metrics: [exact_match]
files:
  - {path: rows.jsonl, type: qa, columns: {question: prompt, answer: lang}, tags: {language: lang}, limit: 1}
  - {path: rows.csv, type: qa, columns: {question: q, answer: a}}
"""
    suite = load_suite(write(tmp_path, text))
    assert [item.messages[0].content for item in suite.items] == ["1+1?", "Who,\nthen?", "What?"]
    assert suite.items[0].tags == {"language": "en"}


def test_a_list_of_columns_makes_a_list(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("q,a,b,c\nWho?,me,I,myself\n")
    reader = Rows(type="qa", columns={"question": "q", "answer": "a", "answers": ("b", "c")})
    (item,) = reader.read(tmp_path / "rows.csv", 0)
    assert item.expect == {"answers": ["I", "myself"]}


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ('{"question": "?", "answer": "!"}\n[1]\n', 2, "is no JSON object"),
        ('\n{"question": }\n', 2, "is no JSON"),
        ('{"question": "?", "answer": "!"}\n{"question": "?"}\n', 2, "Field required"),
        ('{"question": "?", "answer": "!", "colour": "red"}\n', 1, "Extra inputs"),
    ],
)
def test_a_row_that_is_no_item_is_named_with_its_line(tmp_path: Path, content: str, line: int, message: str) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    with pytest.raises(DataError) as caught:
        list(Rows(type="qa").read(tmp_path / "rows.jsonl", 0))
    (problem,) = caught.value.problems
    assert (problem.line, message in problem.message) == (line, True)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("q,a\nWho?,me\n")
    with pytest.raises(DataError, match=r"there is no column 'prompt' -> it has: q, a"):
        list(Rows(type="qa", columns={"question": "prompt", "answer": "a"}).read(tmp_path / "rows.csv", 0))


def test_all_problems_at_once_with_lines_and_the_nearest(tmp_path: Path) -> None:
    text = """\
suite: wrong
metrics: [exact_mach]
items:
  - {type: qa, question: Who?, answer: me}
  - {type: qaa, question: Who?, answer: me}
  - type: qa
    question: Who?
    anwser: me
files:
  - {path: nowhere.jsonl, type: qa}
  - {path: suite.yaml, reader: rowz}
"""
    found = problems(tmp_path, text)
    assert [problem.line for problem in found] == [2, 5, 6, 8, 10, 11]
    said = "\n".join(map(str, found))
    assert "Did you mean 'exact_match'?" in said
    assert "Did you mean 'qa'?" in said
    assert "items.2.anwser" in said
    assert "paths are relative to" in said
    assert "Did you mean 'rows'?" in said


def test_an_unknown_field_names_the_nearest(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, QA + "metrcs: [exact_match]\n")
    assert (problem.line, problem.field) == (5, "metrcs")
    assert "did you mean 'metrics'?" in str(problem)


def test_a_suite_without_items_is_refused(tmp_path: Path) -> None:
    assert "has no items" in str(problems(tmp_path, "suite: empty\nmetrics: [exact_match]\n"))


def test_one_id_for_two_items_is_refused_and_an_item_written_twice_is_asked_twice(tmp_path: Path) -> None:
    item = "  - {type: qa, id: x, question: %s, answer: a}\n"
    assert "the id 'x'" in str(problems(tmp_path, "suite: s\nitems:\n" + item % "A?" + item % "B?"))
    suite = load_suite(write(tmp_path, "suite: s\nitems:\n" + item % "A?" + item % "A?"))
    assert [each.id for each in suite.items] == ["x", "x-2"]


def test_evals_are_prompts_with_constraints_and_a_rubric(tmp_path: Path) -> None:
    text = """\
suite: haiku
metrics: [exact_match]
evals:
  - prompt: Write a haiku.
    system: You are a poet.
    constraints: [lowercase, {name: words, at_most: 20}]
    rubric: It is about autumn.
"""
    (item,) = load_suite(write(tmp_path, text)).items
    assert [message.role for message in item.messages] == ["system", "user"]
    assert item.expect == {
        "constraints": [{"name": "lowercase"}, {"name": "words", "at_most": 20}],
        "rubric": "It is about autumn.",
    }


def test_the_judge_of_a_run_is_that_of_metrics_which_ask_one(tmp_path: Path) -> None:
    """Grades are kept by a metric's options: the server is one of them. An encoder's `model` is no judge's."""
    path = tmp_path / "s.yaml"
    path.write_text(
        "suite: s\nmetrics: [judge, bertscore, {name: groundedness, model: own, base_url: 'http://own/v1'}]\n"
        "items: [{type: qa, question: a, answer: b}]\n"
    )
    written = load_suite(path)
    here, there = (judged_by(written, "m", url, "KEY").metrics for url in ("http://here/v1", "http://there/v1"))
    assert here[0].options == {"model": "m", "base_url": "http://here/v1", "api_key_env": "KEY"}
    assert grade_key(load_metric(here[0])) != grade_key(load_metric(there[0]))
    assert here[1:] == there[1:] == written.metrics[1:]


def test_a_recipe_s_suites_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    write(tmp_path, QA)
    recipe = tmp_path / "recipe.yaml"
    start = "name: n\nprepare: {sources: [{path: rows.jsonl}]}\nrelease: {name: n}\n"
    recipe.write_text(f"{start}evaluate: {{suites: [suite.yaml]}}\n")
    assert load_recipe(recipe).evaluate.suites == ("suite.yaml",)
    assert suite_file("suite.yaml", tmp_path) == tmp_path / "suite.yaml"
    recipe.write_text(f"{start}evaluate: {{suites: [suit.yaml]}}\n")
    with pytest.raises(RecipeError, match=r"did you mean 'suite.yaml'"):
        load_recipe(recipe)


def test_problems_of_sound_parts_are_told_beside_those_of_the_form(tmp_path: Path) -> None:
    text = """\
suite: capitals
max_tokens: 8
metrics: [exact_mach]
items:
  - {type: q, question: Capital of France?, answer: Paris}
files: [{path: nothing.csv, type: qa}]
"""
    told = " | ".join(f"{each.line} {each.message} {each.fix}" for each in problems(tmp_path, text))
    for part in ("max_new_tokens", "'exact_match'", "'qa'", "no such file"):
        assert part in told, told
    assert told.count("max_tokens") <= 1
