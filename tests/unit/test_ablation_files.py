"""The forms of an ablation: no two columns of one name, whiskers that reach 0, labels that have room."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from io import StringIO

from tunesmith.search.ablation import Ablation, Cell
from tunesmith.search.ablation_files import csv_text, heads, plot
from tunesmith.types.report import Contestant, Score

SVG = "{http://www.w3.org/2000/svg}"
OPTIONS = {
    "train.learning_rate": 0.0001,
    "train.method.rank": 16,
    "train.method.alpha": 32,
    "train.method.dropout": 0.05,
    "train.objective.label_smoothing": 0.1,
}


def score(metric: str, value: float, low: float, high: float) -> Score:
    return Score(metric=metric, value=value, n=20, standard_error=0.05, low=low, high=high, scale="proportion")


def ablation() -> Ablation:
    scores = {"accuracy": score("accuracy", 0.05, 0.0, 0.2), "latency": score("latency", 0.9, 0.8, 1.0)}
    prompted = Contestant(
        name="prompt_only", model="m", adapter_digest=None, system_prompt=True, scores=scores, tokens_per_answer=3.0,
        latency_median_seconds=0.1, predictions=(),
    )  # fmt: skip
    cell = Cell(options=OPTIONS, run_id="r", scores=scores, latency=0.25, seconds=7.0, tokens_per_answer=3.0)
    return Ablation(name="a", metric="accuracy", better="higher", rows=20, prompted=prompted, cells=(cell,), best=0)


def test_a_metric_and_a_figure_do_not_share_a_column() -> None:
    head, line = csv.reader(StringIO(csv_text(ablation())))
    assert len(set(head)) == len(head) == len(line)
    found = dict(zip(head, line, strict=True))
    assert (found["latency"], found["median_latency_seconds"], found["training_seconds"]) == ("0.9", "0.25", "7.0")
    assert len(set(heads(ablation()))) == len(heads(ablation()))


def test_an_interval_that_ends_at_0_is_drawn_to_0() -> None:
    picture = ElementTree.fromstring(plot(ablation()))
    lines = [line for line in picture.iter(f"{SVG}line") if line.get("class") == "whisker"]
    first_grid = min(float(line.get("x1", "0")) for line in picture.iter(f"{SVG}line") if line.get("class") == "grid")
    assert [float(line.get("x1", "0")) for line in lines] == [first_grid]


def test_a_long_label_has_room() -> None:
    picture = ElementTree.fromstring(plot(ablation()))
    label = next(each for each in picture.iter(f"{SVG}text") if (each.text or "").startswith("learning_rate="))
    assert float(label.get("x", "0")) >= 6.5 * len(label.text or "")


def test_the_plot_says_what_its_marks_mean_inside_its_frame() -> None:
    picture = ElementTree.fromstring(plot(ablation()))
    legend = next(each for each in picture.iter(f"{SVG}text") if (each.text or "").startswith("Line: 95% interval"))
    assert float(legend.get("y", "0")) < float(picture.get("height", "0"))
    assert 6.5 * len(legend.text or "") < float(picture.get("width", "0"))
