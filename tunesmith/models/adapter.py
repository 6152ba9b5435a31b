"""Adapters on disk in the peft format, written so that equal adapters are equal bytes and known by their content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from tunesmith.errors import ModelError
from tunesmith.types.base import Value, digest_file, digest_json

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

__all__ = [
    "CONFIG_FILE",
    "IDENTITY_FILE",
    "WEIGHTS_FILE",
    "AdapterIdentity",
    "adapter_digest",
    "adapter_state",
    "load_adapter_state",
    "read_identity",
    "read_weights",
    "save_adapter",
]

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
IDENTITY_FILE = "tunesmith.json"


class AdapterIdentity(Value):
    """What an adapter belongs to; written beside it and checked before it is served."""

    base: str
    base_digest: str
    template_digest: str
    tokenizer_digest: str


def adapter_digest(folder: Path) -> str:
    """SHA-256 over the adapter's weights, its configuration and (when present) its identity.

    Raises ModelError when `folder` is not an adapter folder.
    """
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} is not an adapter folder: {name} is missing.")
    present = [name for name in (WEIGHTS_FILE, CONFIG_FILE, IDENTITY_FILE) if (folder / name).is_file()]
    return digest_json({name: digest_file(folder / name) for name in present})


def adapter_state(model: PeftModel) -> dict[str, torch.Tensor]:
    """Name -> tensor of everything the adapter needs saved, sorted by name, detached and contiguous."""
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: state[name].detach().cpu().contiguous() for name in sorted(state)}


def load_adapter_state(model: PeftModel, state: dict[str, torch.Tensor]) -> None:
    """Put `state` into the adapter of `model`; raises ModelError unless every tensor finds its place."""
    expected = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    if expected != set(state):
        missing, extra = sorted(expected - set(state))[:3], sorted(set(state) - expected)[:3]
        raise ModelError(f"The adapter does not fit the model: missing {missing}, unexpected {extra}.")
    set_peft_model_state_dict(model, dict(state))


def save_adapter(model: PeftModel, state: dict[str, torch.Tensor], identity: AdapterIdentity, folder: Path) -> str:
    """Write `state` with the configuration of `model` to `folder` in peft's format; returns its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(sorted(state.items())), folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {name: _plain(value) for name, value in model.peft_config["default"].to_dict().items()}
    config |= {"base_model_name_or_path": identity.base, "inference_mode": True}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / IDENTITY_FILE).write_text(json.dumps(identity.model_dump(), indent=2, sort_keys=True) + "\n")
    return adapter_digest(folder)


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
