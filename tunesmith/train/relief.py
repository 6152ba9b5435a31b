"""What makes a run fit that does not: each change of the recipe with the peak it would have, cheapest first.

The number of pieces per step is not among them: `accumulate` has already been raised to one example a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tunesmith import plugins
from tunesmith.models.parameters import decoder_layers
from tunesmith.models.start import kept_start
from tunesmith.train.backbone import parts
from tunesmith.train.memory import SAFETY, Footprint, MemoryPlan
from tunesmith.train.objective import Group
from tunesmith.train.trunk import first_trained_layer, trunk_bytes
from tunesmith.types.recipe import TrainSpec

__all__ = ["Tight", "changes_that_fit"]

GIGABYTE = 1 << 30
SHORTEST_ROW = 8
FEW = 0.1


class Tight(NamedTuple):
    """A run that does not fit: its recipe, model and examples, its footprint, and the best plan there was."""

    spec: TrainSpec
    model: Any
    groups: Sequence[Group]
    footprint: Footprint
    plan: MemoryPlan

    @property
    def room(self) -> float:
        """Bytes that a plan may use."""
        return SAFETY * self.plan.available_bytes

    @property
    def nothing_helps(self) -> str:
        """What to say when no single change is enough."""
        least = self.footprint.peak(0) / GIGABYTE
        return (
            f"No single change of the recipe is enough: {least:.2f} GB are needed before the first row. "
            "Free memory, or choose a smaller base (model.base)."
        )


def changes_that_fit(tight: Tight, tokens_of: Callable[[Group], int]) -> tuple[str, ...]:
    """Each change as text with its estimated peak; `tokens_of` gives an example's computed tokens."""
    shorter = _shorter_rows(tight, tokens_of)
    candidates = [shorter if shorter and shorter[1] <= FEW else None, _fewer_layers(tight), _half_precision(tight)]
    candidates += [_low_rank(tight), shorter if shorter and shorter[1] > FEW else None]
    return tuple(candidate[0] for candidate in candidates if candidate is not None)


def _told(change: str, peak: float, cost: str) -> str:
    return f"{change} (about {peak / GIGABYTE:.2f} GB; {cost})"


def _shorter_rows(tight: Tight, tokens_of: Callable[[Group], int]) -> tuple[str, float] | None:
    """The longest `prepare.max_tokens` with which the largest remaining example fits, and the share left out."""
    budget = (tight.room - tight.footprint.peak(0)) / tight.plan.bytes_per_token
    by_length = sorted((max(len(row.token_ids) for row in group.rows), tokens_of(group)) for group in tight.groups)
    fitting, largest = [], 0
    for length, tokens in by_length:
        if tokens > budget:
            break
        fitting.append(length)
        largest = max(largest, tokens)
    while fitting and len(fitting) < len(by_length) and fitting[-1] == by_length[len(fitting)][0]:
        fitting.pop()
    if not fitting or len(fitting) == len(by_length) or fitting[-1] < SHORTEST_ROW:
        return None
    left_out = len(by_length) - len(fitting)
    peak = tight.footprint.peak(tight.plan.bytes_per_token * largest)
    cost = f"leaves out {left_out} of {len(by_length)} examples"
    return _told(f"prepare.max_tokens: {fitting[-1]}", peak, cost), left_out / len(by_length)


def _fewer_layers(tight: Tight) -> tuple[str, float] | None:
    """The most layers whose training fits, where the method can be told how many.

    Activations and moments are taken to grow with the trained layers (one more stands for embeddings and head); what
    the layers below say of all rows is kept.
    """
    method = plugins.load("tunesmith.models.methods", tight.spec.method.name)
    if "last_layers" not in method.model_fields:
        return None
    layers = len(decoder_layers(tight.model.get_base_model() if hasattr(tight.model, "peft_config") else tight.model))
    trained = layers - first_trained_layer(tight.model)
    rows = [row for group in tight.groups for row in (*group.rows, *group.unpaired)]
    kept = trunk_bytes(tight.model, rows) if tight.spec.batching == "tree" and trained == layers else 0
    for fewer in range(trained - 1, 0, -1):
        share = (fewer + 1) / (trained + 1)
        growing = tight.footprint.to_stay + tight.plan.bytes_per_token * tight.plan.largest_piece_tokens
        peak = max(tight.footprint.highest, tight.footprint.resident + kept + share * growing)
        if peak <= tight.room:
            return _told(f"train.method.last_layers: {fewer}", peak, f"trains {fewer} of {layers} layers"), share
    return None


def _half_precision(tight: Tight) -> tuple[str, float] | None:
    _, head = parts(tight.model)
    if head.weight.element_size() < 4:
        return None
    weights = sum(parameter.nbytes for parameter in tight.model.parameters() if not parameter.requires_grad)
    activations = tight.plan.bytes_per_token * tight.plan.largest_piece_tokens / 2
    peak = tight.footprint.resident - weights / 2 + tight.footprint.to_stay + activations
    if peak > tight.room:
        return None
    return _told("train.precision: bfloat16", peak, "rounds to 8 bits, slow where the processor lacks it"), 0.0


def _low_rank(tight: Tight) -> tuple[str, float] | None:
    """LoRA instead of a method that trains the base's own weights: no moments and no second copy of them."""
    copies = kept_start(tight.model)
    if not copies:
        return None
    activations = tight.plan.bytes_per_token * tight.plan.largest_piece_tokens
    peak = tight.footprint.resident - sum(tensor.nbytes for tensor in copies.values()) + activations
    if peak > tight.room:
        return None
    return _told("train.method: {name: lora}", peak, "trains a low-rank change"), 0.0
