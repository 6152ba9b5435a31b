"""The look of every report: one HTML page that needs nothing but itself, its plots as SVG, tables in Markdown."""

from __future__ import annotations

__all__: list[str] = []
