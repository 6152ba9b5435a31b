"""Waivers: signed, for one verdict, for a time; and the key that signs them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tunesmith.errors import NotFound, RecipeError, TunesmithError
from tunesmith.gate.stage import exit_code
from tunesmith.release.waivers import WaiverWish, fault_of, standing, waiver_for
from tunesmith.store.home_key import KEY_FILE, home_key
from tunesmith.types.decision import Decision, Outcome, Verdict, Waiver

KEY = bytes(range(32))
NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
WISH = WaiverWish("latency_p95", "the canary takes it", "Ann Lee", "2026-03-20")


def decision(outcome: Outcome = "fail", reason: str = "2.4 s", report: str = "r1") -> Decision:
    verdicts = (
        Verdict(rule="beats(tuned over base in accuracy)", outcome="pass", reason="12 points"),
        Verdict(rule="latency_p95(tuned latency_p95 at most 2)", outcome=outcome, reason=reason),
    )
    return Decision(report_digest=report, verdicts=verdicts)


def waived(found: Decision, wish: WaiverWish = WISH, now: datetime = NOW) -> Decision:
    return standing(found, (waiver_for(found, wish, KEY, NOW),), KEY, now)[0]


@pytest.mark.parametrize("outcome", ["fail", "inconclusive"])
def test_a_waived_gate_passes_and_says_so(outcome: Outcome) -> None:
    assert decision(outcome).outcome == outcome
    found = waived(decision(outcome))
    assert (found.outcome, found.passed, exit_code(found.outcome)) == ("pass (waived)", True, 0)
    assert found.waivers[0].rule == "latency_p95(tuned latency_p95 at most 2)"
    assert found.waivers[0].created == "2026-03-14T12:00:00+00:00"
    assert Decision.model_validate_json(found.model_dump_json()) == found


def test_a_waiver_of_one_rule_leaves_the_others() -> None:
    found = decision().model_copy(
        update={"verdicts": (*decision().verdicts, Verdict(rule="size(x)", outcome="inconclusive", reason="?"))}
    )
    assert waived(found).outcome == "inconclusive"


@pytest.mark.parametrize(
    "later", [decision("inconclusive"), decision(reason="2.9 s"), decision(report="r2"), decision("pass")]
)
def test_a_waiver_does_not_carry_over_to_another_outcome_figure_or_evaluation(later: Decision) -> None:
    signed = waiver_for(decision(), WISH, KEY, NOW)
    found, said = standing(later, (signed,), KEY, NOW)
    assert found.waivers == ()
    assert "the verdict is another one now" in said[0]


@pytest.mark.parametrize(
    "change",
    [{"reason": "no reason"}, {"by": "Bob"}, {"until": "2030-01-01"}, {"until": ""}, {"verdict_digest": "f" * 64}]
    + [{"signature": ""}, {"signature": "00" * 32}, {"rule": "size(x)"}, {"created": "2020-01-01T00:00:00+00:00"}],
)
def test_a_changed_waiver_is_forged(change: dict[str, str]) -> None:
    signed = waiver_for(decision(), WISH, KEY, NOW)
    assert fault_of(signed, KEY, NOW) == ""
    forged = signed.model_copy(update=change)
    assert "signature" in fault_of(forged, KEY, NOW)
    found, said = standing(decision(), (forged,), KEY, NOW)
    assert (found.outcome, len(said)) == ("fail", 1)


def test_another_home_did_not_sign_it() -> None:
    assert "not that of this home" in fault_of(waiver_for(decision(), WISH, KEY, NOW), bytes(32), NOW)


def test_a_waiver_counts_to_the_end_of_its_last_day() -> None:
    signed = waiver_for(decision(), WISH, KEY, NOW)
    assert fault_of(signed, KEY, datetime(2026, 3, 20, 23, 59, tzinfo=UTC)) == ""
    assert fault_of(signed, KEY, datetime(2026, 3, 21, tzinfo=UTC)) == "it ended on 2026-03-20"
    assert waived(decision(), now=datetime(2026, 3, 21, tzinfo=UTC)).outcome == "fail"


def test_the_last_waiver_of_a_verdict_stands() -> None:
    signed = [waiver_for(decision(), WISH._replace(reason=reason), KEY, NOW) for reason in ("first", "second")]
    found, said = standing(decision(), tuple(signed), KEY, NOW)
    assert ([each.reason for each in found.waivers], said) == (["second"], [])


def test_what_cannot_be_waived_is_refused() -> None:
    with pytest.raises(NotFound, match="Did you mean 'latency_p95'"):
        waiver_for(decision(), WISH._replace(rule="latency_p99"), KEY, NOW)
    with pytest.raises(NotFound, match="nothing to waive"):
        waiver_for(decision(), WISH._replace(rule="beats"), KEY, NOW)
    twice = decision().model_copy(
        update={"verdicts": (*decision().verdicts, Verdict(rule="latency_p95(x)", outcome="fail", reason="?"))}
    )
    with pytest.raises(NotFound, match="several rules"):
        waiver_for(twice, WISH, KEY, NOW)
    assert waiver_for(twice, WISH._replace(rule="latency_p95(x)"), KEY, NOW).rule == "latency_p95(x)"
    with pytest.raises(RecipeError) as caught:
        waiver_for(decision(), WaiverWish("latency_p95", " ", "", "soon"), KEY, NOW)
    assert [problem.field for problem in caught.value.problems] == ["--reason", "--by", "--until"]
    with pytest.raises(RecipeError, match="2026-03-13 is over"):
        waiver_for(decision(), WISH._replace(until="2026-03-13"), KEY, NOW)


def test_a_decision_of_before_there_were_waivers_is_read() -> None:
    old = Decision.model_validate({"report_digest": "r", "verdicts": []})
    assert (old.outcome, old.waivers) == ("pass", ())


def test_the_key_of_a_home_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    key = home_key(tmp_path / "home")
    assert (len(key), home_key(tmp_path / "home")) == (32, key)
    path = tmp_path / "home" / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [KEY_FILE]
    assert home_key(tmp_path / "other") != key
    path.write_text("no key")
    with pytest.raises(TunesmithError, match="holds no signing key"):
        home_key(tmp_path / "home")


def test_a_waiver_with_unknown_fields_is_none() -> None:
    signed = waiver_for(decision(), WISH, KEY, NOW)
    with pytest.raises(ValueError, match="extra"):
        Waiver.model_validate({**signed.model_dump(), "force": True})
