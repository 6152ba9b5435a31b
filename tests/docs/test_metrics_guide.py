"""The tables of docs/metrics.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tunesmith import plugins
from tunesmith.evaluate.metric import FOLDER, load_metric
from tunesmith.evaluate.metric_table import END, START, metric_table, with_table
from tunesmith.evaluate.power import detectable_by_mcnemar
from tunesmith.evaluate.statistics import wilson_interval
from tunesmith.types.fields import MetricSpec

GUIDE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def cells(name: str) -> list[list[str]]:
    """Rows of the table between two marks, without its head."""
    (block,) = re.findall(rf"<!-- {name}: start -->\n(.*?)<!-- {name}: end -->", GUIDE, flags=re.S)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().splitlines()[2:]]


def test_the_table_of_metrics_is_that_of_the_plugins() -> None:
    assert with_table(GUIDE) == GUIDE, "run: python -m tunesmith.evaluate.metric_table docs/metrics.md"
    assert GUIDE.count(START) == GUIDE.count(END) == 1


@pytest.mark.parametrize("name", plugins.names(FOLDER))
def test_every_metric_says_how_it_is_reckoned(name: str) -> None:
    (line,) = [line for line in metric_table().splitlines() if line.startswith(f"| `{name}` |")]
    _, better, says, how, _ = line.strip("| ").split(" | ")
    assert better in ("higher", "lower")
    assert len(says) > 20
    assert len(how) > 20


def test_the_example_of_metrics_can_be_loaded() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.S)
    specs = [MetricSpec.model_validate(each) for each in YAML(typ="safe").load(block)["metrics"]]
    assert [load_metric(spec).better for spec in specs] == ["higher", "higher", "lower", "lower"]


def test_the_budgets_are_wilsons() -> None:
    rows = cells("budgets")
    assert [int(row[0].replace(",", "")) for row in rows] == [50, 100, 200, 500, 1000, 2000, 5000]
    for size, *widths in rows:
        number = int(size.replace(",", ""))
        intervals = [wilson_interval(share * number, number, 0.95) for share in (0.5, 0.8, 0.95)]
        assert widths == [f"± {50 * (high - low):.1f}" for low, high in intervals]


def test_the_detectable_differences_are_mcnemars() -> None:
    for size, *shown in cells("detectable"):
        number = int(size.replace(",", ""))
        found = [detectable_by_mcnemar(flips * number, 0, number, 0.95) or 0.0 for flips in (0.05, 0.1, 0.2)]
        assert shown == [f"{100 * each:.1f}" for each in found]
