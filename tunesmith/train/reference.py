"""What the start policy says of every sequence, computed once before the first step.

Preference objectives compare the policy with the model it began as. That model never changes, so its sequence
log-probabilities are computed once, in the order of the dataset, and kept in the run's directory: a step costs no
second forward pass, and a resumed run reads the very same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tunesmith.progress import Progress
from tunesmith.train.forward import Batching, score
from tunesmith.train.objective import Group
from tunesmith.train.trunk import Trunk
from tunesmith.types.conversation import Rendered

__all__ = ["keep_references", "sequence_logprobs", "with_references"]

FILE = "reference.safetensors"


def sequence_logprobs(
    model: Any, rows: Sequence[Rendered], batching: Batching, trunk: Trunk | None = None
) -> torch.Tensor:
    """[len(rows)] sequence log-probabilities under the present policy, without gradients or dropout."""
    training = model.training
    model.eval()
    with torch.no_grad():
        result = score(model, rows, batching, trunk).sequence_logprobs()
    model.train(training)
    return result


def with_references(
    model: Any, groups: Sequence[Group], batching: Batching, trunk: Trunk | None = None, size: int = 8
) -> list[Group]:
    """The groups with the log-probabilities that the present policy gives their rows; `size` groups at a time."""
    found = [group for chunk in _reference_chunks(model, groups, batching, trunk, size) for group in chunk]
    return list(found)


def keep_references(
    model: Any, splits: Sequence[Sequence[Group]], batching: Batching, trunk: Trunk | None, place: tuple[Path, Progress]
) -> list[list[Group]]:
    """`with_references` for several splits; what the run's directory (`place`) already holds is read, not computed."""
    folder, progress = place
    file = folder / FILE
    if file.is_file():
        known = load_file(file)["logprobs"].tolist()
        return [[_referred(group, known) for group in groups] for groups in splits]
    total = sum(len(groups) for groups in splits)
    results: list[list[Group]] = []
    with progress.task("what the start policy says", total) as task:
        for groups in splits:
            results.append([])
            for chunk in _reference_chunks(model, groups, batching, trunk, 8):
                results[-1] += chunk
                task.advance(len(chunk))
    flat = [value for groups in results for group in groups for value in group.reference]
    draft = file.with_suffix(f".{os.getpid()}")
    save_file({"logprobs": torch.tensor(flat, dtype=torch.float32)}, draft)
    draft.replace(file)
    return results


def _reference_chunks(
    model: Any, groups: Sequence[Group], batching: Batching, trunk: Trunk | None, size: int
) -> Iterator[list[Group]]:
    for start in range(0, len(groups), size):
        chunk = groups[start : start + size]
        rows = [row for group in chunk for row in (*group.rows, *group.unpaired)]
        values = sequence_logprobs(model, rows, batching, trunk).tolist()
        yield [_referred(group, values) for group in chunk]


def _referred(group: Group, values: list[float]) -> Group:
    """`group` with its share of `values`, which is taken off their front."""
    count = len(group.rows) + len(group.unpaired)
    own = tuple(values[:count])
    del values[:count]
    return group._replace(reference=own)
