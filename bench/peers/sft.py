"""TRL's SFTTrainer on tokenised rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

__all__ = ["make_trainer"]

Steps = Sequence[Sequence[dict[str, Any]]]


def make_trainer(steps: Steps, options: dict[str, Any], **given: Any) -> SFTTrainer:
    """The loss is on the tokens with a weight, which TRL calls the assistant's."""
    rows = [row for groups in steps for group in groups for row in group["rows"]]
    columns = [{"input_ids": r["ids"], "assistant_masks": [int(weight > 0) for weight in r["weights"]]} for r in rows]
    config = SFTConfig(**options, max_length=None, packing=False)
    return SFTTrainer(args=config, train_dataset=Dataset.from_list(columns), **given)
