"""Preferences, and answers that a grader judges, through the official client."""

from __future__ import annotations

from typing import Any

import openai

from tests.e2e.openai.fine_tuning import pairs, upload, wait_for

GRADER = {
    "type": "string_check",
    "name": "long",
    "input": "{{sample.output_text}}",
    "reference": "{{item.wanted}}",
    "operation": "ilike",
}


def test_preferences_are_learned_with_beta(client: openai.OpenAI) -> None:
    method = {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1, "batch_size": 4, "beta": 0.2}}}
    asked = client.fine_tuning.jobs.create(model="base", training_file=upload(client, pairs()), method=method)
    job = wait_for(client, asked.id, "succeeded")
    assert job.method.type == "dpo"
    assert job.method.dpo.hyperparameters.beta == 0.2
    assert job.hyperparameters.n_epochs == 1
    question = [{"role": "user", "content": "colour?"}]
    assert client.chat.completions.create(model=job.fine_tuned_model, messages=question, max_tokens=2).choices


def reinforced(client: openai.OpenAI, wanted: str, multiplier: float, end: str) -> Any:
    """The job, at its `end`, of four rows whose answers should hold what is `wanted`."""
    rows = [{"messages": [{"role": "user", "content": f"letter {i}"}], "wanted": wanted} for i in range(4)]
    numbers = {"n_epochs": 1, "batch_size": 2, "compute_multiplier": multiplier}
    method: Any = {"type": "reinforcement", "reinforcement": {"grader": GRADER, "hyperparameters": numbers}}
    asked = client.fine_tuning.jobs.create(model="base", training_file=upload(client, rows), method=method)
    return wait_for(client, asked.id, end)


def test_a_grader_gives_the_rewards(client: openai.OpenAI) -> None:
    job = reinforced(client, "a", 0.5, "succeeded")
    assert job.method.reinforcement.grader.name == "long"
    assert job.method.reinforcement.hyperparameters.compute_multiplier == 0.5
    steps = [event for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "metrics"]
    assert all("reward" in event.data for event in steps)
    assert len(steps) == 2


def test_a_grader_also_measures_the_validation_file(client: openai.OpenAI) -> None:
    rows = [{"messages": [{"role": "user", "content": f"letter {i}"}], "wanted": "a"} for i in range(4)]
    numbers = {
        "n_epochs": 1,
        "batch_size": 1,
        "compute_multiplier": 0.5,
        "eval_interval": 2,
        "eval_samples": 3,
        "reasoning_effort": "medium",
    }
    asked = client.fine_tuning.jobs.create(
        model="base",
        training_file=upload(client, rows),
        validation_file=upload(client, rows[:2]),
        method={"type": "reinforcement", "reinforcement": {"grader": GRADER, "hyperparameters": numbers}},
        seed=3,
    )
    job = wait_for(client, asked.id, "succeeded")
    own = job.method.reinforcement.hyperparameters
    assert (own.eval_interval, own.eval_samples, own.reasoning_effort) == (2, 3, "medium")
    events = client.fine_tuning.jobs.list_events(job.id, limit=100).data
    measured = {event.data["step"]: event.data["valid_loss"] for event in events if "valid_loss" in (event.data or {})}
    assert sorted(measured) == [2, 4]
    # Two rows with three answers each, and a grader that says 0 or 1.
    assert all(round(6 * value, 6) == round(6 * value) for value in measured.values())


def test_code_with_an_image_tag_gives_the_rewards_alone_and_in_a_formula(client: openai.OpenAI) -> None:
    """What graders.validate takes, a job takes too, and trains with."""
    source = "def grade(sample, item):\n    return float(sum(ord(c) % 2 for c in sample['output_text']))\n"
    code = {"type": "python", "name": "odd", "source": source, "image_tag": "2025-05-08"}
    formula = {"type": "multi", "name": "all", "graders": {"odd": code, "long": GRADER}, "calculate_output": "odd+long"}
    rows = [{"messages": [{"role": "user", "content": f"letter {i}"}], "wanted": "a"} for i in range(4)]
    numbers = {"n_epochs": 1, "batch_size": 2, "compute_multiplier": 0.25}
    for grader in (code, formula):
        client.fine_tuning.alpha.graders.validate(grader=grader)
        method = {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": numbers}}
        asked = client.fine_tuning.jobs.create(model="base", training_file=upload(client, rows), method=method)
        assert asked.method.reinforcement.grader.to_dict() == grader
        wait_for(client, asked.id, "succeeded")


def test_a_grader_that_tells_no_answers_apart_is_named(client: openai.OpenAI) -> None:
    job = reinforced(client, "never said", 0.25, "failed")
    assert job.error.param == "method.reinforcement.grader"
    assert job.error.message.startswith("All answers to each prompt got the same reward at every step (0), so there")
    assert job.fine_tuned_model is None


def test_what_a_reinforcement_job_does_not_say_is_settled(client: openai.OpenAI) -> None:
    rows = [{"messages": [{"role": "user", "content": f"letter {i}"}], "wanted": "a"} for i in range(4)]
    method = {"type": "reinforcement", "reinforcement": {"grader": GRADER, "hyperparameters": {"batch_size": 2}}}
    asked = client.fine_tuning.jobs.create(model="base", training_file=upload(client, rows), method=method)
    assert asked.method.reinforcement.hyperparameters.eval_interval == "auto"
    job = wait_for(client, asked.id, lambda found: found.status == "running")
    own = job.method.reinforcement.hyperparameters
    assert (own.eval_interval, own.eval_samples, own.reasoning_effort) == (2, 1, "default")
    client.fine_tuning.jobs.cancel(job.id)
