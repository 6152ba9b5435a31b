"""What gate rules may know besides the evaluation: facts of the data, the release and its files."""

from __future__ import annotations

from tunesmith.types.base import Value

__all__ = ["GateFacts", "Leak"]


class Leak(Value):
    """Of the `rows` that the model is evaluated on in `where` (a split, or a suite's name), how many ask what a
    training row asks: exactly, after normalising, or nearly. None: that was not looked for.
    """

    where: str
    rows: int
    exact: int | None
    normalised: int
    near: int | None


class GateFacts(Value):
    """Facts beside the evaluation; None where nobody knows.

    `licences` counts the training rows by the licence that they or their source name ('' for those that name none).
    """

    dataset_digest: str = ""
    leaks: tuple[Leak, ...] | None = None
    licences: dict[str, int] | None = None
    adapter_bytes: int | None = None
    trained_parameters: int | None = None
