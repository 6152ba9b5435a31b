"""What objectives that learn from rewards are given: training itself knows neither the engine nor graders."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.engine.backends.embedded import Embedded
from tunesmith.errors import Problem, RecipeError
from tunesmith.grade.grader import Answered, Sample, load_grader
from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles
from tunesmith.train.rollouts import Graded, Reward, Tools
from tunesmith.types.recipe import PluginSpec

__all__ = ["reward_of", "training_tools"]


def training_tools(base: BaseFiles) -> Tools:
    """A sampler with the live adapter on `base`, and the graders."""
    return Tools(Embedded().live_sampler(Renderer(base.path).stop_ids), reward_of)


def reward_of(choice: PluginSpec) -> Reward:
    """The grader that the recipe names as a function from answers to rewards. Raises RecipeError."""
    grader = load_grader({"name": choice.name, **choice.options})
    if models := grader.judges():
        message = f"{', '.join(models)} would have to be asked, and no server is given"
        fix = "set base_url to an OpenAI-compatible server, for example one of `tunesmith serve`"
        raise RecipeError([Problem(message, field="train.grader", fix=fix)])

    def reward(answers: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Graded]:
        answered = [Answered(Sample(output_text=text), item) for text, item in answers]
        grades = asyncio.run(grader.grade(answered))
        return [Graded(grade.score, f"{grade.error}: {grade.detail}" if grade.error else "") for grade in grades]

    return reward
