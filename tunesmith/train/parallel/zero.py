"""DeepSpeed's configuration for a recipe (Rajbhandari et al. 2020, arXiv:1910.02054), written by us, not by the user.

https://www.deepspeed.ai/docs/config-json/
"""

from __future__ import annotations

import importlib.util
import json
from typing import Any

from tunesmith.errors import MissingDependency, Problem, RecipeError
from tunesmith.train.placement import placement_of
from tunesmith.types.recipe import TrainSpec

__all__ = ["STAGES", "refuse_zero", "zero_config"]

STAGES = ("zero2", "zero3")


def zero_config(spec: TrainSpec, precision: str, processes: int) -> dict[str, Any]:
    """The configuration for `processes` ranks that compute in `precision` (float32 or bfloat16).

    DeepSpeed averages what ranks and pieces compute, so every rank must get as many rows in as many pieces: RecipeError
    where `batch_size` cannot be cut like that. Gradients are added in float32 whatever the weights are.
    """
    pieces = max(1, -(-spec.accumulate // processes))
    if spec.batch_size % (processes * pieces):
        message = f"{spec.batch_size} rows cannot be cut into {pieces} equal piece(s) on each of {processes} processes"
        near = processes * pieces * max(1, round(spec.batch_size / (processes * pieces)))
        raise RecipeError([Problem(message, field="train.batch_size", fix=f"set it to {near}")])
    zero: dict[str, Any] = {"stage": STAGES.index(spec.parallel.strategy) + 2, "contiguous_gradients": True}
    if spec.parallel.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
        if spec.parallel.strategy == "zero3":
            zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_batch_size": spec.batch_size,
        "train_micro_batch_size_per_gpu": spec.batch_size // (processes * pieces),
        "gradient_accumulation_steps": pieces,
        "gradient_clipping": spec.max_grad_norm,
        "bf16": {"enabled": precision == "bfloat16"},
        "communication_data_type": "fp32",
        "zero_optimization": zero,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": spec.learning_rate,
                "betas": [0.9, 0.999],
                "eps": 1e-8,
                "weight_decay": spec.weight_decay,
            },
        },
    }


def refuse_zero(spec: TrainSpec, processes: int) -> None:
    """Refuse a recipe that asks for ZeRO: nothing of it is trained in another way in silence. Others pass.

    Raises:
        MissingDependency: DeepSpeed is not installed.
        RecipeError: it is, but this version writes its configuration only, which the error shows.
    """
    strategy = spec.parallel.strategy
    if strategy not in STAGES:
        return
    if importlib.util.find_spec("deepspeed") is None:
        raise MissingDependency(
            f"train.parallel.strategy {strategy} needs the package 'deepspeed', which is not installed.",
            hint="Set train.parallel.strategy: fsdp, which spreads weights, gradients and moments with PyTorch alone.",
        )
    config = json.dumps(zero_config(spec, placement_of(spec).precision, processes), indent=2)
    message = f"{strategy!r} is not trained by this version, which only writes DeepSpeed's configuration:\n{config}\n"
    raise RecipeError([Problem(message, field="train.parallel.strategy", fix="set it to fsdp")])
