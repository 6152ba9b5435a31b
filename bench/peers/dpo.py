"""TRL's DPOTrainer on tokenised pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

__all__ = ["make_trainer"]

Steps = Sequence[Sequence[dict[str, Any]]]


def make_trainer(steps: Steps, options: dict[str, Any], **given: Any) -> DPOTrainer:
    """With LoRA the reference is the model without its adapter, computed in each step."""
    pairs = [_pair(*group["rows"]) for groups in steps for group in groups]
    config = DPOConfig(**options, beta=0.1, max_length=None)
    return _Tokenised(args=config, train_dataset=Dataset.from_list(pairs), **given)


class _Tokenised(DPOTrainer):
    """The trainer for data that hold token ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


def _pair(chosen: dict[str, Any], rejected: dict[str, Any]) -> dict[str, Any]:
    prompt = next(index for index, weight in enumerate(chosen["weights"]) if weight > 0)
    return {
        "prompt_ids": chosen["ids"][:prompt],
        "chosen_ids": chosen["ids"][prompt:],
        "rejected_ids": rejected["ids"][prompt:],
    }
