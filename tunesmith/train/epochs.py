"""The adapters of a run's last epochs, each complete on disk as soon as its epoch is done, beside the one it ends with.

They lie in `epochs/step-000012` of the run directory, in the form of the run's own adapter.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.models.adapter import adapter_state
from tunesmith.train.plan import TrainingPlan

__all__ = ["EPOCHS_FOLDER", "EpochAdapters"]

EPOCHS_FOLDER = "epochs"


class EpochAdapters:
    """Keeps the adapters of the last `keep` epochs of `plan` in `folder`; `save` writes adapter tensors to a folder."""

    def __init__(self, folder: Path, plan: TrainingPlan, keep: int, save: Callable[[dict[str, Any], Path], object]):
        self._folder, self._plan, self._keep, self._save = folder, plan, keep, save

    def wants(self, step: int) -> bool:
        """Whether the epoch that ends with `step` steps done is one of the last."""
        return step // self._plan.steps_per_epoch > self._plan.epochs - self._keep

    def write(self, step: int, model: Any, whole: Callable[[dict[str, Any]], dict[str, Any]], leads: bool) -> None:
        """Keep the adapter of `model`. All processes of a team call it with what makes tensors `whole`; one `leads`.

        After a kill the epoch's end comes again; the folder is then there and left as it is.
        """
        state = whole(adapter_state(model))
        target = self._folder / f"step-{step:06d}"
        if not leads or target.is_dir():
            return
        draft = self._folder / f".{target.name}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            draft.mkdir(parents=True)
            self._save(state, draft)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
