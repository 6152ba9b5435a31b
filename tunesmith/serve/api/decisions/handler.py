"""Decisions as they lie in the home. Like all that lies there they belong to the server, so they are for admins."""

from __future__ import annotations

from pathlib import Path

from tunesmith.decide.kept import all_decisions, find_decision
from tunesmith.errors import NotFound
from tunesmith.serve.api.decisions.protocol import DecisionEntry
from tunesmith.serve.pages import Page, page_of
from tunesmith.serve.platform import Platform

__all__ = ["decision", "decisions", "page_file"]


def decisions(platform: Platform, limit: int, after: str | None) -> Page[DecisionEntry]:
    """Every decision, the newest first."""
    found = [DecisionEntry(id=each.id, report=each.report) for each in all_decisions(platform.settings.home)]
    return page_of(found[::-1], limit, after, lambda entry: entry.id)


def decision(platform: Platform, identity: str) -> DecisionEntry:
    """One decision by its id. Raises NotFound."""
    found = find_decision(platform.settings.home, identity)
    return DecisionEntry(id=found.id, report=found.report)


def page_file(platform: Platform, identity: str) -> Path:
    """The HTML page of a decision. Raises NotFound when there is none."""
    page = find_decision(platform.settings.home, identity).path / "decision.html"
    if not page.is_file():
        raise NotFound(f"The decision {identity!r} has no page: run tunesmith decide again.")
    return page
