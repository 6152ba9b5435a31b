"""Does a run fit into memory? In how many pieces must a step be computed? If in none: what would make it fit?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tunesmith.errors import TrainingFailed
from tunesmith.models.adapter import adapter_state
from tunesmith.train import memory
from tunesmith.train.finish import Prepared
from tunesmith.train.forward import score
from tunesmith.train.memory import Footprint, MemoryPlan
from tunesmith.train.objective import Group, rows_of
from tunesmith.train.plan import split_evenly
from tunesmith.train.reference import sequence_logprobs
from tunesmith.train.relief import Tight, changes_that_fit
from tunesmith.train.tree import fold
from tunesmith.types.recipe import TrainSpec

__all__ = ["Probe", "computed_tokens", "fit"]

PROBE_GROUPS = 4


class Probe(NamedTuple):
    """Two measured points: (computed tokens, peak bytes above what is resident)."""

    small: tuple[int, int]
    large: tuple[int, int]

    @property
    def bytes_per_token(self) -> float:
        """Slope through both points, at least that of the larger point alone when the smaller one is noise."""
        tokens = self.large[0] - self.small[0]
        slope = (self.large[1] - self.small[1]) / tokens if tokens > 0 else 0.0
        return max(slope, self.large[1] / self.large[0])


def fit(spec: TrainSpec, prepared: Prepared, first: Sequence[Group], parts: int = 1) -> MemoryPlan:
    """The fewest pieces per step with which the run fits, its optimizer's moments spread over `parts` processes.

    Raises TrainingFailed when there are none, with the cheapest changes of the recipe that would fit.
    """
    highest, resident = prepared.watch.highest, prepared.watch.restart()
    footprint = Footprint(highest, resident, _to_stay(spec, prepared, parts))
    few = first[: min(PROBE_GROUPS, len(first))]
    points = [(_tokens(spec, groups), _activations(spec, prepared, groups, resident)) for groups in (few[:1], few)]
    probe = Probe(points[0], points[1])
    largest = {pieces: _largest_piece(spec, prepared, pieces) for pieces in _piece_counts(spec)}

    def measure(pieces: int) -> int:
        return _activations(spec, prepared, largest[pieces], resident, keeps_gradients=pieces > 1)

    sizes = {pieces: _tokens(spec, groups) for pieces, groups in largest.items()}
    plan = memory.plan_memory(footprint, probe.bytes_per_token, sizes, prepared.watch.memory.available(), measure)
    if not plan.fits:
        tight = Tight(spec, prepared.model, prepared.groups, footprint, plan)
        changes = changes_that_fit(tight, lambda group: _tokens(spec, [group]))
        listed = "\n".join(f"  {change}" for change in changes)
        raise TrainingFailed(
            f"This run would not fit into memory: {plan}.",
            hint=f"Any of these would, cheapest first:\n{listed}" if changes else tight.nothing_helps,
        )
    return plan


def computed_tokens(rows: Sequence[Group], batching: str) -> int:
    """Tokens that go through the model when `rows` are one piece."""
    sequences = rows_of(rows)
    longest = max(len(row.token_ids) for row in sequences)
    return fold(sequences).size if batching == "tree" else longest * len(sequences)


def _tokens(spec: TrainSpec, groups: Sequence[Group]) -> int:
    return computed_tokens(groups, spec.batching)


def _to_stay(spec: TrainSpec, prepared: Prepared, parts: int) -> int:
    """Bytes of the optimizer's moments (two per trained number), of which there are `parts`, and of the trained
    tensors' start.
    """
    trained = [parameter for parameter in prepared.model.parameters() if parameter.requires_grad]
    per_number = 1 if spec.optimizer == "adamw_8bit_paged" else None
    moments = sum(2 * p.numel() * (per_number or p.element_size()) for p in trained)
    return moments // parts + sum(tensor.nbytes for tensor in adapter_state(prepared.model).values())


def _piece_counts(spec: TrainSpec) -> Iterator[int]:
    """From the recipe's own number of pieces, doubled until every piece is one group."""
    pieces = spec.accumulate
    while pieces < spec.batch_size:
        yield pieces
        pieces *= 2
    yield max(spec.accumulate, spec.batch_size)


def _largest_piece(spec: TrainSpec, prepared: Prepared, pieces: int) -> Sequence[Group]:
    """The piece with the most computed tokens over the first epoch's steps."""
    largest: Sequence[Group] = ()
    most = 0
    for step in range(prepared.plan.steps_per_epoch):
        chosen = [prepared.groups[index] for index in prepared.plan.indices(step)]
        for piece in split_evenly(chosen, pieces):
            tokens = _tokens(spec, piece)
            if tokens > most:
                largest, most = piece, tokens
    return largest


def _activations(
    spec: TrainSpec, prepared: Prepared, groups: Sequence[Group], resident: int, keeps_gradients: bool = False
) -> int:
    """Peak bytes above `resident` of a forward and backward pass over `groups` as one piece.

    `keeps_gradients`: as in all pieces of a step but the first, gradients are there already.
    """
    model, objective, trunk = prepared.model, prepared.objective, prepared.trunk
    needs, batching = objective.needs, spec.batching
    referred = [group if group.reference or not needs.reference else _with_reference(group) for group in groups]
    prepared.watch.restart()
    complete = objective.complete(referred, lambda rows: sequence_logprobs(model, rows, batching, trunk))
    total = objective.amount(complete)
    for _ in range(2 if keeps_gradients else 1):
        objective.loss(score(model, rows_of(complete), batching, trunk, needs), complete, total).backward()
    peak = prepared.watch.memory.peak()
    for parameter in model.parameters():
        parameter.grad = None
    return max(0, peak - resident)


def _with_reference(group: Group) -> Group:
    """The size of a reference does not depend on its value, and the true ones are not computed yet."""
    return group._replace(reference=tuple(0.0 for _ in (*group.rows, *group.unpaired)))
