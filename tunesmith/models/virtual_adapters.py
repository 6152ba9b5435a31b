"""Virtual tokens as adapter folders in peft's format: written, and put on a base model again."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tunesmith.errors import ModelError
from tunesmith.models.adapter import Adapter, plain_config
from tunesmith.models.prefix_keys import PrefixKeys, prefix_shape, table
from tunesmith.models.virtual import PromptVectors, VirtualTokens, install

__all__ = ["attach_virtual", "is_virtual", "prefix_adapter", "prompt_adapter"]

_TENSOR = "prompt_embeddings"
# peft's p-tuning (v1) saves the embeddings that its encoder gave, so it is served like prompt tuning.
_PROMPTS = ("PROMPT_TUNING", "P_TUNING")
_PREFIX = "PREFIX_TUNING"


def is_virtual(config: dict[str, Any]) -> bool:
    """Whether an adapter with this configuration is virtual tokens and nothing else."""
    return config.get("peft_type") in (*_PROMPTS, _PREFIX)


def prompt_adapter(model: Any, vectors: Tensor) -> Adapter:
    """Prompt tuning's embeddings [P, H] as peft saves them."""
    from tunesmith.models.peft_library import PromptTuningConfig

    given = model.config
    config = PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=len(vectors),
        token_dim=int(vectors.shape[1]),
        num_transformer_submodules=1,
        num_attention_heads=int(given.num_attention_heads),
        num_layers=int(given.num_hidden_layers),
    )
    return Adapter(plain_config(config), {_TENSOR: vectors.detach().cpu().contiguous()})


def prefix_adapter(model: Any, learned: Tensor) -> Adapter:
    """Keys and values [P, columns] as peft saves prefix tuning: without the MLP that may have made them."""
    from tunesmith.models.peft_library import PrefixTuningConfig

    shape = prefix_shape(model.config)
    config = PrefixTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=len(learned),
        token_dim=shape.heads * shape.width,
        num_transformer_submodules=1,
        num_attention_heads=shape.heads,
        num_layers=shape.layers,
        prefix_projection=False,
    )
    return Adapter(plain_config(config), {_TENSOR: learned.detach().cpu().contiguous()})


def attach_virtual(model: Any, adapter: Adapter) -> Any:
    """The base `model`, understanding the virtual tokens of `adapter`. Raises ModelError when they do not fit."""
    if set(adapter.tensors) != {_TENSOR}:
        missing, extra = sorted({_TENSOR} - set(adapter.tensors)), sorted(set(adapter.tensors) - {_TENSOR})[:3]
        raise ModelError(f"The adapter does not fit the model: missing {missing}, unexpected {extra}.")
    learned = adapter.tensors[_TENSOR].float()
    count = int(adapter.config.get("num_virtual_tokens") or 0)
    shape = prefix_shape(model.config)
    prefix = adapter.config["peft_type"] == _PREFIX
    width = shape.columns if prefix else int(model.get_input_embeddings().weight.shape[1])
    if learned.shape != (count, width) or not count:
        raise ModelError(
            f"The adapter does not fit the model: {_TENSOR} is {tuple(learned.shape)}, the model has {(count, width)}."
        )
    virtual: VirtualTokens = PrefixKeys(count, shape, table(learned)) if prefix else PromptVectors(learned)
    install(model, virtual.to(model.device))
    return model
