"""Tables of the values that stages return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tunesmith.types.dataset import DatasetManifest
    from tunesmith.types.decision import Decision
    from tunesmith.types.report import Contestant, EvaluationReport, Score
    from tunesmith.types.run import RunRecord

__all__ = [
    "comparisons_table",
    "confusion_table",
    "contestants_table",
    "dataset_table",
    "grid",
    "ledger_lines",
    "loss_text",
    "run_table",
    "score_text",
    "verdict_lines",
]

_STYLES = (("pass", "green"), ("fail", "red"), ("inconclusive", "yellow"), ("pass (waived)", "yellow"))


def loss_text(run: RunRecord) -> str:
    """Validation loss before and at the best checkpoint, or that there were no validation rows."""
    if run.start_validation_loss is None or run.best_validation_loss is None:
        return "no validation rows"
    return f"{run.start_validation_loss:.4f} -> {run.best_validation_loss:.4f}"


def grid(title: str, *headers: str) -> Table:
    """An empty table in the house style: all columns but the first to the right; without headers no header row."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.show_header = any(headers)
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", header_style="dim", overflow="fold")
    return table


def score_text(score: Score | None) -> str:
    """A score with its standard error; percent where the metric is a share; `-` where nothing was measured."""
    if score is None or score.value is None:
        return "-"
    factor, unit, digits = _units(score.scale)
    error = "" if score.standard_error is None else f" ± {score.standard_error * factor:.{digits}f}"
    if not score.standard_error and score.low is not None and score.high is not None and score.low < score.high:
        # one row, or rows that are all alike, have no error to show, but an interval
        ends = f"{score.low * factor:.{digits}f} to {score.high * factor:.{digits}f}"
        return f"{score.value * factor:.{digits}f}{unit} ({ends})"
    return f"{score.value * factor:.{digits}f}{error}{unit}"


def contestants_table(report: EvaluationReport) -> Table:
    """One column per contestant: every metric ± standard error (n where rows are unscored), tokens, median latency."""
    contestants = report.contestants
    title = f"{report.rows} held-out {report.split} rows"
    table = grid(title, "", *(contestant.name for contestant in contestants))
    for name in dict.fromkeys(name for contestant in contestants for name in contestant.scores):
        table.add_row(_words(name), *(_of_rows(contestant.scores.get(name)) for contestant in contestants))
    if not any(contestant.timed for contestant in contestants):
        return table
    table.add_row("tokens per answer", *(f"{contestant.tokens_per_answer:.1f}" for contestant in contestants))
    latencies = (f"{contestant.latency_median_seconds * 1000:,.0f} ms" for contestant in contestants)
    table.add_row(f"latency, {report.concurrency} at once", *latencies)
    return table


def _of_rows(score: Score | None) -> str:
    """The score, and on how many rows where some could not be scored."""
    return score_text(score) + (f", n = {score.n}" if score is not None and score.unscored else "")


def comparisons_table(report: EvaluationReport, models: Collection[str]) -> Table:
    """One row per paired difference of `models` to another: its interval, its p alone and by Holm, the smallest
    difference that the rows find, and the rows won and lost.
    """
    title = f"Paired differences on the same rows, {report.confidence:.0%} intervals"
    table = grid(title, "", "metric", "difference", "interval", "p", "Holm p", "detectable", "won / lost")
    table.columns[1].justify = "left"
    for item in report.comparisons:
        if item.model not in models:
            continue
        factor, unit, digits = _units(report.contestant(item.model).scores[item.metric].scale)
        points = " points" if unit else ""
        table.add_row(
            f"{item.model} - {item.baseline}",
            _words(item.metric),
            f"{item.difference * factor:+.{digits}f}{points}",
            f"{item.low * factor:+.{digits}f} to {item.high * factor:+.{digits}f}",
            f"{item.p_value:.2g}",
            "-" if item.p_adjusted is None else f"{item.p_adjusted:.2g}",
            "-" if item.detectable is None else f"{item.detectable * factor:.{digits}f}",
            f"{item.won} / {item.lost}",
        )
    return table


def _units(scale: str) -> tuple[float, str, int]:
    """(factor, unit, digits) in which a metric of this scale is read."""
    if scale == "proportion":
        return 100.0, "%", 1
    return (1.0, "", 3) if scale == "share" else (1.0, "", 2)


