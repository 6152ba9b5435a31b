"""From a fine-tuning job of OpenAI's API to the recipe that trains it.

    supervised      sft on the trained assistant messages
    dpo             dpo with beta
    reinforcement   grpo with the job's grader

Every row is used as it is: nothing is dropped as a repetition, and a row that cannot be used fails the job. Without a
validation file nothing is held out; with one, a loss on it that did not fall is a warning. The evaluation asks the
tuned model a few rows through the engine that serves, and no gate stands in the way of the model: whoever asked for it
decides. A job on a tuned model starts from its adapter, whose copy is in the job's folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tunesmith.jobs.auto import completions
from tunesmith.jobs.folder import JobFolder
from tunesmith.recipes import effective
from tunesmith.types.jobs import Job, Method, MethodName, Resolved
from tunesmith.types.recipe import Recipe

__all__ = ["format_of", "grader_of", "recipe_of", "sources_of", "write_recipe"]

# At a batch of 16 and a multiplier of 1, for adapters.
_LEARNING_RATES: tuple[tuple[MethodName, float], ...] = (("supervised", 5e-4), ("dpo", 5e-5), ("reinforcement", 5e-5))
_CHECKPOINT_STEPS = 10
_KEPT_EPOCHS = 3
_EVALUATED_ROWS = 8
_EVALUATED_TOKENS = 32


def recipe_of(job: Job, resolved: Resolved, folder: JobFolder) -> Recipe:
    """The recipe of `job` with the numbers in `resolved`, for the data in its folder."""
    request, method = job.request, job.request.method
    rate = dict(_LEARNING_RATES)[method.type] * resolved.learning_rate_multiplier
    return Recipe.model_validate(
        {
            "name": job.id,
            "model": {"base": request.base},
            "prepare": {
                "sources": sources_of(job, folder),
                "split": {"validation": 0.0, "test": 0.0},
                "deduplicate": "off",
                "max_tokens": request.context,
                "too_long": "refuse",
                "max_drop_rate": 0.0,
            },
            "train": {
                "start_from": folder.PARENT if folder.has_parent else None,
                "objective": _objective(method, resolved),
                "grader": grader_of(method.grader) if method.grader else None,
                "trackers": [_tracker(each.model_dump()) for each in request.integrations],
                "epochs": resolved.n_epochs,
                "batch_size": resolved.batch_size,
                "learning_rate": rate,
                "seed": request.seed,
                "checkpoint_every": _CHECKPOINT_STEPS,
                "keep_epochs": _KEPT_EPOCHS,
                "must_improve": not folder.has_validation,
                "validate_every": (resolved.eval_interval or 0) if folder.has_validation else 0,
            },
            "evaluate": {
                "split": "validation" if folder.has_validation else "train",
                "compare": ["prompt_only", "tuned"],
                "metrics": ["exact_match"] if method.type == "reinforcement" else ["exact_match", "perplexity"],
                "max_new_tokens": _EVALUATED_TOKENS,
                "limit": _EVALUATED_ROWS,
                "concurrency": 4,
                "suites": [],
            },
            "gate": {"rules": []},
            "release": {"name": job.id, "impose_system": False, "max_new_tokens": request.context},
        }
    )


def write_recipe(job: Job, resolved: Resolved, folder: JobFolder) -> Path:
    """Write the recipe once; a job goes on with the one it began with."""
    if not folder.recipe.is_file():
        draft = folder.recipe.with_name(".recipe.yaml")
        draft.write_text(effective(recipe_of(job, resolved, folder)), encoding="utf-8")
        draft.replace(folder.recipe)
    return folder.recipe


def sources_of(job: Job, folder: JobFolder) -> list[dict[str, Any]]:
    """The job's files as sources of a recipe, relative to its folder."""
    found = [{"path": folder.TRAINING, "split": "train"}]
    if folder.has_validation:
        found.append({"path": folder.VALIDATION, "split": "validation"})
    return [{**source, "format": format_of(job.request.method.type, folder.path / source["path"])} for source in found]


def format_of(method: MethodName, file: Path) -> str:
    """The form of the rows: OpenAI's for the method, or its older prompts and completions."""
    if method != "supervised":
        return "preference" if method == "dpo" else "prompts"
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        first = next((line for line in stream if line.strip()), "")
    try:
        row = json.loads(first)
    except ValueError:
        row = None
    legacy = isinstance(row, dict) and "messages" not in row and "prompt" in row and "completion" in row
    return "completion" if legacy else "chat"


def grader_of(grader: dict[str, Any]) -> dict[str, Any]:
    """A grader of OpenAI's API as a recipe names it: its type is the plugin, its own name only a label."""
    apart = ("type", "image_tag") if grader.get("type") == "python" else ("type",)
    return {**{key: value for key, value in grader.items() if key not in apart}, "name": grader.get("type")}


def _objective(method: Method, resolved: Resolved) -> dict[str, Any]:
    if method.type == "dpo":
        return {"name": "dpo", "beta": resolved.beta}
    if method.type == "reinforcement":
        validation = {"validation_samples": resolved.eval_samples or 1}
        return {"name": "grpo", "completions": completions(resolved), **validation}
    return {"name": "sft"}


def _tracker(integration: dict[str, Any]) -> dict[str, Any]:
    """Weights & Biases with the worker's account; without one it writes a record that `wandb sync` can send."""
    given = {field: value for field, value in integration.items() if value not in (None, ())}
    run_name = {"run_name": given.pop("name")} if "name" in given else {}
    mode = "online" if os.environ.get("WANDB_API_KEY") else "offline"
    return {**given, **run_name, "name": "wandb", "mode": mode}
