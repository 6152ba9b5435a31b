"""Weights, gradients and moments spread over the processes: FSDP2 (Zhao et al. 2023, arXiv:2304.11277).

Each decoder layer is gathered when it is computed and given up again; gradients are added on the way back, each rank
keeping its part. Whatever has to see the model whole (self-checks, memory plan) comes before it is spread, and what is
saved is put together again, so a checkpoint is the one that a lone process would write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MethodType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from tunesmith import plugins
from tunesmith.errors import Problem, RecipeError
from tunesmith.models.new_tokens import row_tensors
from tunesmith.models.parameters import decoder_layers
from tunesmith.models.start import forget_start
from tunesmith.train.forward import SHARDED, score_here
from tunesmith.train.groups import OBJECTIVES
from tunesmith.train.objective import Group, Needs, Objective
from tunesmith.train.parallel.ranks import Ranks
from tunesmith.train.parallel.team import Piece
from tunesmith.train.plan import split_evenly
from tunesmith.types.recipe import TrainSpec

__all__ = ["METHODS", "Shards"]

Item = TypeVar("Item")
Result = TypeVar("Result")
METHODS = ("full", "freeze")


class Shards(Ranks):
    """One rank of several, each with a part of every weight. All must do the same number of passes: one without groups
    of its own computes one that does not count.
    """

    def require(self, spec: TrainSpec) -> None:
        """Whole weights are sharded, for objectives that need nothing but the model itself."""
        super().require(spec)
        problems = []
        if spec.method.name not in METHODS:
            message = f"spreads whole weights, which {spec.method.name!r} does not train"
            fix = f"choose ddp, or train.method {' or '.join(METHODS)}"
            problems.append(Problem(message, field="train.parallel.strategy", fix=fix))
        objective = plugins.load(OBJECTIVES, spec.objective.name).model_validate(spec.objective.options)
        needs = objective.needs if isinstance(objective, Objective) else Needs()
        if needs.values or needs.teacher is not None:
            message = f"{spec.objective.name!r} puts a second model beside the first, which fsdp does not spread"
            problems.append(Problem(message, field="train.objective.name", fix="set train.parallel.strategy: ddp"))
        if needs.completions:
            message = f"{spec.objective.name!r} samples from the weights in one place, which fsdp spreads"
            problems.append(Problem(message, field="train.objective.name", fix="set train.parallel.strategy: ddp"))
        if problems:
            raise RecipeError(problems)

    @property
    def parts(self) -> int:
        """Every rank holds one part of the moments."""
        return self.size

    def pieces(self, groups: Sequence[Group], accumulate: int) -> Iterator[Piece]:
        """As many pieces on every rank; the last ones of a short share do not count."""
        longest = -(-len(groups) // self.size)
        count = min(-(-accumulate // self.size), longest)
        own = [Piece(piece) for piece in split_evenly(self._share(groups), count)]
        return iter([*own, *[Piece(groups[:1], counts=False)] * (count - len(own))])

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """They were added in the backward pass."""

    def shard(self, model: Any) -> None:
        """Spread `model`, whose ranks must begin with the same trained numbers. Its start is given up."""
        super().shard(model)
        if row_tensors(model):
            message = "new tokens are trained beside frozen embeddings, which fsdp does not spread"
            fix = "set train.parallel.strategy: ddp, or train.method: {name: full}"
            raise RecipeError([Problem(message, field="model.new_tokens", fix=fix)])
        forget_start(model)
        mesh = init_device_mesh(next(model.parameters()).device.type, (self.size,))
        exact = MixedPrecisionPolicy(reduce_dtype=torch.float32)
        for layer in decoder_layers(model):
            fully_shard(layer, mesh=mesh, mp_policy=exact)
        fully_shard(model, mesh=mesh, mp_policy=exact, reshard_after_forward=True)
        for module in model.modules():
            if isinstance(module, FSDPModule):
                # Losses are divided by the whole step's normaliser already: gradients are added, not averaged.
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
                module.set_custom_all_gather(_Gather(self))
                module.set_custom_reduce_scatter(_Scatter(self))
        setattr(model, SHARDED, MethodType(score_here, model))
        register_fsdp_forward_method(model, SHARDED)

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put together one by one and kept by rank 0."""
        kept = {}
        for name, tensor in tensors.items():
            full = self._full(tensor)
            if self.leads:
                kept[name] = full.detach().cpu().contiguous()
        return kept

    def parted(self, tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """This rank's part of every tensor that is spread like its parameter; counters stay."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

        def part(key: str, tensor: Tensor) -> Tensor:
            like = parameters[int(key.split(".", 1)[0])]
            if not isinstance(like, DTensor) or tensor.shape != like.shape:
                return tensor
            on_device = tensor.to(like.device)
            return distribute_tensor(on_device, like.device_mesh, like.placements, src_data_rank=None)

        return {key: part(key, tensor) for key, tensor in tensors.items()}

    def regathered(self, model: Any, rebuild: Callable[[], Any]) -> Any:
        """A model made anew, into which the best checkpoint is loaded."""
        return rebuild()

    def _idle(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> list[Result]:
        """The same pass as the others, for nothing."""
        work(items[:1])
        return []

    def _full(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, DTensor):
            return tensor
        mesh, placements = tensor.device_mesh, tensor.placements
        local = tensor.to_local().to(mesh.device_type)
        shape, stride = tensor.shape, tensor.stride()
        with self.collective("gathering of weights"):
            spread = DTensor.from_local(local, mesh, placements, run_check=False, shape=shape, stride=stride)
            full: Tensor = spread.full_tensor()
        return full


class _Gather:
    """All-gather of a layer's weights, known to the watchdog."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """An empty tensor to gather into."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False) -> Any:
        with self._ranks.collective("all-gather of a layer's weights"):
            return dist.all_gather_single(output_tensor, input_tensor, group=group, async_op=async_op)


class _Scatter(_Gather):
    """Reduce-scatter of a layer's gradients, known to the watchdog."""

    def __call__(  # type: ignore[override]
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False
    ) -> Any:
        with self._ranks.collective("reduce-scatter of a layer's gradients"):
            return dist.reduce_scatter_single(output_tensor, input_tensor, group=group, op=op, async_op=async_op)
