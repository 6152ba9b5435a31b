"""Waivers: somebody answers for a verdict that is no pass. Signed with the key of the home (HMAC-SHA256, RFC 2104).

The signature is over the rule, the reason, the name, the time, the last day and the digest of the very verdict, so none
of them can be changed afterwards, and the waiver of one outcome does not count for another.
"""

from __future__ import annotations

import hmac
from datetime import UTC, date, datetime
from typing import NamedTuple

from tunesmith.errors import NotFound, Problem, RecipeError, nearest
from tunesmith.types.decision import Decision, Verdict, Waiver

__all__ = ["WaiverWish", "check_wish", "fault_of", "standing", "waiver_for"]


class WaiverWish(NamedTuple):
    """What somebody wants to waive: a rule's name or its whole text, why, who answers for it, and the last day it
    counts (ISO date, '' for no end).
    """

    rule: str
    reason: str
    by: str
    until: str = ""


def waiver_for(decision: Decision, wish: WaiverWish, key: bytes, now: datetime) -> Waiver:
    """The signed waiver of the verdict that `wish` names.

    Raises:
        NotFound: no rule of that name, or several; or its verdict is a pass.
        RecipeError: no reason or name, or a last day that is none or over.
    """
    check_wish(wish, now)
    verdict = _named(decision, wish.rule)
    if verdict.outcome == "pass":
        raise NotFound(f"{verdict.rule} passed; there is nothing to waive.", hint="Waive rules that did not pass.")
    waiver = Waiver(
        rule=verdict.rule,
        reason=wish.reason.strip(),
        by=wish.by.strip(),
        created=now.astimezone(UTC).isoformat(timespec="seconds"),
        until=wish.until,
        verdict_digest=decision.digest_of(verdict),
    )
    return waiver.model_copy(update={"signature": _signature(waiver, key)})


def fault_of(waiver: Waiver, key: bytes, now: datetime) -> str:
    """Why `waiver` does not count: its signature is not this home's, or its time is over; '' when it counts."""
    if not hmac.compare_digest(waiver.signature.encode(), _signature(waiver, key).encode()):
        return "its signature is not that of this home, or its text was changed"
    if waiver.until and now.astimezone(UTC).date() > date.fromisoformat(waiver.until):
        return f"it ended on {waiver.until}"
    return ""


def standing(decision: Decision, waivers: tuple[Waiver, ...], key: bytes, now: datetime) -> tuple[Decision, list[str]]:
    """`decision` with those of `waivers` that count for it (the last of each verdict), and what to say of the rest."""
    wanted = {decision.digest_of(verdict) for verdict in decision.verdicts if verdict.outcome != "pass"}
    kept: dict[str, Waiver] = {}
    said: list[str] = []
    for waiver in waivers:
        fault = fault_of(waiver, key, now)
        if not fault and waiver.verdict_digest not in wanted:
            fault = "the verdict is another one now"
        if fault:
            said.append(f"The waiver of {waiver.rule} by {waiver.by} does not count: {fault}.")
        else:
            kept[waiver.verdict_digest] = waiver
    return decision.model_copy(update={"waivers": tuple(kept.values())}), said


def _signature(waiver: Waiver, key: bytes) -> str:
    return hmac.digest(key, waiver.signed_digest().encode(), "sha256").hex()


def check_wish(wish: WaiverWish, now: datetime) -> None:
    """Raises RecipeError with all that keeps the wish from being signed, whatever the verdict."""
    problems = [
        Problem("is empty", field=option, fix=f"{option} {what}")
        for option, value, what in (("--reason", wish.reason, "TEXT"), ("--by", wish.by, "NAME"))
        if not value.strip()
    ]
    try:
        if wish.until and date.fromisoformat(wish.until) < now.astimezone(UTC).date():
            problems.append(Problem(f"{wish.until} is over", field="--until", fix="name a day to come"))
    except ValueError:
        problems.append(Problem(f"{wish.until!r} is no date", field="--until", fix="write YYYY-MM-DD"))
    if problems:
        raise RecipeError(problems, message="The waiver cannot be signed:")


def _named(decision: Decision, rule: str) -> Verdict:
    found = [verdict for verdict in decision.verdicts if rule in (verdict.name, verdict.rule)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = "; ".join(repr(verdict.rule) for verdict in found)
        raise NotFound(f"The gate has several rules {rule!r}.", hint=f"Name one by its whole text: {listed}")
    names = [verdict.name for verdict in decision.verdicts]
    close = nearest(rule, names)
    meant = f"Did you mean {close!r}? " if close else ""
    raise NotFound(f"The gate has no rule {rule!r}.", hint=f"{meant}It has: {', '.join(names) or 'none'}")
