"""AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) and its state as plain named tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tunesmith.errors import ModelError
from tunesmith.models.method import ParameterGroup

__all__ = ["clip_gradients", "load_optimizer_tensors", "make_optimizer", "optimizer_tensors", "set_rate"]


def make_optimizer(
    groups: Sequence[ParameterGroup], rate: float, weight_decay: float, kind: str = "adamw"
) -> torch.optim.AdamW:
    """AdamW with betas (0.9, 0.999) and eps 1e-8, fused into one pass over the parameters.

    `adamw_8bit_paged` is bitsandbytes' form of it with moments in 8 bits (Dettmers et al. 2022, arXiv:2110.02861);
    ModelError where the parameters are not on a CUDA device.
    """
    options = [{"params": list(group.parameters), "lr": rate * group.ratio, "ratio": group.ratio} for group in groups]
    common = {"lr": rate, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": weight_decay}
    if kind == "adamw":
        return torch.optim.AdamW(options, **common, fused=True)
    if not all(parameter.is_cuda for group in groups for parameter in group.parameters):
        raise ModelError(
            "train.optimizer adamw_8bit_paged needs a CUDA device: paging moves its state between GPU and host memory.",
            hint="Use train.optimizer: adamw here.",
        )
    from bitsandbytes.optim import PagedAdamW8bit

    return PagedAdamW8bit(options, **common)


def set_rate(optimizer: torch.optim.AdamW, rate: float) -> None:
    """Let the next step use learning rate `rate`, times each group's ratio."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["ratio"]


def optimizer_tensors(optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """The whole state as `<parameter index>.<name>` -> tensor; empty before the first step."""
    state = optimizer.state_dict()["state"]
    # Counters that are plain numbers become tensors without dimensions, and come back as numbers.
    return {
        f"{index}.{name}": torch.as_tensor(value).detach().cpu()
        for index, entry in state.items()
        for name, value in entry.items()
    }


def load_optimizer_tensors(optimizer: torch.optim.AdamW, tensors: dict[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor | float]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        counter = value.dim() == 0 and not value.is_floating_point()
        state.setdefault(int(index), {})[name] = value.item() if counter else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def clip_gradients(parameters: Sequence[nn.Parameter], limit: float) -> float:
    """Scale all gradients so that their global L2 norm is at most `limit`; returns the norm before."""
    norm = nn.utils.clip_grad_norm_(parameters, limit)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
