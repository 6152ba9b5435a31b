"""The contract of every gate rule, and the figures that rules share."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple, Protocol

from tunesmith.errors import NotFound, nearest
from tunesmith.types.decision import Verdict
from tunesmith.types.report import Better, EvaluationReport, Scale, Score

__all__ = ["Reads", "Rule", "more_rows", "points", "rows_advice", "score_of", "shown"]

POWER = 0.8


class Reads(NamedTuple):
    """What a rule looks up in a report, so that a recipe can be refused before anything runs.

    `needs` is the direction that its metrics must improve in, None when the rule handles both.
    """

    metrics: tuple[str, ...]
    contestants: tuple[str, ...]
    needs: Better | None = None


class Rule(Protocol):
    """A rule plugin: a frozen value whose fields are its options, one file in `gate/rules`."""

    def reads(self) -> Reads:
        """The metrics and contestants this rule needs."""

    def judge(self, report: EvaluationReport) -> Verdict:
        """pass, fail, or inconclusive when the rows do not settle it, with the figures in one sentence."""


def score_of(report: EvaluationReport, contestant: str, metric: str) -> Score:
    """The score of `contestant` in `metric`. Raises NotFound, with what there is and the nearest match."""
    found = {each.name: each for each in report.contestants}
    if contestant not in found:
        raise NotFound(f"The evaluation has no contestant {contestant!r}.", hint=_hint(contestant, tuple(found)))
    scores = found[contestant].scores
    if metric not in scores:
        raise NotFound(f"The evaluation has no metric {metric!r}.", hint=_hint(metric, tuple(scores)))
    return scores[metric]


def more_rows(distance: float, low: float, high: float, rows: int, confidence: float) -> int | None:
    """About how many rows beyond `rows` settle, with 80% power, on which side of a border a value lies (None: on it).

    The interval [low, high] gives the standard error, (high - low) / (2 z_(1-alpha/2)), which shrinks with the square
    root of the rows: n = rows * ((z_(1-alpha/2) + z_power) * error / distance)^2. Example: distance 0.05, interval
    +-0.0784 at 95% (error 0.04), 100 rows: 100 * (2.8016 * 0.04 / 0.05)^2 = 502.3, so about 403 more.
    """
    if math.isclose(distance, 0.0, abs_tol=1e-9):
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    error = (high - low) / (2 * z)
    needed = math.ceil(rows * ((z + NormalDist().inv_cdf(POWER)) * error / distance) ** 2)
    return max(1, needed - rows)


def rows_advice(more: int | None) -> str:
    """The advice at the end of an inconclusive verdict."""
    if more is None:
        return "the figure lies exactly on the border, so more rows are not expected to settle it"
    step = 10 ** max(0, len(str(more)) - 2)  # two figures are all an estimate deserves
    return f"about {-(-more // step) * step:,} more row{'' if more == 1 else 's'} would settle it"


def shown(value: float, scale: Scale) -> str:
    """A value as people read it: plain numbers as they are, shares in percent."""
    return f"{value:.3g}" if scale == "number" else f"{100 * value:.1f}%"


def points(difference: float, scale: Scale) -> str:
    """A difference as people read it: '12.2 points' of percent, or a plain number."""
    return f"{difference:.3g}" if scale == "number" else f"{100 * difference:.1f} points"


def _hint(word: str, allowed: tuple[str, ...]) -> str:
    close = nearest(word, allowed)
    return (f"Did you mean {close!r}? " if close else "") + f"It has: {', '.join(allowed)}"
