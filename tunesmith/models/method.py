"""The contract of a method: which parameters adapt, and how. Plugins lie in `tunesmith.models.methods`.

A training run goes through a method in this order:

    model = method.wrap(base, seed)             parameters with requires_grad are what is trained
    method.start_from_rows(model, rows)         only where the start is taken from the data
    start = method.start(model)                 the trained tensors before the first step
    per step: penalty, after_step               what a method adds to the loss and does after the optimizer
    per checkpoint: extra_state                 what bit-exact resume needs besides weights and optimizer
    adapter = method.export(model, best, start) what is saved, in peft's format where peft has the method
    model = attach(base, folder)                (tunesmith.models.attach) the same module again

`method.without(model)` is the start policy: the base model for methods that start as the base.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from tunesmith.errors import ModelError
from tunesmith.models.adapter import Adapter, adapter_state, peft_config_of
from tunesmith.models.new_tokens import at_start
from tunesmith.models.start import kept_start, with_start
from tunesmith.types.base import Value
from tunesmith.types.conversation import Rendered

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Method", "ParameterGroup"]


class ParameterGroup(NamedTuple):
    """Parameters that share a learning rate: the run's rate times `ratio`."""

    parameters: Sequence[nn.Parameter]
    ratio: float = 1.0


class Method(Value):
    """A frozen set of options that can wrap a base model with trainable parameters."""

    starts_as_base: ClassVar[bool] = True
    """Whether the freshly wrapped model computes what the base computes; checked before the first step."""

    free: ClassVar[frozenset[str]] = frozenset({"dropout"})
    """Options that say how training goes, not what the adapter is: going on from an adapter they may be others."""

    @property
    def replaces_base(self) -> bool:
        """Whether training computes with other weights than the base's own, which are then only in the way."""
        return False

    @abstractmethod
    def wrap(self, model: Any, seed: int) -> Any:
        """Return `model` (a transformers causal language model) ready to be trained, initialised from `seed`.

        Parameters that are trained have `requires_grad`, no others. Raises ModelError when the options do not fit.
        """

    @classmethod
    def of_adapter(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The options that a saved adapter (its adapter_config.json) was made with, so that training can go on from
        it: wrapping with them gives a model that takes its tensors as they are. None for an adapter of another method,
        or one that training cannot go on from.
        """
        return dict(config["options"]) if config.get("peft_type") == cls.type_name() and "options" in config else None

    def virtual_ids(self) -> tuple[int, ...]:
        """Ids of the virtual tokens in front of every row (negative); none for methods that have no such tokens.

        Whoever renders rows for a model of this method puts them there (`Rendered.after`); the engine does so itself.
        """
        return ()

    def start_from_rows(self, model: Any, rows: Sequence[Rendered]) -> None:
        """Take the start from the training rows; only for methods whose initialisation is made from data."""

    def start(self, model: Any) -> dict[str, Tensor]:
        """A copy of the trained tensors as they are before the first step."""
        return {name: tensor.clone() for name, tensor in adapter_state(model).items()}

    @contextmanager
    def without(self, model: Any) -> Iterator[None]:
        """Run `model` as it was before the first step inside the block: the reference of preference objectives."""
        with at_start(model), with_start(model) if kept_start(model) else model.disable_adapter():
            yield

    def parameter_groups(self, model: Any) -> list[ParameterGroup]:
        """All trained parameters, grouped by learning rate."""
        return [ParameterGroup([parameter for parameter in model.parameters() if parameter.requires_grad])]

    def penalty(self, model: Any) -> Tensor | None:
        """A scalar that is added to every step's loss, or None."""
        return None

    def after_step(self, model: Any, step: int, steps: int) -> None:
        """Called after the optimizer's step `step` of `steps` (counted from 1), while gradients are still there."""

    def extra_state(self, model: Any) -> dict[str, Tensor]:
        """Name -> tensor of what resuming needs besides trained tensors and optimizer."""
        return {}

    def load_extra_state(self, model: Any, state: Mapping[str, Tensor]) -> None:
        """Inverse of `extra_state`."""

    def export(self, model: Any, state: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Adapter:
        """What is saved for the trained tensors `state` of a run that began at `start`."""
        return Adapter(peft_config_of(model) or self.own_config(), dict(state))

    def merge(self, model: Any, adapter: Adapter) -> Any:
        """The base `model`, in full precision, with a saved adapter of this method worked into its weights.

        Raises ModelError for methods that do more than change weights.
        """
        raise ModelError(
            f"An adapter of the method {self.type_name().lower()} cannot be merged: it does more than change weights.",
            hint="Serve it as it is: adapters of every method are served beside each other.",
        )

    def own_config(self) -> dict[str, Any]:
        """What adapter_config.json says of a method that peft does not have."""
        return {"peft_type": self.type_name(), "options": self.model_dump(mode="json")}

    def attach(self, model: Any, adapter: Adapter) -> Any:
        """Put a saved adapter of a method that peft does not have on the base `model`; see tunesmith.models.attach.

        Must not write into the tensors of `model`: a server shares them between adapters.
        """
        raise ModelError(f"{type(self).__name__} is saved in peft's format and loaded by peft.")

    @classmethod
    def type_name(cls) -> str:
        """What adapter_config.json calls a method that peft does not have: its file's name in capitals."""
        return cls.__module__.rsplit(".", 1)[-1].upper()
