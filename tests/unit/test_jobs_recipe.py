"""From a job's request to numbers and a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import DataError
from tunesmith.jobs.auto import completions, resolve, steps_of
from tunesmith.jobs.checking import count_rows, data_error
from tunesmith.jobs.folder import JobFolder
from tunesmith.jobs.models import checkpoint_name, model_name, short_name
from tunesmith.jobs.recipe import recipe_of, write_recipe
from tunesmith.jobs.results import metrics_csv, parse_metrics
from tunesmith.recipes import load_recipe
from tunesmith.types.jobs import Integration, Job, JobRequest, Method

GRADER = {
    "type": "string_check",
    "name": "same",
    "input": "{{sample.output_text}}",
    "reference": "{{item.reference}}",
    "operation": "eq",
}


def job_of(**asked: Any) -> Job:
    fields = {"project": "acme", "model": "base", "base": "tiny", "base_name": "tiny", "context": 512, "seed": 3}
    request = JobRequest.model_validate(fields | {"training_file": "file-1"} | asked)
    return Job(id="ftjob-0123456789abcdef01234567", request=request, status="queued", created_at=0)


def folder_with(home: Path, job: Job, rows: list[Any], validation: list[Any] | None = None) -> JobFolder:
    folder = JobFolder(home, job.id)
    folder.path.mkdir(parents=True)
    for name, content in ((folder.TRAINING, rows), (folder.VALIDATION, validation)):
        if content is not None:
            lines = (row if isinstance(row, str) else json.dumps(row) for row in content)
            (folder.path / name).write_text("".join(line + "\n" for line in lines))
    return folder


CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@pytest.mark.parametrize(
    ("rows", "epochs", "batch", "multiplier"),
    [(1, 25, 1, 0.25), (10, 10, 1, 0.25), (100, 3, 4, 0.5), (1000, 3, 16, 1.0), (50_000, 1, 16, 1.0)],
)
def test_auto_follows_from_the_number_of_rows(rows: int, epochs: int, batch: int, multiplier: float) -> None:
    found = resolve(Method(), rows)
    assert (found.n_epochs, found.batch_size, found.learning_rate_multiplier) == (epochs, batch, multiplier)
    assert found.beta is found.compute_multiplier is None


def test_numbers_that_are_given_stay() -> None:
    found = resolve(Method(type="dpo", n_epochs=7, batch_size=16, beta=0.3), 10)
    assert (found.n_epochs, found.batch_size, found.beta, found.learning_rate_multiplier) == (7, 16, 0.3, 1.0)
    assert steps_of(found, 17) == 14
    assert resolve(Method(type="dpo"), 10).beta == 0.1
    assert [completions(resolve(Method(type="reinforcement", compute_multiplier=c), 9)) for c in (0.01, 1, 10)] == [
        2,
        8,
        64,
    ]


def test_supervised_becomes_sft_on_every_row(tmp_path: Path) -> None:
    job = job_of(integrations=(Integration(project="p", name="run", tags=("x",)),))
    folder = folder_with(tmp_path, job, [CHAT], [CHAT])
    recipe = recipe_of(job, resolve(job.request.method, 100), folder)
    train = recipe.train
    assert (train.objective.name, train.epochs, train.batch_size, train.seed) == ("sft", 3, 4, 3)
    assert train.learning_rate == pytest.approx(2.5e-4)
    assert [(source.path, source.split, source.format) for source in recipe.prepare.sources] == [
        ("training.jsonl", "train", "chat"),
        ("validation.jsonl", "validation", "chat"),
    ]
    assert (recipe.prepare.deduplicate, recipe.prepare.max_tokens) == ("off", 512)
    assert (recipe.evaluate.split, recipe.gate.rules, recipe.release.impose_system) == ("validation", (), False)
    assert train.trackers[0].options == {"project": "p", "run_name": "run", "tags": ("x",), "mode": "offline"}


def test_the_older_form_of_rows_is_read(tmp_path: Path) -> None:
    job = job_of()
    folder = folder_with(tmp_path, job, [{"prompt": "a", "completion": "b"}])
    recipe = recipe_of(job, resolve(job.request.method, 1), folder)
    assert recipe.prepare.sources[0].format == "completion"
    assert recipe.evaluate.split == "train"


def test_dpo_and_reinforcement_take_their_own_options(tmp_path: Path) -> None:
    dpo = job_of(method=Method(type="dpo", beta=0.2))
    recipe = recipe_of(dpo, resolve(dpo.request.method, 10), folder_with(tmp_path / "1", dpo, [{}]))
    assert (recipe.train.objective.name, recipe.train.objective.options) == ("dpo", {"beta": 0.2})
    graded = job_of(method=Method(type="reinforcement", grader=GRADER, compute_multiplier=0.5))
    recipe = recipe_of(graded, resolve(graded.request.method, 10), folder_with(tmp_path / "2", graded, [{}]))
    options = {"completions": 4, "validation_samples": 1}
    assert (recipe.train.objective.name, recipe.train.objective.options) == ("grpo", options)
    assert recipe.train.grader is not None
    assert recipe.train.grader.name == "string_check"
    assert recipe.train.grader.options == {key: GRADER[key] for key in ("input", "reference", "operation")}
    assert [source.format for source in recipe.prepare.sources] == ["prompts"]


def test_a_job_goes_on_with_the_recipe_it_began_with(tmp_path: Path) -> None:
    job = job_of()
    folder = folder_with(tmp_path, job, [CHAT])
    first = write_recipe(job, resolve(Method(n_epochs=2), 1), folder).read_text()
    assert write_recipe(job, resolve(Method(n_epochs=9), 1), folder).read_text() == first
    loaded = load_recipe(folder.recipe)
    assert loaded.train.epochs == 2
    assert loaded.gate.rules == ()


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    job = job_of()
    rows = [CHAT, {"messages": [{"role": "robot", "content": "a"}]}, CHAT, "{not json"]
    with pytest.raises(DataError) as caught:
        count_rows(job, folder_with(tmp_path, job, rows))
    error = data_error(caught.value)
    assert (error.code, error.param) == ("invalid_training_file", "training_file")
    assert "Line 2: messages[0].role" in error.message
    assert "Line 4: " in error.message


def test_a_bad_validation_file_is_told_apart(tmp_path: Path) -> None:
    job = job_of()
    folder = folder_with(tmp_path, job, [CHAT, CHAT], [CHAT, {"messages": []}])
    with pytest.raises(DataError) as caught:
        count_rows(job, folder)
    error = data_error(caught.value)
    assert (error.code, error.param) == ("invalid_validation_file", "validation_file")
    assert "Line 2: " in error.message
    (folder.path / folder.VALIDATION).unlink()
    assert count_rows(job, folder) == 2


def test_names_of_models() -> None:
    job = job_of(suffix="mine", base_name=short_name("/models/tiny"))
    assert model_name(job) == "ft:tiny:acme:mine:0123456789ab"
    assert checkpoint_name(job_of(base_name=short_name("wheel:llm-x")), 4) == "ft:llm-x:acme::0123456789ab:ckpt-step-4"
    assert short_name("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"


def test_the_result_file_has_a_line_for_each_step() -> None:
    lines = ['{"step": 0, "validation_loss": 3.0}', '{"step": 1, "loss": 2.5}', '{"step": 1, "validation_loss": 2.0}']
    lines += ['{"step": 2, "loss": 1.5}', '{"step": 3, "lo']
    assert metrics_csv(parse_metrics(lines)).decode().splitlines() == [
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy",
        "1,2.5,,2.0,",
        "2,1.5,,,",
    ]
