"""Fixtures of the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

RECIPE = """\
name: n
prepare:
  sources:
    - path: rows.jsonl
train:
  method: {name: lora, rank: 4}
release:
  name: n
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe whose training options can be varied; its method stands in line 6."""
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"
