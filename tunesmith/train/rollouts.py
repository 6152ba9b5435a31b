"""Completions that the model being trained gives to its prompts, graded: what policy gradients learn from.

Neither sampling nor grading is this package's business: who starts a run passes a `Sampler` (the embedded engine's
packed forward over the live module) and a `Reward` (a grader). Seeds come from (run seed, step, prompt, completion), so
a resumed run samples what the interrupted one would have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from tunesmith.errors import Problem, RecipeError, TrainingFailed
from tunesmith.models.method import Method
from tunesmith.train.advantages import deviation
from tunesmith.train.forward import Batching, score
from tunesmith.train.objective import Group, Needs, Objective, rows_of
from tunesmith.train.selfchecks import token_check
from tunesmith.types.conversation import Rendered, Span
from tunesmith.types.dataset import Check
from tunesmith.types.recipe import PluginSpec, TrainSpec

__all__ = [
    "Completion",
    "Decoder",
    "Graded",
    "Reward",
    "Rollouts",
    "Sampler",
    "Tools",
    "completed_row",
    "require_a_grade",
    "rollout_metrics",
    "rollouts_for",
    "sampling_check",
]

_GREEDY = -1
_VALIDATION = 1 << 62  # in the place of a step, which no step has


class Completion(NamedTuple):
    """One sampled answer."""

    token_ids: tuple[int, ...]
    """with the end-of-turn token, unless it was cut off"""
    logprobs: tuple[float, ...]
    """natural-log probability of each token, untempered, at the time of sampling"""
    ended: bool
    """whether the model ended its turn; otherwise the answer was cut off at the most tokens allowed"""


class Sampler(Protocol):
    """Samples from a model as it is now."""

    def sample(
        self, model: Any, prompts: Sequence[tuple[int, ...]], seeds: Sequence[Sequence[int]], limits: Needs
    ) -> Sequence[Sequence[tuple[tuple[int, ...], tuple[float, ...], bool]]]:
        """For each prompt one completion per seed (in the order of `Completion`'s fields), at most
        `limits.max_tokens` long. A negative seed is greedy.

        The same weights, prompts and seeds give the same completions.
        """


class Graded(NamedTuple):
    """A completion's reward, or None and why it could not be graded."""

    score: float | None
    detail: str = ""


class Reward(Protocol):
    """Grades answers."""

    def __call__(self, answers: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Graded]:
        """One grade for each (answer's text, row's fields)."""


class Decoder(Protocol):
    """The part of the renderer that turns a completion into text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, special tokens left out."""


class Tools(NamedTuple):
    """What a run with rewards is given from outside."""

    sampler: Sampler
    reward: Callable[[PluginSpec], Reward]
    """the grader that the recipe names; raises RecipeError for one that cannot work here"""


@dataclass(frozen=True)
class Rollouts:
    """Makes the groups of one step: the prompts' completions under the present policy, with their rewards."""

    sampler: Sampler
    reward: Reward
    decoder: Decoder
    needs: Needs
    method: Method
    batching: Batching
    seed: int

    def sampled(self, model: Any, groups: Sequence[Group], step: int) -> list[Group]:
        """`groups` with completions drawn for `step` (counted from 0) in the place of their rows."""
        seeds = [
            [_seed(self.seed, step, group.id, index) for index in range(self.needs.completions)] for group in groups
        ]
        return self._completed(model, groups, seeds)

    def validated(self, model: Any, groups: Sequence[Group]) -> list[Group]:
        """`groups` with what validation measures: the greedy completion of each, or as many drawn ones as are asked
        for, with the same seeds every time.
        """
        count = self.needs.validation_completions
        if count == 1:
            return self._completed(model, groups, [[_GREEDY]] * len(groups))
        seeds = [[_seed(self.seed, _VALIDATION, group.id, index) for index in range(count)] for group in groups]
        return self._completed(model, groups, seeds)

    def _completed(self, model: Any, groups: Sequence[Group], seeds: Sequence[Sequence[int]]) -> list[Group]:
        training = model.training
        model.eval()
        drawn = self.sampler.sample(model, [group.prompt for group in groups], seeds, self.needs)
        found = [[Completion(*fields) for fields in own] for own in drawn]
        answers = [
            (self.decoder.decode(completion.token_ids), group.item)
            for group, completions in zip(groups, found, strict=True)
            for completion in completions
        ]
        grades = self.reward(answers)
        rewards = iter(grade.score for grade in grades)
        results = [
            group._replace(
                rows=tuple(completed_row(group.prompt, completion) for completion in completions),
                sampled=tuple(logprob for completion in completions for logprob in completion.logprobs),
                rewards=tuple(next(rewards) for _ in completions),
                truncated=sum(not completion.ended for completion in completions),
                ungraded=next((grade.detail for grade in grades if grade.score is None), ""),
            )
            for group, completions in zip(groups, found, strict=True)
        ]
        if self.needs.start_tokens:
            results = self._with_start(model, results)
        model.train(training)
        return results

    def _with_start(self, model: Any, groups: Sequence[Group]) -> list[Group]:
        """The groups with each trained token's log-probability under the start policy."""
        results = []
        with torch.no_grad(), self.method.without(model):
            for group in groups:
                scored = score(model, rows_of([group]), self.batching)
                results.append(group._replace(start=tuple(scored.logprobs[scored.token].tolist())))
        return results


def rollouts_for(
    spec: TrainSpec, objective: Objective, method: Method, outside: tuple[Tools | None, Decoder]
) -> Rollouts | None:
    """What samples and grades, for objectives that learn from rewards; None for others.

    Raises RecipeError when grader and objective do not belong together.
    """
    tools, decoder = outside
    wants = objective.needs.completions > 0
    if wants != (spec.grader is not None):
        message = "is missing: this objective learns from rewards" if wants else "has no effect with this objective"
        fix = "add train.grader: {name: string_check, ...}" if wants else "remove it, or choose grpo or rloo"
        raise RecipeError([Problem(message, field="train.grader", fix=fix)])
    if spec.grader is None:
        return None
    if tools is None:
        raise TrainingFailed("Nothing was given to sample and grade answers with.", hint="Use: tunesmith train RECIPE")
    reward = tools.reward(spec.grader)
    return Rollouts(tools.sampler, reward, decoder, objective.needs, method, spec.batching, spec.seed)


def sampling_check(rollouts: Rollouts, model: Any, groups: Sequence[Group], precision: str) -> Check:
    """The sampler and the trainer agree on what the model says: else the policy gradient would be of another policy."""
    few = require_a_grade(rollouts.sampled(model, groups[:2], 0))
    training = model.training
    model.eval()
    with torch.no_grad():
        scored = score(model, rows_of(few), rollouts.batching)
    model.train(training)
    sampled = torch.tensor([value for group in few for value in group.sampled])
    name = "sampling and training give the same log-probabilities"
    return token_check(name, sampled, scored.logprobs[scored.token].cpu(), precision)


def completed_row(prompt: tuple[int, ...], completion: Completion) -> Rendered:
    """Prompt and completion as a training row; every token of the completion has weight 1."""
    first, last = len(prompt), len(prompt) + len(completion.token_ids)
    return Rendered(
        token_ids=(*prompt, *completion.token_ids),
        loss_weights=(0.0,) * first + (1.0,) * (last - first),
        spans=(
            Span(start=0, end=first, message=-1, role="prompt", trained=False),
            Span(start=first, end=last, message=0, role="assistant", trained=True),
        ),
    )


def rollout_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """What is worth watching of the completions of a whole step; nothing for groups that were not sampled.

    `flat_groups` is the share of prompts whose completions all got the same reward: they teach nothing.
    """
    rewards = [reward for group in groups for reward in group.rewards]
    known = [reward for reward in rewards if reward is not None]
    if not known:
        return {}
    deviations = [deviation(group.rewards) for group in groups]
    lengths = [sum(row.loss_weights) for row in rows_of(groups)]
    return {
        "reward": float(np.mean(known)),
        "reward_deviation": float(np.mean(deviations)),
        "flat_groups": float(np.mean([value == 0.0 for value in deviations])),
        "unscored": 1.0 - len(known) / len(rewards),
        "completion_tokens": float(np.mean(lengths)),
        "cut_off": sum(group.truncated for group in groups) / len(rewards),
    }


def _seed(run: int, step: int, prompt: str, completion: int) -> int:
    """A seed of 63 bits of its own for every completion of every step."""
    digits = int.from_bytes(prompt.encode(), "big")
    low, high = np.random.SeedSequence((run, step, digits, completion)).generate_state(2).tolist()
    return int(low | (high & 0x7FFFFFFF) << 32)


def require_a_grade(groups: Sequence[Group]) -> Sequence[Group]:
    """The sampled `groups`. Raises TrainingFailed when not one of their completions could be graded."""
    rewards = [reward for group in groups for reward in group.rewards]
    if rewards and all(reward is None for reward in rewards):
        raise TrainingFailed(
            f"Not one of {len(rewards)} answers could be graded: {groups[0].ungraded}",
            hint="Try the grader on a row: tunesmith graders run GRADER --answer TEXT --item ROW",
        )
    return groups
