"""The gate's verdicts, and the signed waivers of verdicts that a person answers for."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value, digest_json

__all__ = ["WAIVED", "Decision", "Outcome", "Overall", "Verdict", "Waiver"]

Outcome = Literal["pass", "fail", "inconclusive"]
Overall = Literal["pass", "pass (waived)", "fail", "inconclusive"]
WAIVED: Literal["pass (waived)"] = "pass (waived)"


class Verdict(Value):
    """One rule's judgement, with the figures that led to it in one plain sentence."""

    rule: str
    outcome: Outcome
    reason: str

    @property
    def name(self) -> str:
        """The rule's name: `beats` of `beats(tuned over base in accuracy)`."""
        return self.rule.partition("(")[0]


class Waiver(Value):
    """Somebody (`by`) answers for one verdict that is no pass, and says why (`reason`).

    `verdict_digest` is that of the very verdict (`Decision.digest_of`): another outcome, or other figures, need another
    waiver. `created` is ISO 8601 in UTC; `until` is the last day (ISO date, UTC) on which it counts, '' for no end.
    `signature` is made with the key of the home over all other fields (`tunesmith.release.waivers`).
    """

    rule: str
    reason: str
    by: str
    created: str
    until: str = ""
    verdict_digest: str
    signature: str = ""

    @property
    def text(self) -> str:
        """Who answers for it, since when, until when, and why, in one sentence."""
        end = f", until {self.until}" if self.until else ""
        return f"Waived by {self.by} on {self.created[:10]}{end}: {self.reason}"

    def signed_digest(self) -> str:
        """SHA-256 of all that the signature is over."""
        return digest_json(self.model_dump(mode="json", exclude={"signature"}))


class Decision(Value):
    """All verdicts, and the waivers that stand for some of them.

    The release passes only when every rule passes or is waived. Whether a waiver's signature is true and its time not
    over is found before it is put here (`tunesmith.release.waivers`).
    """

    report_digest: str
    verdicts: tuple[Verdict, ...]
    waivers: tuple[Waiver, ...] = ()

    def digest_of(self, verdict: Verdict) -> str:
        """SHA-256 of `verdict` on this evaluation."""
        return digest_json([self.report_digest, verdict.model_dump(mode="json")])

    def waiver_of(self, verdict: Verdict) -> Waiver | None:
        """The waiver that stands for `verdict`, if there is one."""
        digest = self.digest_of(verdict)
        return next((waiver for waiver in self.waivers if waiver.verdict_digest == digest), None)

    @property
    def outcome(self) -> Overall:
        """fail if a rule failed and is not waived, else inconclusive if one is undecided and not waived, else pass."""
        outcomes = {verdict.outcome for verdict in self.verdicts if self.waiver_of(verdict) is None}
        if "fail" in outcomes:
            return "fail"
        if "inconclusive" in outcomes:
            return "inconclusive"
        waived = any(verdict.outcome != "pass" and self.waiver_of(verdict) for verdict in self.verdicts)
        return WAIVED if waived else "pass"

    @property
    def passed(self) -> bool:
        """Whether the release may go out: every rule passed or is waived."""
        return self.outcome in ("pass", WAIVED)
