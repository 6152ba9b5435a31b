"""A second device for machines without one: tensors that say they lie elsewhere and refuse to be mixed with others.

`register` gives torch a device called `elsewhere`. Its tensors hold ordinary ones; every operation on them is computed
by the processor's kernels, after checking what a GPU would check: that no tensor of the processor is among the
arguments (one number without dimensions is allowed, as on CUDA). So a computation that runs through mixes no devices,
and must give what it gives on the processor.

Registering cannot be undone and changes what torch calls its accelerator: only for a process of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

__all__ = ["NAME", "register"]

NAME = "elsewhere"
aten = torch.ops.aten

# What moves tensors between devices may be given both.
CROSSING = (aten.copy_.default, aten._to_copy.default, aten.set_.source_Storage)
# Index tensors may lie on the processor, as on CUDA.
INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)


class Elsewhere(torch.Tensor):
    """Says that it lies elsewhere; `held` is where its numbers are."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=f"{NAME}:0",
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.held})"

    def untyped_storage(self) -> Any:
        """The memory of its numbers."""
        return self.held.untyped_storage()

    def tolist(self) -> Any:
        """torch refuses this to every subclass."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        return _compute(function, given, named or {})


def _compute(function: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    target = named.get("device")
    stays = target is None or torch.device(target).type == NAME
    if target is not None:
        named = {**named, "device": torch.device("cpu")}
    if function not in (*CROSSING, *INDEXING):
        _require_one_device(function, given, named)
    found = function(*tree_map(_held, given), **tree_map(_held, named))
    if function is aten.copy_.default:
        return given[0]
    if not stays:
        return found
    return return_and_correct_aliasing(function, given, named, tree_map(_as_elsewhere, found))


def _require_one_device(function: Any, given: Any, named: Any) -> None:
    for value in tree_leaves((given, named)):
        if isinstance(value, Tensor) and not isinstance(value, Elsewhere) and value.dim() > 0:
            raise RuntimeError(f"{function} was given tensors of two devices")


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Elsewhere) else value


def _as_elsewhere(value: Any) -> Any:
    return Elsewhere(value) if isinstance(value, Tensor) and not isinstance(value, Elsewhere) else value


class _Module:
    """What torch asks of a kind of device."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Its random numbers come from the processor's generator."""

    @staticmethod
    def get_rng_state(device: Any = None) -> Tensor:
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)


def register() -> Any:
    """Let torch know the device; keep what is returned for as long as it is used."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    # Moving a tied weight must leave it tied, as it does between real devices.
    torch.__future__.set_swap_module_params_on_conversion(True)
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("eye", _eye, "PrivateUse1")
    # Made of `empty` otherwise, which stays empty here.
    library.impl("arange", _arange, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    return library


def _empty(size: Any, dtype: Any = None, *_: Any, **__: Any) -> Tensor:
    return Elsewhere(torch.empty(size, dtype=dtype))


def _empty_strided(size: Any, stride: Any, dtype: Any = None, *_: Any, **__: Any) -> Tensor:
    return Elsewhere(torch.empty_strided(size, stride, dtype=dtype))


def _eye(size: int, dtype: Any = None, *_: Any, **__: Any) -> Tensor:
    return Elsewhere(torch.eye(size, dtype=dtype))


def _arange(end: Any, dtype: Any = None, *_: Any, **__: Any) -> Tensor:
    return Elsewhere(torch.arange(end, dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, *_: Any) -> Tensor:
    _held(target).copy_(_held(source))
    return target
