"""What starting a process costs: the engine does not load peft, and peft does not load PyTorch's compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, os, sys
from tunesmith.garbage import search_rarely
search_rarely()
def loaded(): return [name for name in ("peft", "bitsandbytes", "torch._inductor.compile_fx") if name in sys.modules]
import tunesmith.engine.backends._engine
engine = loaded()
import tunesmith.models.peft_library
print(json.dumps([engine, loaded(), "TORCHDYNAMO_DISABLE" in os.environ]))
"""


def test_the_engine_loads_no_peft_and_peft_no_compiler():
    shown = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout) == [[], ["peft", "bitsandbytes"], False]
    assert shown.stderr == ""


def test_peft_is_imported_in_one_place():
    found = [file for file in (ROOT / "tunesmith").rglob("*.py") if "from peft" in file.read_text(encoding="utf-8")]
    assert found == [ROOT / "tunesmith/models/peft_library.py"]
