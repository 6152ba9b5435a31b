"""The model card and the checklist: filled from evidence, read by the hub's client, honest where nothing is known."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.models.adapter import CONFIG_FILE, WEIGHTS_FILE, adapter_digest
from tunesmith.release.papers import write_card
from tunesmith.release.registry import Registry
from tunesmith.release.stage import release as release_stage
from tunesmith.release.waivers import WaiverWish, standing, waiver_for
from tunesmith.settings import Settings
from tunesmith.store.home_key import KEY_FILE, home_key
from tunesmith.store.values import write_value
from tunesmith.types.dataset import DatasetManifest, Ledger, RenderingProof, SourceFile, SplitStatistics
from tunesmith.types.decision import Decision, Verdict
from tunesmith.types.gate import GateFacts, Leak
from tunesmith.types.parity import PARITY_FILE, Agreement, ParityCertificate
from tunesmith.types.recipe import ReleaseSpec
from tunesmith.types.release import Release
from tunesmith.types.report import ClassScore, Comparison, Contestant, EvaluationReport, Score
from tunesmith.types.run import RunRecord

EVIL = "<script>alert(1)</script> | [a](http://evil.example)"
NOW = datetime.now(UTC)
RECIPE = """
prepare:
  max_tokens: 256
  steps: [{name: pii, action: redact}]
train: {epochs: %d}
"""


def score(metric: str, value: float, **fields: Any) -> Score:
    return Score(
        metric=metric, value=value, n=80, standard_error=0.02, low=value - 0.04, high=value + 0.04, **fields
    )  # fmt: skip


def contestant(name: str, digest: str | None, value: float, *scores: Score) -> Contestant:
    found = {"accuracy": score("accuracy", value), **{each.metric: each for each in scores}}
    classes = (ClassScore(label=EVIL, precision=0.5, recall=0.4, f1=0.44, support=9),) if digest else ()
    return Contestant(
        name=name, model="m", adapter_digest=digest, system_prompt=True, scores=found, classes=classes,
        tokens_per_answer=2, latency_median_seconds=0.1, predictions=(),
    )  # fmt: skip


def evaluation(digest: str) -> EvaluationReport:
    attacks = score("attack_success", 0.05, better="lower")
    red_team = EvaluationReport(
        dataset_digest="s" * 64, split="red_team", rows=80, labels=(), comparisons=(),
        contestants=(contestant("prompt_only", None, 0.5, attacks), contestant("tuned", digest, 0.9, attacks)),
    )  # fmt: skip
    pair = Comparison(
        metric="accuracy", model="tuned", baseline="prompt_only", difference=0.4, low=0.3, high=0.5, confidence=0.95,
        p_value=0.001, test="McNemar exact", n=80, won=40, lost=8,
    )  # fmt: skip
    return EvaluationReport(
        dataset_digest="data", split="test", rows=80, labels=("a", EVIL), comparisons=(pair,),
        contestants=(contestant("prompt_only", None, 0.5), contestant("tuned", digest, 0.9)),
        suites={"red_team": red_team},
    )  # fmt: skip


def made(tmp_path: Path, version: int, *, waive: bool = False) -> dict[str, Any]:
    """A run's folder with all that a release is made of."""
    place = tmp_path / f"run-{version}"
    adapter = place / "adapter"
    adapter.mkdir(parents=True)
    (adapter / WEIGHTS_FILE).write_bytes(f"weights {version}".encode())
    (adapter / CONFIG_FILE).write_text("{}")
    digest = adapter_digest(adapter)
    ledger = Ledger(rows_in=100, rows_used=100, tokens_in=1, tokens_used=1)
    splits = {
        name: SplitStatistics(rows=rows, tokens=1, trained_tokens=1, longest=1)
        for name, rows in (("train", 20 + version), ("test", 80 - version))
    }
    manifest = DatasetManifest(
        digest="data", ledger=ledger, splits=splits, system_prompt="Sort.", findings={"pii": {"email": 3}},
        sources=(SourceFile(path="tickets.csv", digest="f" * 64, format="columns", rows=100),),
        proof=RenderingProof(template_digest="t", tokenizer_digest="k", checks=()),
    )  # fmt: skip
    numbers = {name: 1 for name, field in RunRecord.model_fields.items() if field.annotation in (int, float)}
    numbers |= {"seconds": 60, "processor_seconds": 720}
    texts = dict.fromkeys(("base_digest", "template_digest"), "b") | {"dataset_digest": "data", "precision": "float32"}
    run = RunRecord(
        id=f"tickets-{version}", name="tickets", path=str(place), base="org/base", adapter_digest=digest, checks=(),
        **texts, **numbers,
    )  # fmt: skip
    (place / "recipe.yaml").write_text(RECIPE % version)
    (place / "environment.json").write_text(json.dumps({"python": "3.12", "packages": {"torch": "2.13"}}))
    leak = Leak(where="test", rows=80, exact=0, normalised=0, near=2)
    facts = GateFacts(leaks=(leak,), licences={"MIT": 20, "": 1}, adapter_bytes=2_000_000, trained_parameters=1)
    write_value(place / "facts.json", facts)
    agreement = Agreement(reader="server", prompts=1, tokens=1, logprobs=1, largest_difference=0.001)
    certificate = ParityCertificate(
        adapter_digest=digest, base_digest="b", template_digest="t", precision="float32", device="cpu", bound=0.01,
        readings=(), agreements=(agreement,),
    )  # fmt: skip
    write_value(place / PARITY_FILE, certificate)
    report = evaluation(digest)
    verdict = Verdict(rule="citations(x)", outcome="inconclusive", reason=f"about 40 more rows {EVIL}")
    decision = Decision(report_digest=report.content_digest(), verdicts=(verdict,))
    if waive:
        key, wish = home_key(tmp_path / "home"), WaiverWish("citations", "the pilot needs it", "Ann Lee")
        signed = waiver_for(decision, wish, key, NOW)
        decision = standing(decision, (signed,), key, NOW)[0]
    return {"run": run, "report": report, "decision": decision, "manifest": manifest}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def released(tmp_path: Path, settings: Settings, version: int, *, waive: bool = False) -> Release:
    return release_stage(ReleaseSpec(name="tickets"), **made(tmp_path, version, waive=waive), settings=settings)


