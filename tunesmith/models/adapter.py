"""Adapters on disk in the peft format, written so that equal adapters are equal bytes and known by their content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

from tunesmith.errors import ModelError
from tunesmith.models.new_tokens import ROWS_FILE, row_tensors
from tunesmith.models.score_head import HEAD_FILE, SCORE, score_head
from tunesmith.types.base import Value, digest_file, digest_json

if TYPE_CHECKING:
    from tunesmith.models.peft_library import PeftConfig

__all__ = [
    "CONFIG_FILE",
    "IDENTITY_FILE",
    "WEIGHTS_FILE",
    "Adapter",
    "AdapterIdentity",
    "adapter_digest",
    "adapter_state",
    "load_adapter_state",
    "peft_config_of",
    "plain_config",
    "read_adapter",
    "read_adapter_config",
    "read_identity",
    "read_weights",
    "save_adapter",
    "trained_tensors",
]

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
IDENTITY_FILE = "tunesmith.json"
_BESIDE = (IDENTITY_FILE, HEAD_FILE, ROWS_FILE)


class AdapterIdentity(Value):
    """What an adapter belongs to; written beside it and checked before it is served. `parent` is the digest of the
    adapter that its training started from, which it holds within itself.
    """

    base: str
    base_digest: str
    template_digest: str
    tokenizer_digest: str
    parent: str | None = None


def adapter_digest(folder: Path) -> str:
    """SHA-256 over the adapter's weights, its configuration and (when present) its identity, score head and new tokens.

    Raises ModelError when `folder` is not an adapter folder.
    """
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} is not an adapter folder: {name} is missing.")
    present = [name for name in (WEIGHTS_FILE, CONFIG_FILE, *_BESIDE) if (folder / name).is_file()]
    return digest_json({name: digest_file(folder / name) for name in present})


class Adapter(NamedTuple):
    """What a method saves: the content of adapter_config.json and name -> tensor."""

    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def peft_config_of(model: Any) -> dict[str, Any] | None:
    """The configuration of a peft model's adapter in plain, sorted values; None for a model without peft."""
    if not hasattr(model, "peft_config"):
        return None
    return plain_config(model.peft_config["default"])


def plain_config(config: PeftConfig) -> dict[str, Any]:
    """A configuration of peft in plain, sorted values."""
    return {name: _plain(value) for name, value in config.to_dict().items()}


def trained_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Name -> the very tensor, not a copy, of everything the adapter needs saved, sorted by name.

    For models without peft that is every parameter with `requires_grad`; a tied parameter appears once. A score head
    and new tokens' rows stand under their own names.
    """
    beside = _beside(model)
    if hasattr(model, "peft_config"):
        from tunesmith.models.peft_library import get_peft_model_state_dict

        state = get_peft_model_state_dict(model, save_embedding_layers=False)
    else:
        known = {id(tensor) for tensor in beside.values()}
        trained = ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
        state = {name: parameter for name, parameter in trained if id(parameter) not in known}
    state = {**state, **beside}
    return {name: state[name] for name in sorted(state)}


def _beside(model: Any) -> dict[str, torch.Tensor]:
    """What is trained beside the method and saved in files of its own."""
    head = score_head(model)
    return {**row_tensors(model), **({} if head is None else {SCORE: head.weight})}


def adapter_state(model: Any) -> dict[str, torch.Tensor]:
    """`trained_tensors`, detached, on the CPU and contiguous."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in trained_tensors(model).items()}


def load_adapter_state(model: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Put `state` into the adapter of `model`; raises ModelError unless every tensor finds its place."""
    expected = trained_tensors(model)
    if set(expected) != set(state):
        missing, extra = sorted(set(expected) - set(state))[:3], sorted(set(state) - set(expected))[:3]
        raise ModelError(f"The adapter does not fit the model: missing {missing}, unexpected {extra}.")
    wrong = [name for name in expected if expected[name].shape != state[name].shape]
    if wrong:
        got, wanted = tuple(state[wrong[0]].shape), tuple(expected[wrong[0]].shape)
        raise ModelError(f"The adapter does not fit the model: {wrong[0]} is {got}, the model has {wanted}.")
    by_peft = set(expected) - set(_beside(model)) if hasattr(model, "peft_config") else set()
    if by_peft:
        from tunesmith.models.peft_library import set_peft_model_state_dict

        set_peft_model_state_dict(model, {name: state[name] for name in by_peft})
    with torch.no_grad():
        for name in set(expected) - by_peft:
            expected[name].copy_(state[name])


def save_adapter(adapter: Adapter, identity: AdapterIdentity, folder: Path) -> str:
    """Write `adapter` and what it belongs to to `folder` in peft's format; returns its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: adapter.tensors[name].contiguous() for name in sorted(adapter.tensors)}
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {**adapter.config, "base_model_name_or_path": identity.base, "inference_mode": True}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / IDENTITY_FILE).write_text(
        json.dumps(identity.model_dump(exclude_none=True), indent=2, sort_keys=True) + "\n"
    )
    return adapter_digest(folder)


def read_adapter(folder: Path) -> Adapter:
    """Configuration and tensors of the adapter in `folder`. Raises ModelError when it is not an adapter folder."""
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} is not an adapter folder: {name} is missing.")
    return Adapter(read_adapter_config(folder), read_weights(folder))


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """The content of adapter_config.json in `folder`."""
    config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
    return config


def read_identity(folder: Path) -> AdapterIdentity | None:
    """The identity beside an adapter, or None for adapters made elsewhere."""
    file = folder / IDENTITY_FILE
    return AdapterIdentity.model_validate_json(file.read_text()) if file.is_file() else None


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor of the adapter in `folder`."""
    return dict(load_file(folder / WEIGHTS_FILE))


def _plain(value: Any) -> Any:
    """Sets come out of peft in no fixed order; equal adapters must be equal bytes."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in sorted(value.items())}
    return value
