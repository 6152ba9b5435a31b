"""Preferences, and answers that a grader judges, through the official client."""

from __future__ import annotations

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


def test_a_grader_gives_the_rewards(client: openai.OpenAI) -> None:
    rows = [{"messages": [{"role": "user", "content": f"letter {i}"}], "wanted": "a"} for i in range(4)]
    numbers = {"n_epochs": 1, "batch_size": 2, "compute_multiplier": 0.5}
    method = {"type": "reinforcement", "reinforcement": {"grader": GRADER, "hyperparameters": numbers}}
    asked = client.fine_tuning.jobs.create(model="base", training_file=upload(client, rows), method=method)
    job = wait_for(client, asked.id, "succeeded")
    assert job.method.reinforcement.grader.name == "long"
    assert job.method.reinforcement.hyperparameters.compute_multiplier == 0.5
    steps = [event for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "metrics"]
    assert all("reward" in event.data for event in steps)
    assert len(steps) == 2
