"""The result file of a job: one line for each step, in the columns of OpenAI's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

__all__ = ["COLUMNS", "metrics_csv", "parse_metrics"]

COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")


def parse_metrics(lines: Iterable[str]) -> dict[int, dict[str, float]]:
    """Step -> everything that `metrics.jsonl` says of it; step 0 is the validation before the first step.

    A line that is not whole yet is left out.
    """
    found: dict[int, dict[str, float]] = {}
    for line in lines:
        try:
            values: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        found.setdefault(int(values.pop("step")), {}).update(values)
    return found


def metrics_csv(metrics: dict[int, dict[str, float]]) -> bytes:
    """The file, UTF-8; a cell without a value is empty. Accuracies are of tokens: supervised tuning's alone."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for step in sorted(metrics):
        if "loss" in metrics[step]:
            names = ("loss", "token_accuracy", "validation_loss", "validation_token_accuracy")
            writer.writerow([step, *(metrics[step].get(name, "") for name in names)])
    return stream.getvalue().encode()
