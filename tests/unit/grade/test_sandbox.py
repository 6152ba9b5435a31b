"""The user's code cannot reach what is not its business, and cannot hang, kill or fill what grades it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tunesmith.grade import sandbox
from tunesmith.grade.grader import Answered, Sample, load_grader
from tunesmith.grade.sandbox import Called, Isolation, Limits

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="seccomp and Landlock are Linux's")


def call(body: str, *samples: dict[str, object], limits: Limits = Limits(timeout_seconds=5.0)) -> list[Called]:  # noqa: B008
    source = "def grade(sample, item):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    results, _ = asyncio.run(sandbox.run(source, [(sample, {"n": 2}) for sample in samples or ({},)], limits))
    return results


def test_scores_come_back_in_order() -> None:
    results = call("return len(sample['output_text']) / item['n']", {"output_text": "abc"}, {"output_text": ""})
    assert results == [Called(1.5, None, ""), Called(0.0, None, "")]


def test_no_call_sees_what_another_left_behind() -> None:
    body = "import builtins, os\nseen = hasattr(builtins, 'left')\nbuiltins.left = 1\nreturn seen"
    assert [result.score for result in call(body, {}, {}, {})] == [0.0, 0.0, 0.0]


def test_the_same_set_order_every_time() -> None:
    assert call("return hash('a') % 1000003") == call("return hash('a') % 1000003")


@pytest.mark.parametrize(
    ("body", "error", "detail"),
    [
        ("return 1 / 0", "raised", "ZeroDivisionError: division by zero (line 2 of the source)"),
        ("return 'good'", "value", "grade returned 'good', not a finite number"),
        ("return float('nan')", "value", "grade returned nan, not a finite number"),
        ("return None", "value", "grade returned None, not a finite number"),
        ("raise SystemExit(0)", "raised", "SystemExit: 0 (line 2 of the source)"),
        ("import os; os._exit(3)", "died", "exit code 3"),
        ("import ctypes; ctypes.string_at(0)", "died", "SIGSEGV"),
        ("return bytearray(3 << 30)[0]", "memory", "out of memory"),
        ("open('x', 'wb').write(bytes(20 << 20)); return 1", "raised", "File too large"),
        ("return [open('x', 'w') for _ in range(100)] and 1", "raised", "Too many open files"),
    ],
)
def test_failures_are_told(body: str, error: str, detail: str) -> None:
    (result,) = call(body)
    assert (result.score, result.error) == (None, error)
    assert detail in result.detail


@linux_only
@pytest.mark.parametrize(
    "body",
    [
        "import socket; socket.socket()",
        "import socket; socket.create_connection(('127.0.0.1', 1))",
        "import os; os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.kill(os.getppid(), 9)",
        "import threading; threading.Thread(target=print).start()",
        "open('/etc/passwd').read()",
        "open('/proc/self/environ').read()",
        f"open({str(Path(__file__))!r}).read()",
        "import os; os.listdir('/')",
        "open('/tmp/written-by-a-grader', 'w')",
        "open('../written-by-a-grader', 'w')",
        "import os; os.unlink('/dev/null')",
    ],
)
def test_what_is_forbidden_fails(body: str) -> None:
    (result,) = call(body + "\nreturn 1")
    assert (result.score, result.error) == (None, "raised")
    assert "Error" in result.detail


def test_the_temporary_folder_is_its_to_use_and_gone_afterwards() -> None:
    (result,) = call("open('x', 'w').write('12'); return float(open('x').read())")
    assert result.score == 12.0


def test_an_endless_call_is_ended_and_the_next_one_runs() -> None:
    body = "while sample['endless']: pass\nreturn 1"
    results = call(body, {"endless": True}, {"endless": False}, limits=Limits(timeout_seconds=2.0))
    assert [(result.score, result.error) for result in results] == [(None, "timeout"), (1.0, None)]


def test_the_server_s_environment_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    (result,) = call("import os; return 'A_SECRET' in os.environ")
    assert result.score == 0.0


def test_printing_does_not_disturb_the_result() -> None:
    (result,) = call("import os; print('{}'); os.write(1, b'x'); return 1")
    assert result.score == 1.0


def test_what_the_system_cannot_enforce_is_said() -> None:
    assert Isolation(files=True, calls=True).missing() is None
    assert "no Landlock" in str(Isolation(files=False, calls=True).missing())
    assert "no seccomp" in str(Isolation(files=True, calls=False).missing())


def test_what_it_enforces_is_tried_out() -> None:
    """The same as a call that grades is told."""
    assert (
        asyncio.run(sandbox.isolation())
        == asyncio.run(sandbox.run("def grade(sample, item): return 1", [({}, {})], Limits()))[1]
    )


def test_a_broken_sandbox_is_no_verdict_on_the_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "broken.py"
    program.write_text("raise SystemExit('boom')")
    monkeypatch.setattr(sandbox, "PROGRAM", program)
    grader = load_grader({"type": "python", "source": "def grade(sample, item):\n    return 1"})
    (grade,) = asyncio.run(grader.grade([Answered(Sample(output_text=""), {})]))
    assert (grade.score, grade.error) == (None, "python_grader_server_error")
    assert "boom" in grade.detail
