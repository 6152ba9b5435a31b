"""A training run: what came out, where it lies, and the proofs that it learned."""

from __future__ import annotations

from tunesmith.types.base import Value
from tunesmith.types.dataset import Check, SplitName

__all__ = ["PreferenceScore", "RunRecord"]


class PreferenceScore(Value):
    """How often the trained model's reward agrees with held-out preferences (`accuracy` of `pairs`).

    For judged answers a pair is one wanted and one unwanted answer, whatever their prompts.
    """

    split: SplitName
    pairs: int
    accuracy: float
    standard_error: float
    mean_margin: float


class RunRecord(Value):
    """Written to `run.json` in the run directory when training ends (and only when it succeeded).

    Token counts: `effective_tokens` is what padded rows without padding would hold, `computed_tokens` what the prefix
    tree really computed. `seconds` are those of the steps on the clock, `processor_seconds` those of all threads of
    this process (of the first one where several train); 0 where it was not measured. `checks` are the self-checks
    before the first and after the last step. `start_from` is the adapter that training started from, as the recipe
    names it, and `parent_digest` what it was.
    """

    id: str
    name: str
    path: str
    base: str
    base_digest: str
    dataset_digest: str
    template_digest: str
    adapter_digest: str
    start_from: str | None = None
    parent_digest: str | None = None
    precision: str
    steps: int
    best_step: int
    start_validation_loss: float | None = None
    best_validation_loss: float | None = None
    held_out_preferences: PreferenceScore | None = None
    trainable_parameters: int
    total_parameters: int
    effective_tokens: int
    computed_tokens: int
    seconds: float
    processor_seconds: float = 0.0
    accumulate: int = 1
    threads: int = 0
    device: str = "cpu"
    predicted_peak_bytes: int
    actual_peak_bytes: int
    checks: tuple[Check, ...]