def test_the_hubs_own_client_reads_the_scores_back(tmp_path: Path, settings: Settings) -> None:
    release = released(tmp_path, settings, 1)
    card = ModelCard.load(Path(release.adapter_path).with_name("README.md"))
    assert (card.data.base_model, card.data.library_name, card.data.model_name) == ("org/base", "peft", "tickets@v1")
    found = {(each.dataset_name, each.metric_name): each for each in card.data.eval_results}
    assert set(found) == {
        ("tickets (test split)", "accuracy"), ("suite red_team", "accuracy"), ("suite red_team", "attack_success"),
    }  # fmt: skip
    accuracy = found["tickets (test split)", "accuracy"]
    assert accuracy.metric_value == 0.9
    assert accuracy.metric_args["n"] == 80
    assert accuracy.metric_args["interval"] == pytest.approx([0.86, 0.94])
    assert accuracy.dataset_revision == "data"


def test_the_card_says_what_is_known_and_no_data_becomes_markup(tmp_path: Path, settings: Settings) -> None:
    release = released(tmp_path, settings, 1)
    text = Path(release.adapter_path).with_name("README.md").read_text()
    assert "<script" not in text
    assert "](http" not in text
    plain = text.replace("\\", "")
    for said in (
        "Gate: **inconclusive**", "90% (95%: 86 to 94%; n 80)", "+0.4", "20 MIT, 1 name none", "3 email",
        "60 s on the clock and 720 s of processor time", "About 2 Wh", "assumes 10 W", "2.00 MB", "train.epochs",
        "first version of its name", "Trained on rows of at most 256 tokens", "| red_team | attack_success | 5% (95%",
        "Weakest labels:", "No: Secrets were looked for",
    ):  # fmt: skip
        assert said in plain, said


