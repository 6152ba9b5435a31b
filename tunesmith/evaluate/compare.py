"""Two contestants on the same rows: the difference, a paired interval, a paired test, the flips.

Pairing matters: rows that both get right or wrong say nothing about the difference, and comparing two separate
intervals throws that knowledge away. Rows that share a group are drawn and swapped together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from tunesmith.errors import EvaluationError
from tunesmith.evaluate import power, ranked, statistics
from tunesmith.evaluate.clusters import Clusters, clusters_of, summed
from tunesmith.evaluate.label_counts import Averaged
from tunesmith.evaluate.label_shares import every_pair_differs, paired_interval
from tunesmith.evaluate.metric import Floats, Metric, Ranked, load_metric, overall, ratio, terms_of
from tunesmith.evaluate.paired_shares import covering, gap_interval, tango_interval
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Comparison, Contestant

__all__ = ["Flipped", "compare", "compare_all", "flipped"]

MCNEMAR = "McNemar exact"
PERMUTATION = "paired permutation"
OF_GROUPS = "paired permutation of groups"
BOOTSTRAP = "paired BCa bootstrap"
QUANTILES = "paired bootstrap quantiles"
TANGO = "Tango's score interval"
ALL_ALIKE = "Tango's score interval, as rows are all alike"
OF_FEW = "paired BCa bootstrap and Tango's score interval, as few rows differ"
OF_EFFECTIVE_ROWS = "Tango's score interval over effective rows"


class Flipped(NamedTuple):
    """Ids of the rows that the model answered better (`won`) and worse (`lost`) than the baseline, in their order."""

    won: tuple[str, ...]
    lost: tuple[str, ...]


class _Pair(NamedTuple):
    """The terms [N, K] of the rows that both have scored, and the rows' ids and clusters."""

    metric: Metric
    ours: Floats
    theirs: Floats
    ids: tuple[str, ...]
    clusters: Clusters | None


class _Spread(NamedTuple):
    """The difference's standard error (0 when it cannot be told), interval and the interval's method."""

    error: float
    interval: statistics.Interval
    method: str


