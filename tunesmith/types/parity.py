"""The train-to-serve parity certificate: what trainer, evaluator and server computed for the same fixed prompts."""

from __future__ import annotations

from tunesmith.types.base import Value

__all__ = ["PARITY_FILE", "Agreement", "Candidate", "ParityCertificate", "Reading"]

PARITY_FILE = "parity.json"
"""the certificate's name beside a run and in a release's folder"""


class Candidate(Value):
    """A token that may come next and its natural-log probability."""

    token_id: int
    logprob: float


class Reading(Value):
    """A greedy answer to one prompt: its tokens, and the most likely candidates at each step, best first."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    steps: tuple[tuple[Candidate, ...], ...]


class Agreement(Value):
    """How far `reader` agrees with the trainer.

    `tokens` of the answers were decided by more than the bound and are equal; `largest_difference` is that of any
    compared log-probability, in natural-log units.
    """

    reader: str
    prompts: int
    tokens: int
    logprobs: int
    largest_difference: float


class ParityCertificate(Value):
    """Made when a release is registered, kept with its evidence and checked again where the release is served.

    The trainer computed `readings` in `precision`; the evaluator and the server agree with them within `bound`
    (natural-log units).
    """

    adapter_digest: str
    base_digest: str
    template_digest: str
    precision: str
    device: str
    bound: float
    readings: tuple[Reading, ...]
    agreements: tuple[Agreement, ...]
