"""An ablation as a table (CSV, Markdown), a plot (SVG) and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from markupsafe import Markup

from tunesmith.gate.rule import shown
from tunesmith.page.frame import Frame, upright
from tunesmith.page.markdown import escaped, table
from tunesmith.page.svg import tag, text
from tunesmith.page.wording import duration, name, size
from tunesmith.search.ablation import Ablation, Cell
from tunesmith.types.base import digest_json
from tunesmith.types.report import Score

__all__ = ["AblationFiles", "csv_text", "heads", "label_of", "markdown_text", "plot", "row_of", "write"]

FOLDER = "ablations"
ROW = 26.0
LETTER = 7.2
PLOT = 440.0
STYLE = (
    "svg{background:#fff}text{font:12.5px system-ui,sans-serif;fill:#1b1e24}.tick{fill:#5d6675}.value{font-weight:600}"
    ".grid{stroke:#e5e5e0}.whisker{stroke:#2f55d4;stroke-width:2.4}.dot{fill:#2f55d4}.best .dot{fill:#0e8a5f}"
    ".best .whisker{stroke:#0e8a5f}.base{stroke:#d9932b;stroke-width:1.6;stroke-dasharray:5 4}"
)


FIGURES: Mapping[str, str] = MappingProxyType(
    {
        "win_rate": "win_rate",
        "validation_loss": "validation_loss",
        "mean_tokens_per_answer": "tokens_per_answer",
        "median_latency_seconds": "latency",
        "parameters": "parameters",
        "adapter_bytes": "adapter_bytes",
        "peak_bytes": "peak_bytes",
        "training_seconds": "seconds",
        "run_id": "run_id",
        "failure": "failure",
    }
)
"""Column of the CSV -> field of a cell. No metric has one of these names: `latency` is a metric, a 95th percentile."""


class AblationFiles(NamedTuple):
    """Where the forms of one ablation lie."""

    csv: Path
    markdown: Path
    svg: Path
    json: Path


def write(ablation: Ablation, home: Path) -> AblationFiles:
    """Write all into home/ablations, in a folder by the name and the runs."""
    digest = digest_json([ablation.metric, [cell.run_id for cell in ablation.cells]])
    place = home / FOLDER / f"{ablation.name}-{digest[:12]}"
    place.mkdir(parents=True, exist_ok=True)
    files = AblationFiles(*(place / f"ablation.{ending}" for ending in ("csv", "md", "svg", "json")))
    texts = (csv_text(ablation), markdown_text(ablation), plot(ablation), ablation.model_dump_json(indent=1))
    for path, content in zip(files, texts, strict=True):
        draft = path.with_name(path.name + ".partial")
        draft.write_text(content, encoding="utf-8")
        draft.replace(path)
    return files


def csv_text(ablation: Ablation) -> str:
    """One line for each combination, figures whole: each option, each score with its ends, loss, times, memory."""
    options, metrics = _options(ablation), _metrics(ablation)
    stream = io.StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    scores = [column for metric in metrics for column in (metric, f"{metric}_low", f"{metric}_high")]
    lines.writerow([*options, *scores, *FIGURES])
    for cell in ablation.cells:
        found = [_score_of(cell, metric) for metric in metrics]
        ends = [end for each in found for end in ((each.value, each.low, each.high) if each else (None,) * 3)]
        lines.writerow(
            [
                *(_text(cell.options[field]) for field in options),
                *ends,
                *(getattr(cell, each) for each in FIGURES.values()),
            ]
        )
    return stream.getvalue()


def heads(ablation: Ablation) -> tuple[str, ...]:
    """The heads of the table for people."""
    options = (field.removeprefix("train.").removeprefix("method.") for field in _options(ablation))
    scores = (name(metric) for metric in _metrics(ablation))
    return (*options, *scores, "Win rate", "Loss", "Median latency", "Parameters", "Training memory", "Training")


def row_of(ablation: Ablation, cell: Cell) -> tuple[str, ...]:
    """One combination as people read it; what failed says so."""
    options = tuple(_text(cell.options[field]) for field in _options(ablation))
    if cell.failure:
        return (*options, "failed", *("-",) * (len(heads(ablation)) - len(options) - 1))
    scores = tuple(_score(cell, metric) for metric in _metrics(ablation))
    figures = (
        "-" if cell.win_rate is None else f"{cell.win_rate:.1%}",
        "-" if cell.validation_loss is None else f"{cell.validation_loss:.4f}",
        duration(cell.latency or 0.0),
        f"{cell.parameters or 0:,}",
        size(cell.peak_bytes or 0),
        duration(cell.seconds or 0.0),
    )
    return (*options, *scores, *figures)


def markdown_text(ablation: Ablation) -> str:
    """The table, what it was measured on, and what failed."""
    cells = ablation.cells
    best = "" if ablation.best is None else f" The best is {escaped(label_of(cells[ablation.best]))}."
    said = (
        f"{escaped(name(ablation.metric))} and all other scores on {ablation.rows} validation rows; the test split was "
        f"not looked at. Win rate: rows answered better than by the prompted base, equal ones half.{best}"
    )
    failures = [f"- {escaped(label_of(cell))} failed: {escaped(cell.failure)}" for cell in cells if cell.failure]
    rows = table(heads(ablation), (row_of(ablation, cell) for cell in cells))
    return "\n\n".join([f"# Ablation of {escaped(ablation.name)}", said, rows, *failures]) + "\n"


def label_of(cell: Cell) -> str:
    """The options in one line."""
    return ", ".join(f"{field.removeprefix('train.')}={_text(value)}" for field, value in cell.options.items())


def plot(ablation: Ablation) -> str:
    """The chosen metric of every combination with its interval, and the prompted base's, as a picture of its own."""
    drawn = [(place, cell) for place, cell in enumerate(ablation.cells) if _value(cell, ablation.metric) is not None]
    scores = [cell.scores[ablation.metric] for _, cell in drawn]
    base = ablation.prompted.scores[ablation.metric].value
    scale = ablation.prompted.scores[ablation.metric].scale
    ends = [end for each in scores for end in (each.low, each.high, each.value) if end is not None]
    high = 1.0 if scale != "number" else 1.05 * max([*ends, base or 0.0], default=1.0)
    left = 24 + LETTER * max([len(label_of(cell)) for _, cell in drawn], default=0)
    width = left + PLOT + 84
    frame = Frame(left, 30, left + PLOT, 40 + ROW * max(1, len(drawn)))
    x = frame.x(0.0, high)
    parts = [
        text(0, 16, f"{name(ablation.metric)} on {ablation.rows} validation rows", class_="value"),
        text(0, frame.bottom + 46, _legend(ablation), class_="tick"),
    ]
    parts += [upright(frame, x(high * part / 4), shown(high * part / 4, scale)) for part in range(5)]
    if base is not None:
        parts.append(tag("line", x1=x(base), x2=x(base), y1=frame.top, y2=frame.bottom, class_="base"))
        parts.append(text(x(base) + 5, frame.top + 8, "prompted base"))
    for line, (place, cell) in enumerate(drawn):
        mark = "best" if place == ablation.best else "cell"
        parts.append(_whisker(cell, cell.scores[ablation.metric], (frame, x), frame.top + 22 + line * ROW, mark))
    height = frame.bottom + 56
    picture = tag(
        "svg", tag("style", Markup(STYLE)), *parts,
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width:g} {height:g}", width=width, height=height,
    )  # fmt: skip
    return f"{picture}\n"


