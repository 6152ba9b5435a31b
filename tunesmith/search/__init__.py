"""Better training options, sought on the validation split: searches and ablations. They never see the test split."""

from __future__ import annotations

__all__: list[str] = []
