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
    """The file, UTF-8; a cell without a value is empty. What nobody measures (accuracies in training) stays empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for step in sorted(metrics):
        if "loss" in metrics[step]:
            values = metrics[step]
            writer.writerow([step, values["loss"], "", values.get("validation_loss", ""), ""])
    return stream.getvalue().encode()
