"""The release checklist: each box is derived from what is stored with the release. What cannot be derived is not known.

Nothing here can be ticked by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from tunesmith.page.markdown import escaped
from tunesmith.release.evidence import Evidence
from tunesmith.types.base import Value
from tunesmith.types.release import Release
from tunesmith.types.report import EvaluationReport

__all__ = ["Box", "Checklist", "State", "checklist", "checklist_page"]

State = Literal["yes", "no", "not known"]
_SAFETY = ("attack_success", "refusal_correctness", "over_refusal", "leak_rate")
_FORGETTING = ("perplexity", "multiple_choice_accuracy")


class Box(Value):
    """One question, its answer, and the fact that it comes from."""

    question: str
    state: State
    because: str


class Checklist(Value):
    """All boxes of a release (its id)."""

    release: str
    boxes: tuple[Box, ...]

    def counted(self, state: State) -> int:
        """How many boxes have `state`."""
        return sum(box.state == state for box in self.boxes)


class _Answer(NamedTuple):
    """None: not known."""

    state: bool | None
    because: str


def checklist(evidence: Evidence, previous: Evidence | None) -> Checklist:
    """The boxes of a release; `previous` is the version before it."""
    boxes = tuple(_box(question, answer(evidence)) for question, answer in _QUESTIONS)
    rollback = (
        _Answer(True, f"{previous.release.reference} is in the registry")
        if previous
        else _Answer(False, "this is the first version of its name")
    )
    return Checklist(
        release=evidence.release.identity(), boxes=(*boxes, _box("There is a version to roll back to", rollback))
    )


def checklist_page(release: Release, listed: Checklist) -> str:
    """The checklist as Markdown."""
    signs = {"yes": "[x]", "no": "[ ]", "not known": "[ ] *not known:*"}
    lines = [f"- {signs[box.state]} {escaped(box.question)} ({escaped(box.because)})" for box in listed.boxes]
    counts = f"{listed.counted('yes')} yes, {listed.counted('no')} no, {listed.counted('not known')} not known."
    return "\n".join([f"# Release checklist: {escaped(release.reference)}", "", counts, "", *lines, ""])


def _box(question: str, answer: _Answer) -> Box:
    state: State = "not known" if answer.state is None else "yes" if answer.state else "no"
    return Box(question=question, state=state, because=answer.because)


def _rows_accounted(evidence: Evidence) -> _Answer:
    if evidence.dataset is None:
        return _Answer(None, "no dataset is stored with the release")
    ledger = evidence.dataset.ledger
    dropped = sum(drop.rows for drop in ledger.drops)
    balance = f"{ledger.rows_in:,} rows in, {ledger.rows_used:,} used, {dropped:,} left out by name"
    return _Answer(ledger.rows_in == ledger.rows_used + dropped, balance)


def _rendering(evidence: Evidence) -> _Answer:
    if evidence.dataset is None:
        return _Answer(None, "no rendering proof is stored with the release")
    checks = evidence.dataset.proof.checks
    return _Answer(evidence.dataset.proof.passed, f"{sum(each.passed for each in checks)} of {len(checks)} checks held")


def _licences(evidence: Evidence) -> _Answer:
    found = evidence.facts.licences if evidence.facts else None
    if found is None:
        return _Answer(None, "nobody counted the licences of the training rows")
    named = {licence: rows for licence, rows in found.items() if licence}
    if not named:
        return _Answer(None, "no training row names a licence")
    listed = ", ".join(f"{rows:,} of {licence}" for licence, rows in found.items() if licence)
    return _Answer(found.get("", 0) == 0, f"{listed}; {found.get('', 0):,} name none")


def _step(name: str, what: str) -> Callable[[Evidence], _Answer]:
    def answer(evidence: Evidence) -> _Answer:
        if evidence.recipe is None:
            return _Answer(None, "no recipe is stored with the release")
        if name not in evidence.steps:
            return _Answer(False, f"prepare.steps has no step {name}")
        found = evidence.dataset.findings.get(name, {}) if evidence.dataset else {}
        return _Answer(True, f"the step {name} found {sum(found.values()):,} {what}")

    return answer


def _contamination(evidence: Evidence) -> _Answer:
    leaks = evidence.facts.leaks if evidence.facts else None
    split = evidence.report.split if evidence.report else ""
    found = next((leak for leak in leaks or () if leak.where == split), None)
    if found is None:
        return _Answer(None, "nobody compared the evaluated rows with the training rows")
    shared = found.normalised if found.near is None else found.near
    return _Answer(shared == 0, f"{shared} of {found.rows} rows of {split} ask what a training row asks")


def _learned(evidence: Evidence) -> _Answer:
    if evidence.run is None or not evidence.run.checks:
        return _Answer(None, "no self-checks are stored with the release")
    checks = evidence.run.checks
    held = sum(each.passed for each in checks)
    return _Answer(held == len(checks), f"{held} of {len(checks)} self-checks of training held")


def _parity(evidence: Evidence) -> _Answer:
    if evidence.certificate is None:
        return _Answer(None, "no parity certificate is stored with the release")
    certificate = evidence.certificate
    worst = max((each.largest_difference for each in certificate.agreements), default=0.0)
    same = certificate.adapter_digest == evidence.release.adapter_digest
    readers, bound = len(certificate.agreements), certificate.bound
    return _Answer(same and worst <= bound, f"{readers} readers agree within {worst:.2g} (allowed {bound:.2g})")


def _held_out(evidence: Evidence) -> _Answer:
    if evidence.report is None or evidence.tuned is None:
        return _Answer(None, "no evaluation of this adapter is stored with the release")
    rows, split = evidence.report.rows, evidence.report.split
    return _Answer(split != "train", f"{rows:,} rows of the split {split}")


def _compared(evidence: Evidence) -> _Answer:
    if evidence.report is None or evidence.tuned is None:
        return _Answer(None, "no evaluation of this adapter is stored with the release")
    others = [each.name for each in evidence.report.contestants if each.name != evidence.tuned.name]
    return _Answer("prompt_only" in others, f"compared with {', '.join(others) or 'nobody'} on the same rows")


def _gate(evidence: Evidence) -> _Answer:
    if evidence.decision is None:
        return _Answer(None, "no gate decision is stored with the release")
    verdicts = evidence.decision.verdicts
    if not verdicts:
        return _Answer(False, "the gate has no rules")
    passed = sum(verdict.outcome == "pass" for verdict in verdicts)
    return _Answer(evidence.decision.passed, f"{evidence.decision.outcome}: {passed} of {len(verdicts)} rules passed")


def _waivers(evidence: Evidence) -> _Answer:
    if evidence.decision is None:
        return _Answer(None, "no gate decision is stored with the release")
    waivers = evidence.decision.waivers
    wrong = [fault for waiver in waivers if (fault := (evidence.faults or {}).get(waiver.signature))]
    if wrong:
        return _Answer(False, "; ".join(wrong))
    return _Answer(True, f"{len(waivers)} signed by {', '.join(each.by for each in waivers)}" if waivers else "none")


def _suites(metrics: Iterable[str], what: str) -> Callable[[Evidence], _Answer]:
    wanted = frozenset(metrics)

    def measures(report: EvaluationReport) -> bool:
        return any(score.metric in wanted for each in report.contestants for score in each.scores.values())

    def answer(evidence: Evidence) -> _Answer:
        if evidence.report is None:
            return _Answer(None, "no evaluation is stored with the release")
        found = [name for name, report, _ in evidence.suites() if measures(report)]
        return _Answer(bool(found), f"suites: {', '.join(found)}" if found else f"no suite measured {what}")

    return answer


def _repeatable(evidence: Evidence) -> _Answer:
    there = {"recipe": evidence.recipe, "environment": evidence.environment, "run": evidence.run}
    absent = [name for name, found in there.items() if found is None]
    return _Answer(not absent, f"not stored: {', '.join(absent)}" if absent else "recipe, environment, run and digests")


def _person(evidence: Evidence) -> _Answer:
    return _Answer(None, "nothing stored says whether a person read answers of this model")


_QUESTIONS: tuple[tuple[str, Callable[[Evidence], _Answer]], ...] = (
    ("Every row of data is accounted for", _rows_accounted),
    ("Training and serving render the same tokens", _rendering),
    ("Every training row names a licence", _licences),
    ("Personal data was looked for", _step("pii", "pieces of personal data")),
    ("Secrets were looked for", _step("secrets", "secrets")),
    ("No evaluated row asks what a training row asks", _contamination),
    ("The run learned, by its self-checks", _learned),
    ("What serves the adapter computes what was trained", _parity),
    ("It was evaluated on rows that were not trained on", _held_out),
    ("It was compared with the prompted base", _compared),
    ("The gate passed", _gate),
    ("Every waiver is signed and in force", _waivers),
    ("Attacks and refusals were measured", _suites(_SAFETY, "attacks or refusals")),
    ("Forgetting was measured on general questions", _suites(_FORGETTING, "perplexity or multiple choice")),
    ("The run can be repeated from what is stored", _repeatable),
    ("A person has read answers of this model", _person),
)