def _words(name: str) -> str:
    return name.replace("_", " ")


def confusion_table(contestant: Contestant, most: int = 5) -> Table | None:
    """The pairs of labels that `contestant` confuses most; None when it confuses none."""
    wrong = [pair for pair in contestant.confusions if pair.predicted != pair.reference]
    if not wrong:
        return None
    table = grid(f"What {contestant.name} confuses most", "expected", "answered", "rows")
    for pair in sorted(wrong, key=lambda pair: -pair.count)[:most]:
        table.add_row(pair.reference, pair.predicted or "(no known label)", str(pair.count))
    table.columns[1].justify = "left"
    return table


def verdict_lines(decision: Decision) -> Iterable[Text]:
    """One line per verdict, then the outcome, coloured."""
    styles = dict(_STYLES)
    for verdict in decision.verdicts:
        yield Text.assemble((f"{verdict.outcome:<13}", styles[verdict.outcome]), f"{verdict.rule}: {verdict.reason}")
        if (waiver := decision.waiver_of(verdict)) is not None:
            yield Text.assemble(" " * 13, (waiver.text, "yellow"))
    yield Text.assemble("gate: ", (decision.outcome, f"bold {styles[decision.outcome]}"))


def dataset_table(manifest: DatasetManifest) -> Table:
    """Rows and tokens of each split."""
    table = grid(
        f"Dataset {manifest.digest[:12]}", "split", "rows", "tokens", "trained tokens", "longest row", "answers"
    )
    for name, split in manifest.splits.items():
        numbers = (split.rows, split.tokens, split.trained_tokens, split.longest)
        table.add_row(name, *(f"{number:,}" for number in numbers), str(len(split.labels) or "-"))
    return table


def ledger_lines(manifest: DatasetManifest) -> Iterable[str]:
    """Where every row went, and whether the rendering was proven."""
    ledger = manifest.ledger
    yield f"{ledger.rows_in:,} rows read, {ledger.rows_used:,} used, {ledger.rows_in - ledger.rows_used:,} dropped"
    for drop in ledger.drops:
        where = f" ({', '.join(drop.where)})" if drop.where else ""
        yield f"  {drop.rows:,} rows, {drop.tokens:,} tokens: {drop.reason}{where}"
    for source, part in ledger.sources.items() if len(ledger.sources) > 1 else ():
        yield f"  of {source}: {part.rows_in:,} rows read, {part.rows_used:,} used"
    held = sum(check.passed for check in manifest.proof.checks)
    yield f"rendering: {held} of {len(manifest.proof.checks)} checks held (training = evaluation = serving)"


def run_table(run: RunRecord) -> Table:
    """The main figures of a training run."""
    table = grid(f"Run {run.id}", "", "")
    share = run.trainable_parameters / max(run.total_parameters, 1)
    folded = run.effective_tokens / max(run.computed_tokens, 1)
    rows = (
        (
            "validation loss",
            f"{loss_text(run)} (step {run.best_step})",
        ),
        ("steps", f"{run.steps} in {run.seconds:.0f} s, {run.precision}"),
        ("tokens", f"{run.effective_tokens:,} effective, {run.computed_tokens:,} computed ({folded:.1f}x folded)"),
        ("trained parameters", f"{run.trainable_parameters:,} ({share:.2%})"),
        ("peak memory", f"{run.actual_peak_bytes / 1e9:.2f} GB (planned {run.predicted_peak_bytes / 1e9:.2f} GB)"),
        ("self-checks", f"{sum(check.passed for check in run.checks)} of {len(run.checks)} held"),
        ("folder", run.path),
    )
    for name, figure in (*rows[:1], *_preference_rows(run), *rows[1:]):
        table.add_row(name, figure)
    table.columns[1].justify = "left"
    return table


def _preference_rows(run: RunRecord) -> tuple[tuple[str, str], ...]:
    """The agreement with held-out preferences where it was measured."""
    found = run.held_out_preferences
    if found is None:
        return ()
    share = f"{found.accuracy:.1%} ± {found.standard_error:.1%}"
    return (("held-out preferences", f"{share} of {found.pairs} {found.split} pairs"),)
