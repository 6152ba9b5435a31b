"""The report of a run as JSON, Markdown and one self-contained HTML page. Start at `report.write`."""

from __future__ import annotations

__all__: list[str] = []
