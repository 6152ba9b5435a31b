"""A frozen second model whose distributions a model learns from, whose vocabulary may be numbered differently.

The teacher travels with the model it teaches (`give_teacher`, `teacher_of`), outside of its modules: it is neither
trained nor saved. It reads the student's token ids translated token by token, so it sees the very same text in the
student's chat template.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from transformers import AutoTokenizer

from tunesmith.errors import ModelError
from tunesmith.models.attach import attach
from tunesmith.models.device import CPU
from tunesmith.models.virtual import virtual_tokens
from tunesmith.models.weights import load_base

__all__ = ["Teacher", "give_teacher", "load_teacher", "shared_vocabulary", "teacher_of"]

SHOWN = 5
_ATTRIBUTE = "tunesmith_teacher"


class Teacher(NamedTuple):
    """A model in evaluation mode without gradients."""

    model: Any
    ids: Tensor
    """[V] the teacher's id of each of the student's tokens"""
    output: Tensor
    """[V, H] the teacher's output embedding of each of the student's tokens"""


def load_teacher(
    folder: Path,
    adapter: Path | None,
    student: Path,
    precision: Literal["float32", "bfloat16"],
    attention: str,
    device: torch.device = CPU,
) -> Teacher:
    """The base in `folder`, with an adapter when given, as teacher of the base in `student`.

    Raises ModelError when the vocabularies differ, or the adapter does not fit or has virtual tokens.
    """
    ids = shared_vocabulary(*(AutoTokenizer.from_pretrained(each, local_files_only=True) for each in (student, folder)))
    model: Any = load_base(folder, precision, attention=attention, device=device)
    if adapter is not None:
        model = attach(model, adapter)
        if virtual_tokens(model):
            raise ModelError(f"The adapter in {adapter} works by virtual tokens; a teacher cannot have these.")
    model.requires_grad_(False)
    weight = model.get_output_embeddings().weight.detach()
    same = torch.equal(ids, torch.arange(len(ids)))
    return Teacher(model.eval(), ids.to(weight.device), weight[: len(ids)] if same else weight[ids.to(weight.device)])


def shared_vocabulary(student: Any, teacher: Any) -> Tensor:
    """[V] the teacher's id of each of the student's tokens, compared by their strings.

    Raises ModelError with the number of tokens that only one of the tokenizers has.
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    differing = sorted(set(ours) ^ set(theirs))
    if differing:
        few = ", ".join(repr(token) for token in differing[:SHOWN])
        raise ModelError(
            f"Teacher and student differ in {len(differing):,} tokens (such as {few}): their distributions cannot be "
            "compared.",
            hint="Take a teacher with the same vocabulary, or learn from its answers: tunesmith distill --help",
        )
    if sorted(ours.values()) != list(range(len(ours))):
        raise ModelError("The tokenizer's ids have gaps, so its vocabulary cannot be compared with a teacher's.")
    return torch.tensor([theirs[token] for token, _ in sorted(ours.items(), key=lambda entry: entry[1])])


def give_teacher(model: Any, teacher: Teacher) -> None:
    """Let `teacher` travel with `model`."""
    setattr(_inner(model), _ATTRIBUTE, teacher)


def teacher_of(model: Any) -> Teacher:
    """The teacher that travels with `model`. Raises ModelError when it has none."""
    teacher = getattr(_inner(model), _ATTRIBUTE, None)
    if not isinstance(teacher, Teacher):
        raise ModelError("The model has no teacher.", hint="Train with the distill objective.")
    return teacher


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
