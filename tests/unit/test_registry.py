"""Releases are immutable, versioned and copied; aliases move, remember and roll back."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import pytest

from tunesmith.errors import EvaluationError, ModelError, NotFound
from tunesmith.models.adapter import CONFIG_FILE, WEIGHTS_FILE, adapter_digest
from tunesmith.release.registry import open_registry, positions
from tunesmith.release.stage import release as release_stage
from tunesmith.settings import Settings
from tunesmith.store.values import read_value, write_value
from tunesmith.types.dataset import DatasetManifest, Ledger, RenderingProof
from tunesmith.types.decision import Decision, Verdict
from tunesmith.types.parity import PARITY_FILE, ParityCertificate
from tunesmith.types.recipe import ReleaseSpec
from tunesmith.types.release import AliasMove, Release
from tunesmith.types.report import EvaluationReport
from tunesmith.types.run import RunRecord


def make_adapter(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    (folder / CONFIG_FILE).write_text("{}")
    return folder


def make_release(adapter: Path, name: str = "disputes", run: str = "run-1") -> Release:
    digests = {field: field for field in ("base_digest", "template_digest", "dataset_digest", "report_digest")}
    return Release(
        name=name,
        base="base",
        adapter_digest=adapter_digest(adapter),
        decision_digest="d",
        outcome="pass",
        run=run,
        created="2026-01-01T00:00:00+00:00",
        **digests,
    )


@pytest.fixture
def settings(tmp_path, database_url):
    return Settings(home=tmp_path / "home", database_url=database_url)


@pytest.fixture
def registry(settings):
    opened = open_registry(settings)
    yield opened
    opened.close()


@pytest.fixture
def three_versions(registry, tmp_path):
    for index in (1, 2, 3):
        adapter = make_adapter(tmp_path / f"adapter-{index}", f"weights {index}".encode())
        registry.register(make_release(adapter), adapter)
    return registry


def test_versions_count_up_per_name(three_versions, tmp_path):
    adapter = make_adapter(tmp_path / "adapter-1", b"weights 1")
    other, added = three_versions.register(make_release(adapter, name="support"), adapter)
    assert (other.reference, added) == ("support@v1", True)
    assert [release.reference for release in three_versions.list()] == [
        "disputes@v1",
        "disputes@v2",
        "disputes@v3",
        "support@v1",
    ]


def test_the_same_content_is_the_same_version_whenever_it_is_registered(registry, tmp_path):
    adapter = make_adapter(tmp_path / "adapter")
    first, added = registry.register(make_release(adapter), adapter)
    later = make_release(adapter).model_copy(update={"created": "2027-07-07T00:00:00+00:00"})
    second, again = registry.register(later, adapter)
    assert (added, again) == (True, False)
    assert second == first


def test_a_release_keeps_its_own_adapter_and_evidence(registry, tmp_path):
    adapter = make_adapter(tmp_path / "run" / "adapter")
    evidence = Decision(report_digest="r", verdicts=())
    release, _ = registry.register(make_release(adapter), adapter, {"decision.json": evidence})
    shutil.rmtree(tmp_path / "run")
    kept = Path(registry.get("disputes@v1").adapter_path)
    assert adapter_digest(kept) == release.adapter_digest
    assert Decision.model_validate_json((kept.parent / "decision.json").read_text()) == evidence
    assert not list(kept.parent.parent.glob(".new-*"))


def test_a_changed_adapter_is_refused_and_leaves_nothing(registry, tmp_path):
    adapter = make_adapter(tmp_path / "adapter")
    release = make_release(adapter)
    make_adapter(adapter, b"tampered")
    with pytest.raises(ModelError, match="digest differs"):
        registry.register(release, adapter)
    assert registry.list() == ()
    assert not (tmp_path / "home" / "releases").exists()


def test_references(three_versions):
    newest = three_versions.get("disputes")
    assert newest.version == 3
    three_versions.move_alias("disputes", "stable", 1)
    three_versions.move_alias("disputes", "canary", 2)
    assert three_versions.get("disputes").version == 1
    assert three_versions.get("disputes@v2").version == 2
    assert three_versions.get("disputes:canary").version == 2
    assert three_versions.get(newest.identity()[:10]).version == 3
    assert three_versions.aliases("disputes") == {"canary": 2, "stable": 1}
    assert three_versions.aliases("nobody") == {}


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("dispute", "Did you mean 'disputes'?"),
        ("disputes@v9", "disputes@v3"),
        ("disputes:stabel", "Did you mean 'disputes:stable'?"),
        ("abcdef0", "There are: disputes."),
        ("", "There are: disputes."),
    ],
)
def test_unknown_references_name_what_there_is(three_versions, reference, hint):
    three_versions.move_alias("disputes", "stable", 1)
    with pytest.raises(NotFound) as caught:
        three_versions.get(reference)
    assert repr(reference) in caught.value.message
    assert hint in (caught.value.hint or "")


def test_an_empty_registry_says_how_to_fill_it(registry):
    with pytest.raises(NotFound, match="tunesmith run"):
        registry.get("disputes")


def test_an_alias_remembers_where_it_was(three_versions):
    assert three_versions.move_alias("disputes", "stable", 1) is True
    assert three_versions.move_alias("disputes", "stable", 1) is False
    three_versions.move_alias("disputes", "stable", 2)
    three_versions.move_alias("disputes", "stable", 3)
    assert three_versions.rollback("disputes", "stable").version == 2
    assert three_versions.rollback("disputes", "stable").version == 1
    with pytest.raises(NotFound, match="nothing to roll back to"):
        three_versions.rollback("disputes", "stable")
    moves = [(move.kind, move.version) for move in three_versions.history("disputes", "stable")]
    assert moves == [("move", 1), ("move", 2), ("move", 3), ("rollback", 2), ("rollback", 1)]


def test_moving_or_rolling_back_what_does_not_exist(three_versions):
    with pytest.raises(NotFound, match="disputes@v7"):
        three_versions.move_alias("disputes", "stable", 7)
    with pytest.raises(NotFound, match="disputes:stable"):
        three_versions.rollback("disputes", "stable")


def test_positions_is_a_stack():
    def moves(*steps: tuple[str, int]) -> list[AliasMove]:
        return [AliasMove(name="n", alias="a", kind=kind, version=version, moved="") for kind, version in steps]

    assert positions([]) == []
    assert positions(moves(("move", 1), ("move", 2), ("move", 3), ("rollback", 2))) == [1, 2]
    # back to 1 by hand after a rollback is a move like any other
    assert positions(moves(("move", 1), ("move", 2), ("rollback", 1), ("move", 2))) == [1, 2]


def register_one(settings: Settings, adapter: Path, run: str) -> None:
    registry = open_registry(settings)
    registry.register(make_release(adapter, run=run), adapter)
    registry.close()


def test_processes_that_register_at_once_get_different_versions(registry, settings, tmp_path):
    adapter = make_adapter(tmp_path / "adapter")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=register_one, args=(settings, adapter, f"run-{index}")) for index in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [release.version for release in registry.list()] == [1, 2]


def certificate_for(digest: str) -> ParityCertificate:
    return ParityCertificate(
        adapter_digest=digest,
        base_digest="b",
        template_digest="t",
        precision="float32",
        device="cpu",
        bound=0.01,
        readings=(),
        agreements=(),
    )


def story(tmp_path: Path, outcome: str) -> dict[str, object]:
    adapter = make_adapter(tmp_path / "run" / "adapter")
    proof = RenderingProof(template_digest="t", tokenizer_digest="k", checks=())
    ledger = Ledger(rows_in=0, rows_used=0, tokens_in=0, tokens_used=0)
    manifest = DatasetManifest(digest="data", sources=(), splits={}, ledger=ledger, proof=proof, system_prompt="Sort.")
    numbers = {name: 1 for name, field in RunRecord.model_fields.items() if field.annotation in (int, float)}
    run = RunRecord(
        id="disputes-1",
        name="disputes",
        path=str(tmp_path / "run"),
        base="base",
        base_digest="b",
        dataset_digest="data",
        template_digest="t",
        adapter_digest=adapter_digest(adapter),
        precision="float32",
        checks=(),
        **numbers,
    )
    write_value(tmp_path / "run" / PARITY_FILE, certificate_for(run.adapter_digest))
    report = EvaluationReport(dataset_digest="data", split="test", rows=0, labels=(), contestants=(), comparisons=())
    verdict = Verdict(rule="beats", outcome=outcome, reason="because")
    decision = Decision(report_digest=report.content_digest(), verdicts=(verdict,))
    return {"run": run, "report": report, "decision": decision, "manifest": manifest}


@pytest.mark.parametrize(("outcome", "moved"), [("pass", True), ("fail", False), ("inconclusive", False)])
def test_the_alias_moves_only_when_the_gate_passed(tmp_path, settings, registry, outcome, moved):
    release = release_stage(ReleaseSpec(name="disputes"), **story(tmp_path, outcome), settings=settings)
    assert (release.reference, release.outcome, release.system_prompt) == ("disputes@v1", outcome, "Sort.")
    assert registry.aliases("disputes") == ({"stable": 1} if moved else {})


def test_evidence_of_another_run_is_refused(tmp_path, settings):
    parts = story(tmp_path, "pass")
    parts["decision"] = Decision(report_digest="another", verdicts=())
    with pytest.raises(EvaluationError, match="the decision's report"):
        release_stage(ReleaseSpec(name="disputes"), **parts, settings=settings)


def test_the_certificate_is_part_of_the_evidence(tmp_path, settings):
    parts = story(tmp_path, "pass")
    release = release_stage(ReleaseSpec(name="disputes"), **parts, settings=settings)
    kept = read_value(Path(release.adapter_path).parent / PARITY_FILE, ParityCertificate)
    assert kept == certificate_for(release.adapter_digest)


@pytest.mark.parametrize("certificate", [None, certificate_for("of another adapter")])
def test_a_run_that_is_not_certified_is_not_released(tmp_path, settings, certificate):
    parts = story(tmp_path, "pass")
    place = tmp_path / "run" / PARITY_FILE
    place.unlink()
    if certificate is not None:
        write_value(place, certificate)
    with pytest.raises(EvaluationError, match="nothing certifies"):
        release_stage(ReleaseSpec(name="disputes"), **parts, settings=settings)
