"""What runs of one process that train on the same base need make only once.

A run alone makes everything for itself (`Unshared`). Runs one after the other (`Shared`) are given the base's weights,
the rendered rows, a distillation's teacher and the output of the frozen layers that an earlier one made, wherever
theirs would be the same, bit for bit: so each ends as it would alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from tunesmith.models.shared_copy import content_hash, shared_copy
from tunesmith.models.teacher import Teacher
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base
from tunesmith.progress import Progress
from tunesmith.store.datasets import StoredDataset
from tunesmith.train.groups import groups_of
from tunesmith.train.objective import Group, Objective
from tunesmith.train.placement import Placement
from tunesmith.train.trunk import Trunk, first_trained_layer, frozen_code
from tunesmith.types.conversation import Rendered
from tunesmith.types.dataset import SplitName
from tunesmith.types.tuning import Reuse

__all__ = ["Shared", "Unshared"]


class Unshared:
    """A run that makes everything for itself."""

    held_out: ClassVar[tuple[SplitName, ...]] = ("test", "validation")
    """the splits to measure preferences on when training is over: the first that the dataset has"""

    def base(self, folder: Path, placement: Placement, *, replaced: bool = False) -> Any:
        """The base model of `folder`, to be changed at will; `replaced`: training computes with other weights."""
        device, precision, attention = placement
        return load_base(folder, precision, attention=attention, device=device)

    def groups(self, renderer: Renderer, dataset: StoredDataset, split: SplitName, objective: Objective) -> list[Group]:
        """`groups_of`."""
        return groups_of(renderer, dataset, split, objective)

    def teacher(self, key: object, load: Callable[[], Teacher]) -> Teacher:
        """The teacher that `load` gives; `key` names all it depends on."""
        return load()

    def trunk(self, model: Any, rows: Sequence[Rendered], fits: Callable[[], bool], progress: Progress) -> Trunk | None:
        """The frozen layers' output for `rows` when there are such layers and it `fits`, else None."""
        return Trunk(model, rows, progress) if fits() else None


class _Kept(NamedTuple):
    """Something that was made, what it depends on, and the seconds it took."""

    key: object
    value: Any
    seconds: float


class Shared(Unshared):
    """What the latest of several runs made, one of each kind, so that no more memory is held than by one run alone.

    Every run gets a structural copy of the base: other modules around the same tensors. Before they are handed out
    again it is checked that nobody wrote into them; otherwise the base is loaded anew.
    """

    held_out: ClassVar[tuple[SplitName, ...]] = ("validation",)
    """choosing among runs must not look at the test split"""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._reused: dict[str, Reuse] = {}

    @property
    def reused(self) -> tuple[Reuse, ...]:
        """What was made once and given to later runs, in the order of the first time."""
        return tuple(self._reused.values())

    def base(self, folder: Path, placement: Placement, *, replaced: bool = False) -> Any:
        """A structural copy of the shared base; the base itself, which is then shared no longer, when `replaced`."""
        known = self._kept.get("base")
        if known is not None and content_hash(known.value[0]) != known.value[1]:
            self._forget("base", "frozen layers")
        del known

        def load() -> tuple[Any, tuple[int, ...]]:
            self._forget("frozen layers")
            model = load_base(folder, placement.precision, device=placement.device)
            return model, content_hash(model)

        own, _ = self._once("base", (folder, placement.device, placement.precision), load)
        if replaced:
            self._forget("base", "frozen layers")
        else:
            own = shared_copy(own).requires_grad_(True)
        own.set_attn_implementation(placement.attention)
        return own

    def groups(self, renderer: Renderer, dataset: StoredDataset, split: SplitName, objective: Objective) -> list[Group]:
        """`groups_of`; rendered once for equal objectives."""
        rendering = (renderer.template_digest, renderer.tokenizer_digest, dataset.manifest.digest)
        key = (*rendering, type(objective), objective.model_dump_json())
        what = "rendered rows" if split == "train" else f"rendered rows ({split})"
        return list(self._once(what, key, lambda: groups_of(renderer, dataset, split, objective)))

    def teacher(self, key: object, load: Callable[[], Teacher]) -> Teacher:
        """The teacher; loaded once for equal keys."""
        teacher: Teacher = self._once("teacher", key, load)
        return teacher

    def trunk(self, model: Any, rows: Sequence[Rendered], fits: Callable[[], bool], progress: Progress) -> Trunk | None:
        """The frozen layers' output; computed once for the same layers and rows."""
        if not first_trained_layer(model):
            return super().trunk(model, rows, fits, progress)
        key = (frozen_code(model), [row.token_ids for row in rows])
        known = self._kept.get("frozen layers")
        if known is None or known.key != key:
            del known
            self._forget("frozen layers")
            if not fits():
                return None
        trunk: Trunk = self._once("frozen layers", key, lambda: Trunk(model, rows, progress))
        own = trunk.under(model)
        trunk.upper = None  # what is kept must not hold the first run's model
        return own

    def _once(self, what: str, key: object, make: Callable[[], Any]) -> Any:
        known = self._kept.get(what)
        if known is not None and known.key == key:
            before = self._reused.get(what, Reuse(what=what, times=0, seconds=0.0))
            self._reused[what] = Reuse(what=what, times=before.times + 1, seconds=before.seconds + known.seconds)
            return known.value
        del known
        self._forget(what)  # first, so that two are never held
        began = time.perf_counter()
        value = make()
        self._kept[what] = _Kept(key, value, time.perf_counter() - began)
        return value

    def _forget(self, *kinds: str) -> None:
        for what in kinds:
            self._kept.pop(what, None)
