"""Tables of the values that stages return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunesmith.types.dataset import DatasetManifest
    from tunesmith.types.decision import Decision
    from tunesmith.types.report import Comparison, Contestant, EvaluationReport, Score
    from tunesmith.types.run import RunRecord

__all__ = [
    "comparison_lines",
    "confusion_table",
    "contestants_table",
    "dataset_table",
    "grid",
    "ledger_lines",
    "run_table",
    "score_text",
    "verdict_lines",
]

_STYLES = (("pass", "green"), ("fail", "red"), ("inconclusive", "yellow"))
_PERCENT = frozenset({"accuracy", "exact_match", "invalid_rate", "macro_f1"})


def grid(title: str, *headers: str) -> Table:
    """An empty table in the house style: numbers (all columns but the first) to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", header_style="dim", overflow="fold")
    return table


def score_text(score: Score | None) -> str:
    """A score with its standard error; percent where the metric is a share; `-` where nothing was measured."""
    if score is None or score.value is None:
        return "-"
    scale, unit, digits = (100.0, "%", 1) if score.metric in _PERCENT else (1.0, "", 2)
    error = "" if score.standard_error is None else f" ± {score.standard_error * scale:.{digits}f}"
    return f"{score.value * scale:.{digits}f}{error}{unit}"


def contestants_table(report: EvaluationReport) -> Table:
    """One row per contestant: every metric ± standard error, tokens per answer, median latency."""
    metrics = list(dict.fromkeys(name for contestant in report.contestants for name in contestant.scores))
    title = f"Answers to {report.rows} held-out {report.split} rows (± standard error)"
    table = grid(title, "", *(name.replace("_", " ") for name in metrics), "tokens/answer", "latency")
    for contestant in report.contestants:
        scores = [score_text(contestant.scores.get(name)) for name in metrics]
        latency = f"{contestant.latency_median_seconds * 1000:.0f} ms"
        style = "bold" if contestant.adapter_digest else ""
        table.add_row(contestant.name, *scores, f"{contestant.tokens_per_answer:.1f}", latency, style=style)
    return table


def comparison_lines(comparisons: Iterable[Comparison]) -> Iterable[str]:
    """One sentence per paired difference."""
    for item in comparisons:
        scale, unit = (100.0, " points") if item.metric in _PERCENT else (1.0, "")
        low, high = item.low * scale, item.high * scale
        yield (
            f"{item.model} - {item.baseline}, {item.metric.replace('_', ' ')}: {item.difference * scale:+.1f}{unit} "
            f"({item.confidence:.0%} interval {low:+.1f} to {high:+.1f}, p = {item.p_value:.2g}, {item.test}, "
            f"{item.won} won, {item.lost} lost of {item.n})"
        )


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
            f"{run.start_validation_loss:.4f} -> {run.best_validation_loss:.4f} (step {run.best_step})",
        ),
        ("steps", f"{run.steps} in {run.seconds:.0f} s, {run.precision}"),
        ("tokens", f"{run.effective_tokens:,} effective, {run.computed_tokens:,} computed ({folded:.1f}x folded)"),
        ("trained parameters", f"{run.trainable_parameters:,} ({share:.2%})"),
        ("peak memory", f"{run.actual_peak_bytes / 1e9:.2f} GB (planned {run.predicted_peak_bytes / 1e9:.2f} GB)"),
        ("self-checks", f"{sum(check.passed for check in run.checks)} of {len(run.checks)} held"),
        ("folder", run.path),
    )
    for name, figure in rows:
        table.add_row(name, figure)
    table.columns[1].justify = "left"
    return table
