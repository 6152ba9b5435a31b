"""The endpoints below /v1/tunesmith that show what lies in the server's home: releases, datasets, runs."""

from __future__ import annotations

__all__: list[str] = []