class _Relative(NamedTuple):
    """A difference as a share of the baseline's value, and its interval."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class _Found(NamedTuple):
    """A comparison that is not yet called settled or not, and the standard error of its difference."""

    comparison: Comparison
    error: float


def compare_all(
    contestants: tuple[Contestant, ...], labels: tuple[str, ...], confidence: float
) -> tuple[Comparison, ...]:
    """Every later contestant against every earlier one, in every metric that both have.

    The metrics of one pair are a family: whether a difference is settled is decided by Holm's p over all of them.
    """
    compared: list[Comparison] = []
    for earlier, later in combinations(contestants, 2):
        shared = [name for name in later.scores if name in earlier.scores]
        measured = (_found(name, later, earlier, labels, confidence) for name in shared)
        compared += _decided([found for found in measured if found is not None], confidence)
    return tuple(compared)


def compare(
    name: str, model: Contestant, baseline: Contestant, labels: tuple[str, ...], confidence: float
) -> Comparison | None:
    """`model` minus `baseline` in metric `name` over the rows that both have scored; None when there are none,
    or no value of them.

    The interval is Tango's for proportions, else the paired BCa bootstrap's (rows drawn whole, seed 0). A share whose
    rows are all alike has no bootstrap, and Tango's too; where fewer than ten rows differ the interval covers both;
    Tango's is over the rows that carry the figure (see `label_shares` for averages over labels).
    The test is McNemar's exact one for proportions, else the paired permutation test; where rows share groups it is
    always the latter, over groups. A row is won when the model's own value on it is better. The metric is its own
    family: `p_adjusted` is the p.

    Raises:
        EvaluationError: the two did not answer the same rows in the same order.
    """
    found = _found(name, model, baseline, labels, confidence)
    return None if found is None else _decided([found], confidence)[0]


def flipped(name: str, model: Contestant, baseline: Contestant, labels: tuple[str, ...]) -> Flipped:
    """The rows that make the difference in metric `name`. Raises EvaluationError as `compare` does."""
    pair = _pair(name, model, baseline, labels)
    gains = _gains(pair)
    won, lost = (tuple(pair.ids[index] for index in np.flatnonzero(which)) for which in (gains > 0, gains < 0))
    return Flipped(won, lost)


def _pair(name: str, model: Contestant, baseline: Contestant, labels: tuple[str, ...]) -> _Pair:
    if [row.example_id for row in model.predictions] != [row.example_id for row in baseline.predictions]:
        raise EvaluationError(f"{model.name} and {baseline.name} answered different rows and cannot be compared.")
    scored = model.scores[name]
    metric = load_metric(MetricSpec.model_validate({"name": scored.metric, **scored.options}))
    ours, theirs = (terms_of(metric, each.predictions, labels) for each in (model, baseline))
    both = np.asarray(np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1))
    kept = [row for row, scored_by_both in zip(model.predictions, both.tolist(), strict=True) if scored_by_both]
    ids = tuple(row.example_id for row in kept)
    return _Pair(metric, ours[both], theirs[both], ids, clusters_of([row.group for row in kept]))


def _found(
    name: str, model: Contestant, baseline: Contestant, labels: tuple[str, ...], confidence: float
) -> _Found | None:
    pair = _pair(name, model, baseline, labels)
    difference = overall(pair.metric, pair.ours) - overall(pair.metric, pair.theirs) if len(pair.ids) else np.nan
    if not np.isfinite(difference):
        return None
    gains = _gains(pair)
    won, lost = int((gains > 0).sum()), int((gains < 0).sum())
    spread = _spread(pair, difference, confidence)
    test = OF_GROUPS if pair.clusters is not None else MCNEMAR if _by_flips(pair) else PERMUTATION
    units = len(pair.ids) if pair.clusters is None else int(pair.clusters.max()) + 1
    relative = _relative(pair, confidence)
    comparison = Comparison(
        metric=name,
        model=model.name,
        baseline=baseline.name,
        difference=difference,
        low=spread.interval.low,
        high=spread.interval.high,
        confidence=confidence,
        p_value=statistics.mcnemar_p(won, lost) if _by_flips(pair) else _permuted(pair),
        test=test,
        n=len(pair.ids),
        won=won,
        lost=lost,
        better=pair.metric.better,
        interval=spread.method,
        detectable=power.detectable_by_mcnemar(won, lost, len(pair.ids), confidence)
        if _by_flips(pair)
        else power.detectable_by_error(spread.error, units, confidence),
        clusters=None if pair.clusters is None else units,
        relative=relative.value,
        relative_low=relative.low,
        relative_high=relative.high,
    )
    return _Found(comparison, spread.error)


def _decided(family: Sequence[_Found], confidence: float) -> list[Comparison]:
    """The comparisons with Holm's p, and those that stay open with the rows that would settle them.

    Rows are reckoned at alpha / m, Holm's strictest level for m metrics.
    """
    adjusted = statistics.holm(tuple(found.comparison.p_value for found in family))
    strictest = 1.0 - (1.0 - confidence) / max(1, len(family))
    level = confidence if len(family) == 1 else strictest
    decided = []
    for (pair, error), p_adjusted in zip(family, adjusted, strict=True):
        settled = not pair.low <= 0.0 <= pair.high and p_adjusted < 1.0 - confidence
        needed = (
            statistics.mcnemar_rows(pair.won, pair.lost, pair.n, level)
            if pair.test == MCNEMAR
            else statistics.rows_for_standard_error(pair.difference, error, pair.n, level)
        )
        more = None if settled else max(1, needed - pair.n)
        decided.append(pair.model_copy(update={"p_adjusted": p_adjusted, "rows_for_decision": more}))
    return decided


def _by_flips(pair: _Pair) -> bool:
    """Whether the difference is that of won and lost rows alone, each independent: then McNemar's test is exact."""
    return pair.metric.scale == "proportion" and pair.clusters is None


def _gains(pair: _Pair) -> Floats:
    """[N] how much better the model's own value on each row is."""
    gaps = pair.metric.value(pair.ours) - pair.metric.value(pair.theirs)
    return gaps if pair.metric.better == "higher" else -gaps


def _permuted(pair: _Pair) -> float:
    if isinstance(pair.metric, Ranked):
        metric, both = pair.metric, np.concatenate([pair.ours, pair.theirs])
        return ranked.permutation_of_rows(
            lambda counts: metric.value_of_rows(both, counts), len(pair.ids), pair.clusters
        )
    ours, theirs = (summed(terms, pair.clusters) for terms in (pair.ours, pair.theirs))
    return statistics.permutation_p(ours, theirs, pair.metric.value)


