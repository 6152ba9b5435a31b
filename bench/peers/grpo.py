"""TRL's GRPOTrainer with its completions given: only the learning step is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import pad

__all__ = ["make_trainer"]

Steps = Sequence[Sequence[dict[str, Any]]]


def make_trainer(steps: Steps, options: dict[str, Any], **given: Any) -> GRPOTrainer:
    """Every completion of a step is one row of its batch."""
    group = len(steps[0][0]["rows"])
    rows = group * len(steps[0])
    config = GRPOConfig(**options | {"per_device_train_batch_size": rows}, num_generations=group, loss_type="grpo")
    prompts = Dataset.from_list([{"prompt": "given"} for groups in steps for _ in groups])
    trainer = _Given(args=config, train_dataset=prompts, reward_funcs=_no_reward, **given)
    padding = given["processing_class"].pad_token_id
    trainer.stored = [_inputs(groups, padding) for groups in steps]
    return trainer


class _Given(GRPOTrainer):
    """Learns from stored completions instead of sampling them."""

    stored: list[dict[str, torch.Tensor]]

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, torch.Tensor]:
        return self.stored[self.state.global_step]


def _inputs(groups: Sequence[dict[str, Any]], padding: int) -> dict[str, torch.Tensor]:
    """Prompts padded on the left, completions on the right, as the trainer's own sampling gives them."""
    prompts, completions = [], []
    for row in (row for group in groups for row in group["rows"]):
        cut = next(index for index, weight in enumerate(row["weights"]) if weight > 0)
        prompts.append(torch.tensor(row["ids"][:cut]))
        completions.append(torch.tensor(row["ids"][cut:]))
    mask = pad([torch.ones_like(ids) for ids in completions], padding_value=0)
    return {
        "prompt_ids": pad(prompts, padding_value=padding, padding_side="left"),
        "prompt_mask": pad([torch.ones_like(ids) for ids in prompts], padding_value=0, padding_side="left"),
        "completion_ids": pad(completions, padding_value=padding),
        "completion_mask": mask,
        "advantages": torch.tensor([value for group in groups for value in group["advantages"]]),
        "num_items_in_batch": mask.sum(),
    }


def _no_reward(completions: Sequence[Any], **_: Any) -> list[float]:
    """Asked by the trainer's constructor, never called."""
    return [0.0] * len(completions)