def _legend(ablation: Ablation) -> str:
    """What the marks mean."""
    confidence = ablation.prompted.scores[ablation.metric].confidence
    return f"Line: {confidence:.0%} interval; green: the best; dashed: the base with its prompt"


def _whisker(cell: Cell, score: Score, place: tuple[Frame, Callable[[float], float]], y: float, mark: str) -> Markup:
    frame, x = place
    value = score.value or 0.0
    return tag(
        "g",
        text(frame.left - 12, y + 4, label_of(cell), "end"),
        tag(
            "line",
            x1=x(value if score.low is None else score.low),
            x2=x(value if score.high is None else score.high),
            y1=y,
            y2=y,
            class_="whisker",
        ),
        tag("circle", cx=x(value), cy=y, r=5, class_="dot"),
        text(frame.right + 12, y + 4, shown(value, score.scale), class_="value"),
        class_=mark,
    )


def _value(cell: Cell, metric: str) -> float | None:
    score = cell.scores.get(metric)
    return None if score is None else score.value


def _score(cell: Cell, metric: str) -> str:
    score = _score_of(cell, metric)
    if score is None or score.value is None:
        return "-"
    span = "" if score.low is None or score.high is None else (
        f" ({shown(score.low, score.scale)} to {shown(score.high, score.scale)})"
    )  # fmt: skip
    return shown(score.value, score.scale) + span


def _metrics(ablation: Ablation) -> list[str]:
    """All metrics: those of the rows, and those of suites as SUITE: METRIC."""
    suites = (f"{suite}: {metric}" for suite, scores in ablation.prompted_suites.items() for metric in scores)
    return [*ablation.prompted.scores, *suites]


def _score_of(cell: Cell, metric: str) -> Score | None:
    suite, colon, own = metric.rpartition(": ")
    return cell.suites.get(suite, {}).get(own) if colon else cell.scores.get(metric)


def _options(ablation: Ablation) -> list[str]:
    return list(ablation.cells[0].options)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
