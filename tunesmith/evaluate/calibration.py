"""How sure a model is of its answers, and how often it is right when it is that sure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluate.choices import right_choice
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import Floats
from tunesmith.evaluate.reference_texts import accepted
from tunesmith.types.report import Prediction

__all__ = ["Binning", "ConfidenceBin", "Source", "bin_edges", "bin_places", "confidence_histogram", "confidences"]

Source = Literal["auto", "options", "tokens"]
Binning = Literal["width", "mass"]


class ConfidenceBin(NamedTuple):
    """`rows` answers whose confidence lies in [low, high), with their mean confidence and their share of right ones."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


def confidences(predictions: Sequence[Prediction], labels: Sequence[str], source: Source = "auto") -> Floats:
    """[N, 2]: (confidence, right) of each row; NaN where the server gave no log-probabilities, or no text is expected.

    `options`: the softmax over an item's options, and whether the likeliest is the right one. `tokens`: the geometric
    mean of the probabilities of the answer's tokens, exp(mean log-probability), and whether the answer is right: its
    label where the reference is a known label, else the exact text. `auto` takes options where a row has them.
    """
    read = label_reader(labels)

    def of(row: Prediction) -> tuple[float, float]:
        if source != "tokens" and row.option_logprobs:
            return _of_options(row)
        if source == "options" or not row.token_logprobs:
            return math.nan, math.nan
        expected = read(row.reference)
        texts = {each.strip() for each in accepted(row)}
        if expected is None and not texts:
            return math.nan, math.nan
        sure = math.exp(math.fsum(row.token_logprobs) / len(row.token_logprobs))
        return min(1.0, sure), float(row.answer.strip() in texts if expected is None else row.label == expected)

    return np.array([of(row) for row in predictions], dtype=np.float64).reshape(-1, 2)


def bin_edges(sure: Floats, bins: int, binning: Binning) -> Floats:
    """[bins - 1] inner borders: of equal width between 0 and 1, or with about equally many of the rows in each."""
    shares = np.arange(1, bins) / bins
    known = sure[np.isfinite(sure)]
    if binning == "width" or not len(known):
        return shares
    return np.quantile(known, shares, method="inverted_cdf")


def bin_places(sure: Floats, edges: Floats) -> NDArray[np.int64]:
    """[N] the bin of each confidence; a confidence on a border belongs to the bin above."""
    return np.searchsorted(edges, sure, side="right")


def confidence_histogram(
    predictions: Sequence[Prediction], labels: Sequence[str], bins: int = 10, source: Source = "auto"
) -> tuple[ConfidenceBin, ...]:
    """The rows in bins of equal width that have any: what a reliability diagram shows (Guo et al. 2017, figure 1)."""
    rows = confidences(predictions, labels, source)
    rows = rows[np.isfinite(rows).all(axis=1)]
    edges = bin_edges(rows[:, 0], bins, "width")
    places = bin_places(rows[:, 0], edges)
    borders = np.concatenate([[0.0], edges, [1.0]])
    return tuple(
        ConfidenceBin(borders[each], borders[each + 1], int(here.sum()), *map(float, rows[here].mean(axis=0)))
        for each in range(bins)
        if (here := places == each).any()
    )


def _of_options(row: Prediction) -> tuple[float, float]:
    right = right_choice(row)
    if right is None or len(row.option_logprobs) != len(row.options):
        return math.nan, math.nan
    scores = np.array(row.option_logprobs)
    shares = np.exp(scores - scores.max())
    return float(shares.max() / shares.sum()), float(int(scores.argmax()) == right)
