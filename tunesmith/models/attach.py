"""An adapter folder and a base model give the very module that training had, whatever the method was."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tunesmith import plugins
from tunesmith.errors import ModelError, NotFound
from tunesmith.models.adapter import CONFIG_FILE, load_adapter_state, read_adapter
from tunesmith.models.method import Method
from tunesmith.models.new_tokens import attach_rows
from tunesmith.models.virtual_adapters import attach_virtual, is_virtual

if TYPE_CHECKING:
    from tunesmith.models.peft_library import PeftConfig

__all__ = ["METHODS", "attach", "method_of"]

METHODS = "tunesmith.models.methods"


def attach(model: Any, folder: Path) -> Any:
    """The base `model` with the adapter in `folder` on it, in evaluation mode, nothing trainable.

    Modules inside `model` may be replaced and parameters exchanged for others, but no tensor of it is written to: a
    structural copy that shares its tensors with other models is safe to attach to.

    Raises ModelError when the folder is no adapter, its method is unknown, or a tensor does not fit the model.
    """
    adapter = read_adapter(folder)
    own = None if is_virtual(adapter.config) else method_of(adapter.config)
    if is_virtual(adapter.config):
        attached = attach_virtual(model, adapter)
    elif own is not None:
        attached = own.attach(model, adapter)
    else:
        from tunesmith.models.peft_library import get_peft_model

        try:
            with torch.random.fork_rng(devices=[]):
                attached = get_peft_model(model, _peft_config(adapter.config))
        except ModelError:
            raise
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"The adapter in {folder} does not fit the model: {error}") from error
        load_adapter_state(attached, adapter.tensors)
    attach_rows(attached, folder)
    attached.requires_grad_(False)
    return attached.eval()


def _peft_config(config: dict[str, Any]) -> PeftConfig:
    """The configuration as peft's own value; peft itself would ignore options that it does not know."""
    from tunesmith.models.peft_library import PEFT_TYPE_TO_CONFIG_MAPPING, PeftConfig

    name = config["peft_type"]
    known = {field.name for field in dataclasses.fields(PEFT_TYPE_TO_CONFIG_MAPPING[name])}
    if unknown := sorted(set(config) - known):
        raise ModelError(f"{CONFIG_FILE} has options that {name} does not have: {', '.join(unknown)}.")
    # peft warns when this differs from the loaded model's folder; tunesmith.json has the base's digest.
    return PeftConfig.from_peft_type(**config | {"base_model_name_or_path": None, "inference_mode": True})


def method_of(config: dict[str, Any]) -> Method | None:
    """The method, with its options, of an adapter in our own format; None for one in peft's.

    Raises ModelError for a type that neither peft nor a plugin has.
    """
    from tunesmith.models.peft_library import PeftType

    name = str(config.get("peft_type", ""))
    if name in PeftType.__members__ and "options" not in config:
        return None
    try:
        method = plugins.load(METHODS, name.lower()).model_validate(config.get("options", {}))
    except NotFound as error:
        raise ModelError(
            f"{CONFIG_FILE} names the method {name!r}, which is not known here.", hint=error.hint
        ) from error
    if not isinstance(method, Method):
        raise ModelError(f"{METHODS}:{name.lower()} is not a method.")
    return method
