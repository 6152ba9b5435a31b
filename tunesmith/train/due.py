"""What is due after a step, also when the process was stopped between the step and what was due after it."""

from __future__ import annotations

from tunesmith.train.checkpoint import CheckpointState
from tunesmith.train.plan import TrainingPlan

__all__ = ["owes_look", "owes_validation"]


def owes_validation(plan: TrainingPlan, state: CheckpointState) -> bool:
    """Whether `state` is an epoch's end that was not looked at yet."""
    return 0 < state.step != state.validated_step and plan.ends_epoch(state.step - 1)


def owes_look(every: int, state: CheckpointState) -> bool:
    """Whether validation, watched `every` so many steps (0: never), has yet to be at this step."""
    return every > 0 and 0 < state.step != state.validated_step and state.step % every == 0
