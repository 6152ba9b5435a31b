"""The report of a dataset: counted from its stored rows, a page that needs nothing, no text becomes markup."""

from __future__ import annotations

import base64
import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.unit.prepare.reported import DROPPED, EVIL, EXAMPLES, FirstWord, Words, store
from tunesmith.prepare.report.charts import length_chart
from tunesmith.prepare.report.overlap import overlaps
from tunesmith.prepare.report.profile import profile
from tunesmith.prepare.report.sampling import Smallest
from tunesmith.prepare.report.story import story
from tunesmith.prepare.report.tables import length_rows
from tunesmith.prepare.report.texts import asked
from tunesmith.prepare.report.tokens import masked_rows
from tunesmith.prepare.report.write import DataReport, gather, write_report
from tunesmith.store.datasets import StoredDataset
from tunesmith.types.dataset import DroppedRow


@pytest.fixture
def stored(tmp_path: Path) -> StoredDataset:
    return store(tmp_path)


@pytest.fixture
def written(stored: StoredDataset) -> DataReport:
    return write_report(stored, Words(), title=f"bank {EVIL}", limit=64, near=FirstWord())


class Page(HTMLParser):
    """Which elements are left open, which addresses are named, and the texts of marked elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("href", "src") and value]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_one_pass_gathers_everything(stored):
    found = profile(stored)
    assert found.lengths == {"train": {10: 1, 12: 2, 40: 1}, "test": {8: 1, 9: 1, 11: 1}, "dropped": {20: 1, 99: 1}}
    assert found.languages == {"train": {"en": 2}, "test": {"de": 1}}
    assert found.licences == {"CC0": 2}
    (email,) = found.findings
    assert (email.kind, email.found, email.rows, email.places) == ("email", 3, 2, {"train": 1, "dropped": 1})
    assert [each.line for each in email.examples] == [2, 8]
    assert found.dropped == {row.reason: (row,) for row in DROPPED}
    assert {row.id for row in found.samples["train"]} == {row.id for row in EXAMPLES["train"]}
    assert found.agreement is not None
    assert found.agreement.judged_twice == 2


def test_lengths_as_a_reader_wants_them():
    (row,) = length_rows({"train": {10: 90, 20: 5, 30: 5}})
    assert row == ("train", 100, 10, 20, 30)


def test_the_three_numbers_of_every_two_splits(stored):
    """In test: line 7 stands in train as it is, line 5 after normalising; `my` and `pay` open rows of both."""
    (pair,) = overlaps(stored, FirstWord(), asked).pairs
    assert (pair.held, pair.other, pair.rows) == ("test", "train", 3)
    assert (pair.exact, pair.normalised, pair.near) == (1, 2, 3)


def test_clusters_come_largest_first_with_their_rows(stored):
    found = overlaps(stored, FirstWord(), asked)
    assert (found.compared, found.sizes) == (7, {2: 1, 4: 1})
    largest, second = found.clusters
    assert (largest.rows, largest.splits) == (4, {"train": 2, "test": 2})
    assert largest.examples["bank.csv:5"] == "My  CARD is lost"
    assert second.examples == {"bank.csv:3": "pay me back", "bank.csv:7": "pay me back"}


def test_without_a_step_no_near_duplicates_are_claimed(stored):
    found = overlaps(stored, None, asked)
    assert (found.pairs[0].normalised, found.pairs[0].near, found.clusters) == (2, None, ())


def test_the_mask_shows_which_tokens_are_learned():
    (row,) = masked_rows("train", EXAMPLES["train"][:1], Words())
    assert [(stretch.trained, stretch.tokens) for stretch in row.stretches] == [
        (False, ("my", "card", "is", "lost")),
        (True, ("card",)),
    ]
    assert (row.place, row.tokens, row.trained, row.hidden) == ("bank.csv:1", 5, 1, 0)


def test_shared_prompts_are_the_verdict(stored):
    told = story(gather(stored, Words(), title="bank", limit=64, near=None))
    assert told.tone == "fail"
    assert told.headline == "7 of 9 rows are used; 2 were left out, each for a named reason."
    assert any("2 of 3 rows of test in train" in verdict.text for verdict in told.verdicts)
    assert any("2 of 2 labels have fewer than 10" in verdict.text for verdict in told.verdicts)
    assert any("email in 1 row." in verdict.text for verdict in told.verdicts)


def test_the_page_is_whole_and_loads_nothing(written):
    text = written.page.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert "<script" not in text
    assert {address for address in page.addresses if not address.startswith("#")} == {
        address for address in page.addresses if address.startswith("data:application/jsonl")
    }
    assert html.escape(EVIL, quote=False)[:20] in text
    for anchor in (address[1:] for address in page.addresses if address.startswith("#")):
        assert f'id="{anchor}"' in text
    assert {address for address in page.addresses if address.startswith("#")} >= {
        "#clusters",
        "#agreement",
        "#findings",
    }


def test_all_dropped_rows_can_be_downloaded_from_the_page(written, stored):
    (address,) = re.findall(r'href="data:application/jsonl;base64,([^"]+)"', written.page.read_text(encoding="utf-8"))
    lines = base64.b64decode(address).decode().splitlines()
    assert [DroppedRow.model_validate_json(line) for line in lines] == DROPPED


def test_too_much_to_carry_stands_beside_the_page(stored, monkeypatch):
    monkeypatch.setattr("tunesmith.prepare.report.write._MOST_DOWNLOAD", 10)
    text = write_report(stored, Words(), title="bank", limit=64).page.read_text(encoding="utf-8")
    assert 'href="dropped.jsonl"' in text


def test_the_card_opens_with_what_hubs_read(written):
    text = written.card.read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    fields = YAML(typ="safe").load(front)
    assert fields["pretty_name"] == f"bank {EVIL}"
    assert fields["license"] == "CC0"
    assert fields["language"] == ["de", "en"]
    assert fields["configs"][0]["data_files"] == [
        {"split": "train", "path": "train.jsonl"},
        {"split": "test", "path": "test.jsonl"},
    ]
    assert "<script" not in body
    assert "9 rows in = 7 used + 2 left out" in body
    assert "| test | train | 1 | 2 | 3 |" in body
    assert "alpha" in body


def test_the_adjudication_list_stands_beside(written):
    assert written.adjudication is not None
    (line,) = written.adjudication.read_text(encoding="utf-8").splitlines()
    assert '"ann":"refund","ben":"card"' in line


def test_a_report_that_is_there_is_left_alone(written, stored):
    before = written.page.stat().st_mtime_ns
    assert write_report(stored, Words(), title="other", limit=1) == written
    assert written.page.stat().st_mtime_ns == before


def test_a_limit_far_away_is_not_drawn():
    assert 'class="limit"' in length_chart({"train": {90: 1}}, 100)
    assert 'class="limit"' not in length_chart({"train": {90: 1}}, 1000)
    assert length_chart({}, 100) == ""


def test_the_sample_does_not_depend_on_the_order():
    rows = [(f"{value:016x}", value) for value in (9, 3, 7, 1, 3)]
    found = []
    for order in (rows, rows[::-1]):
        smallest = Smallest[int](3)
        for digest, value in order:
            smallest.add(digest, value)
        found.append(smallest.found())
    assert found == [(1, 3, 3), (1, 3, 3)]