def test_the_checklist_is_derived_box_by_box(tmp_path: Path, settings: Settings) -> None:
    release = released(tmp_path, settings, 1)
    folder = Path(release.adapter_path).parent
    boxes = {box["question"]: box for box in json.loads((folder / "checklist.json").read_text())["boxes"]}
    states = {question: box["state"] for question, box in boxes.items()}
    assert states == {
        "Every row of data is accounted for": "yes",
        "Training and serving render the same tokens": "yes",
        "Every training row names a licence": "no",
        "Personal data was looked for": "yes",
        "Secrets were looked for": "no",
        "No evaluated row asks what a training row asks": "no",
        "The run learned, by its self-checks": "not known",
        "What serves the adapter computes what was trained": "yes",
        "It was evaluated on rows that were not trained on": "yes",
        "It was compared with the prompted base": "yes",
        "The gate passed": "no",
        "Every waiver is signed and in force": "yes",
        "Attacks and refusals were measured": "yes",
        "Forgetting was measured on general questions": "no",
        "The run can be repeated from what is stored": "yes",
        "A person has read answers of this model": "not known",
        "There is a version to roll back to": "no",
    }
    assert boxes["No evaluated row asks what a training row asks"]["because"].startswith("2 of 80 rows of test")
    page = (folder / "checklist.md").read_text()
    assert f"{sum(state == 'yes' for state in states.values())} yes, 6 no, 2 not known." in page


def test_the_second_version_tells_what_changed(tmp_path: Path, settings: Settings) -> None:
    released(tmp_path, settings, 1)
    text = Path(released(tmp_path, settings, 2).adapter_path).with_name("README.md").read_text().replace("\\", "")
    assert "Against tickets@v1" in text
    assert "| train.epochs | 1 | 2 |" in text
    assert "| training rows | 21 | 22 |" in text
    assert "| accuracy | 0.9 (n 80) | 0.9 (n 80) |" in text


def test_a_waived_release_goes_out_and_says_who_answers(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = released(tmp_path, settings, 1, waive=True)
    assert release.outcome == "pass (waived)"
    registry = Registry(settings.home)
    assert registry.aliases("tickets") == {"stable": 1}
    monkeypatch.setenv("TUNESMITH_HOME", str(settings.home))
    shown = CliRunner().invoke(app, ["models", "tickets"]).stdout
    assert "Waived by Ann Lee" in shown
    assert "signed by this home" in shown
    card = CliRunner().invoke(app, ["models", "tickets", "--card"]).stdout.replace("\\", "")
    assert "the pilot needs it" in card
    # A key that is not the one that signed: the waiver counts no longer, and every paper says so.
    (settings.home / KEY_FILE).write_text("00" * 32)
    assert "does not count: its signature" in CliRunner().invoke(app, ["models", "tickets"]).stdout
    papers = write_card(release, registry, settings.home)
    registry.close()
    assert "DOES NOT COUNT" in papers.card
    assert {box.question: box.state for box in papers.checklist.boxes}["Every waiver is signed and in force"] == "no"


def test_a_forged_waiver_is_not_released(tmp_path: Path, settings: Settings) -> None:
    parts = made(tmp_path, 1, waive=True)
    forged = parts["decision"].waivers[0].model_copy(update={"by": "Somebody Else"})
    parts["decision"] = parts["decision"].model_copy(update={"waivers": (forged,)})
    with pytest.raises(RuntimeError, match="the waiver of citations"):
        release_stage(ReleaseSpec(name="tickets"), **parts, settings=settings)


def test_a_release_without_evidence_has_a_card_that_knows_nothing(tmp_path: Path, settings: Settings) -> None:
    adapter = made(tmp_path, 1)["run"].path + "/adapter"
    digests = dict.fromkeys(
        ("base", "base_digest", "template_digest", "dataset_digest", "report_digest", "decision_digest"), "x"
    )
    draft = Release(
        name="bare", adapter_digest=adapter_digest(Path(adapter)), outcome="not evaluated", run="r", created="2026",
        **digests,
    )  # fmt: skip
    registry = Registry(settings.home)
    papers = write_card(registry.register(draft, Path(adapter))[0], registry, settings.home)
    registry.close()
    assert papers.card.count("Not known") >= 6
    assert papers.checklist.counted("yes") == 0
    assert ModelCard(papers.card).data.eval_results is None
