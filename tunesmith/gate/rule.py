"""The contract of every gate rule, and the figures that rules share."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Literal, NamedTuple, Protocol

from pydantic import Field

from tunesmith.errors import NotFound, nearest
from tunesmith.types.decision import Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import Better, EvaluationReport, Scale, Score

__all__ = [
    "Limit",
    "Reads",
    "Rule",
    "SliceName",
    "more_rows",
    "more_rows_of_pairs",
    "more_rows_of_share",
    "place",
    "points",
    "report_of",
    "rows_advice",
    "score_of",
    "shown",
]

SliceName = Annotated[str, Field(pattern=r"^(|[^=]+=.+)$")]
"""A part of the rows, `NAME=VALUE` as the slices of a report are called (`language=de`); '' for all of them."""


POWER = 0.8


class Limit(NamedTuple):
    """The bound that a rule holds its metric against, and the option it is written in: the `least` or the `most` value
    of one contestant, or the `gain` or the `loss` beside another.
    """

    option: str
    value: float
    kind: Literal["least", "most", "gain", "loss"]


class Reads(NamedTuple):
    """What a rule looks up in a report, so that a recipe can be refused before anything runs.

    `needs` is the direction that its metrics must improve in, None when the rule handles both. `suite` names the suite
    whose report it reads, '' the dataset's own rows; `slice` the part of those rows, '' all. `judged` asks for the
    pairwise verdicts of a judge. `limit` is the bound on its metric. A rule that judges facts beside the report reads
    nothing.
    """

    metrics: tuple[str, ...] = ()
    contestants: tuple[str, ...] = ()
    needs: Better | None = None
    suite: str = ""
    judged: bool = False
    slice: str = ""
    limit: Limit | None = None


class Rule(Protocol):
    """A rule plugin: a frozen value whose fields are its options, one file in `gate/rules`."""

    def reads(self) -> Reads:
        """The metrics and contestants this rule needs."""

    def judge(self, report: EvaluationReport, facts: GateFacts) -> Verdict:
        """pass, fail, or inconclusive when the rows do not settle it, with the figures in one sentence.

        `report` is narrowed already to the slice that `reads` names.
        The verdict's `rule` begins with the plugin's name and an opening bracket.
        """


def place(suite: str, part: str) -> str:
    """' in suite S on language=de': which rows a rule is about, behind its words; '' for all of the dataset's own."""
    return (f" in suite {suite}" if suite else "") + (f" on {part}" if part else "")


def report_of(report: EvaluationReport, suite: str) -> EvaluationReport:
    """The report of `suite` in `report`; `report` itself for ''. Raises NotFound with the nearest match."""
    if not suite:
        return report
    if suite not in report.suites:
        there = tuple(report.suites)
        hint = _hint(suite, there) if there else "It has none: name suite files in evaluate.suites."
        raise NotFound(f"The evaluation has no suite {suite!r}.", hint=hint)
    return report.suites[suite]


def score_of(report: EvaluationReport, contestant: str, metric: str) -> Score:
    """The score of `contestant` in `metric`. Raises NotFound, with what there is and the nearest match."""
    found = {each.name: each for each in report.contestants}
    if contestant not in found:
        raise NotFound(f"The evaluation has no contestant {contestant!r}.", hint=_hint(contestant, tuple(found)))
    scores = found[contestant].scores
    if metric not in scores:
        raise NotFound(f"The evaluation has no metric {metric!r}.", hint=_hint(metric, tuple(scores)))
    return scores[metric]


def more_rows(value: float, border: float, ends: tuple[float, float], rows: int, confidence: float) -> int | None:
    """About how many rows beyond `rows` settle, with 80% power, on which side of `border` a value lies (None: on it).

    The interval `ends` gives the standard error, (high - low) / (2 z_(1-alpha/2)), which shrinks with the square root
    of the rows: n = rows * ((z_(1-alpha/2) + z_power) * error / distance)^2. Example: distance 0.05, interval +-0.0784
    at 95% (error 0.04), 100 rows: 100 * (2.8016 * 0.04 / 0.05)^2 = 502.3, so about 403 more. An interval that leans to
    one side must at least shrink on that side until it leaves the border out.
    """
    distance = abs(value - border)
    if math.isclose(distance, 0.0, abs_tol=1e-9):
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    low, high = ends
    reach = (z + NormalDist().inv_cdf(POWER)) * (high - low) / (2 * z)
    side = value - low if value > border else high - value
    return max(1, math.ceil(rows * (max(reach, side) / distance) ** 2) - rows)


def more_rows_of_share(
    value: float, border: float, ends: tuple[float, float], rows: int, confidence: float
) -> int | None:
    """As `more_rows` of a share with Wilson's interval `ends`, whose error at the border is the border's own.

    n = ((z_(1-alpha/2) sqrt(b (1 - b)) + z_power sqrt(p (1 - p))) / (p - b))^2 for the share p and the border b, the
    textbook's for one proportion (Fleiss, Levin & Paik 2003). Example: 24 of 24 right, border 0.9: (1.96 * 0.3 / 0.1)^2
    = 34.6, so 11 more. Rows that depend on each other count as the fewer that `ends` were made of.
    """
    if not 0.0 < border < 1.0 or math.isclose(value, border, abs_tol=1e-9):
        return more_rows(value, border, ends, rows, confidence)
    z, z_power = NormalDist().inv_cdf(0.5 + confidence / 2), NormalDist().inv_cdf(POWER)
    root = z * math.sqrt(border * (1 - border)) + z_power * math.sqrt(value * (1 - value))
    effective = _rows_of_wilson(value, ends[1] - ends[0], z)
    needed = math.ceil((root / (value - border)) ** 2 * rows / effective)
    return max(1, needed - rows)


def _rows_of_wilson(value: float, width: float, z: float) -> float:
    """How many rows give Wilson's interval this width w: z^2 / u, (1 - w^2) u^2 + (4 p (1 - p) - 2 w^2) u = w^2."""
    square = width * width
    linear = 4 * value * (1 - value) - 2 * square
    return z * z * 2 * (1 - square) / (math.sqrt(linear * linear + 4 * (1 - square) * square) - linear)


def more_rows_of_pairs(gain: float, border: float, flips: float, rows: int, confidence: float) -> int | None:
    """As `more_rows` of a difference of two shares on the same rows, which disagree on the share `flips` of them.

    n = ((z_(1-alpha/2) sqrt(max(flips, |b|) - b^2) + z_power sqrt(flips - g^2)) / (g - b))^2 for the gain g and the
    border b, whose own variance counts under it (after Nam 1997, Biometrics 53). Example: no flips in 5 rows, border
    -0.05: 1.96^2 * 0.0475 / 0.0025 = 73.0, so 68 more.
    """
    if math.isclose(gain, border, abs_tol=1e-9):
        return None
    z, z_power = NormalDist().inv_cdf(0.5 + confidence / 2), NormalDist().inv_cdf(POWER)
    at_border = math.sqrt(max(max(flips, abs(border)) - border * border, 0.0))
    root = z * at_border + z_power * math.sqrt(max(flips - gain * gain, 0.0))
    return max(1, math.ceil((root / (gain - border)) ** 2) - rows)


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
