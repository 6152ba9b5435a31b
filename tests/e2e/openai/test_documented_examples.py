"""The Python in the documentation of the API runs, from top to bottom, against a server."""

from __future__ import annotations

import re
from pathlib import Path

import openai
import pytest

DOCS = Path(__file__).parents[3] / "docs" / "api"


@pytest.mark.parametrize("name", ["access", "fine_tuning", "graders", "embeddings", "moderations", "evals", "webhooks"])
def test_the_example_runs(client: openai.OpenAI, name: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text(), re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), f"{name}.md", "exec"), {"client": client})