def _spread(pair: _Pair, difference: float, confidence: float) -> _Spread:
    """The paired interval of the difference and its standard error (of the jackknife; of ranks, of the bootstrap)."""
    return _spread_of(pair, difference, np.subtract, confidence)


def _relative(pair: _Pair, confidence: float) -> _Relative:
    """The relative difference; nothing for shares, and where the baseline's value is not above 0."""
    baseline = overall(pair.metric, pair.theirs)
    if pair.metric.scale != "number" or not baseline > 0.0:
        return _Relative()
    value = overall(pair.metric, pair.ours) / baseline - 1.0
    ends = _spread_of(pair, value, _share_more, confidence).interval
    return _Relative(value, ends.low, ends.high)


def _share_more(ours: Floats, theirs: Floats) -> Floats:
    return ratio(ours, theirs) - 1.0


def _spread_of(pair: _Pair, observed: float, gap_of: Callable[[Floats, Floats], Floats], confidence: float) -> _Spread:
    """How far `gap_of` (the model's value, the baseline's value) varies over rows that are drawn in pairs."""
    metric, width = pair.metric, pair.ours.shape[1]
    if isinstance(metric, Ranked):
        found = ranked.spread(
            lambda counts: gap_of(metric.value_of_rows(pair.ours, counts), metric.value_of_rows(pair.theirs, counts)),
            len(pair.ids),
            pair.clusters,
            confidence,
        )
        return _Spread(found.error or 0.0, found.interval, QUANTILES)

    def gap(totals: Floats) -> Floats:
        return gap_of(metric.value(totals[..., :width]), metric.value(totals[..., width:]))

    rows = np.concatenate([pair.ours, pair.theirs], axis=1)
    units = summed(rows, pair.clusters)
    left_out = statistics.jackknife(units, gap) if len(units) > 1 else np.empty(0)
    error = statistics.standard_error(left_out)
    if metric.scale == "proportion":
        alone = error if pair.clusters is None else statistics.standard_error(statistics.jackknife(rows, gap))
        effective = statistics.effective_rows(len(rows), len(units), alone, error)
        flips = metric.value(pair.ours) - metric.value(pair.theirs)
        up, down = (float(which.mean()) * effective for which in (flips > 0, flips < 0))
        method = TANGO if pair.clusters is None else OF_EFFECTIVE_ROWS
        return _Spread(error or 0.0, tango_interval(up, down, effective, confidence), method)
    if metric.scale == "number" or not statistics.all_alike(error, len(units)):
        replicates = statistics.bootstrap(units, gap)
        drawn = statistics.bca_interval(observed, replicates, left_out, confidence)
        if metric.scale == "number" or _many_differ(metric, units):
            return _Spread(error or 0.0, drawn, BOOTSTRAP)
        return _Spread(error or 0.0, covering(drawn, _of_shares(metric, units, observed, confidence)), OF_FEW)
    return _Spread(0.0, _of_shares(metric, units, observed, confidence, alike=True), ALL_ALIKE)


def _many_differ(metric: Metric, units: Floats) -> bool:
    ours, theirs = np.split(units, 2, axis=1)
    if isinstance(metric, Averaged):
        return every_pair_differs(metric.by_label(ours), metric.by_label(theirs))
    return bool(np.count_nonzero(_gaps(metric, units)) >= statistics.FEW_DIFFER)


def _gaps(metric: Metric, units: Floats) -> Floats:
    """The differences unit by unit of the units that carry the figure of either; those of neither say nothing."""
    own, other = (metric.value(each) for each in np.split(units, 2, axis=1))
    return np.nan_to_num(own - other)[np.isfinite(own) | np.isfinite(other)]


def _of_shares(
    metric: Metric, units: Floats, observed: float, confidence: float, *, alike: bool = False
) -> statistics.Interval:
    """Tango's interval over the units [N, 2 K] that carry a share; over labels, over those that it rests on."""
    if isinstance(metric, Averaged):
        ours, theirs = np.split(units, 2, axis=1)
        return paired_interval(metric.by_label(ours), metric.by_label(theirs), observed, confidence)
    gaps = _gaps(metric, units)
    return gap_interval(observed, np.full(len(gaps), observed) if alike else gaps, confidence)
