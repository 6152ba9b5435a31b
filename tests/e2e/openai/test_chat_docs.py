"""The examples of docs/api/chat.md run as they stand."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

CHAPTER = Path(__file__).parents[3] / "docs" / "api" / "chat.md"


def test_the_examples_run(server: Any) -> None:
    examples = re.findall(r"```python\n(.*?)```", CHAPTER.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 2
    output = io.StringIO()
    names = {"__name__": "example", "url": server.url, "key": server.key}
    with contextlib.redirect_stdout(output):
        exec(compile("\n".join(examples), str(CHAPTER), "exec", dont_inherit=True), names)
    assert re.match(r"kind='(late|lost)'", output.getvalue())
