"""Killing training processes on purpose and comparing what they end with.

A round is one training run in a home of its own that is killed (SIGKILL) at several random steps and started again
after each. The first round is not killed at all; the adapters of all others must equal its adapter byte for byte.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tunesmith.errors import TrainingFailed
from tunesmith.types.base import Value, digest_files

__all__ = ["DrillReport", "Kill", "Round", "Scene", "drill"]

KILLS_PER_ROUND = 5
ATTEMPTS_PER_ROUND = 3
TAIL_BYTES = 1 << 16


class Kill(Value):
    """One SIGKILL: the step that was asked for, the last step done when it came, and the checkpoint it left (0: none).

    `struck` is False when the process had ended before the signal reached it.
    """

    wanted_step: int
    last_step: int
    checkpoint_step: int
    struck: bool


class Round(Value):
    """One run, its kills in order, and the SHA-256 of the adapter it ended with."""

    kills: tuple[Kill, ...]
    adapter_digest: str
    seconds: float


class DrillReport(Value):
    """`seed` makes the kills' steps repeatable. `steps` is the run's length."""

    seed: int
    steps: int
    undisturbed: Round
    rounds: tuple[Round, ...]

    @property
    def kills(self) -> int:
        """Signals that struck a training process."""
        return sum(kill.struck for each in self.rounds for kill in each.kills)

    @property
    def different(self) -> int:
        """Rounds that ended with other bytes than the undisturbed run."""
        return sum(each.adapter_digest != self.undisturbed.adapter_digest for each in self.rounds)


class Scene(NamedTuple):
    """What is drilled and where: the command that trains, and a scratch folder. `models` is shared by all homes.

    Known from the undisturbed run are `step_seconds`, and `settled` (the run folder's name, the content of its
    plan.json), by which all rounds are computed in the same way: what a run decides once from the memory it finds free
    is not what a drill is about.
    """

    command: Sequence[str]
    scratch: Path
    models: Path
    step_seconds: float = 0.0
    settled: tuple[str, str] | None = None


def drill(scene: Scene, kills: int, seed: int, say: Callable[[str], None]) -> DrillReport:
    """Kill runs of `scene` until `kills` signals struck, and compare the ends.

    Raises TrainingFailed when a run fails by itself, or ends too fast to be killed.
    """
    say("training once undisturbed")
    undisturbed = _round(scene, "undisturbed", (), random.Random(seed))
    scene, steps = _timed(scene)
    rounds: list[Round] = []
    chance = random.Random(seed)
    struck = 0
    for number in range(ATTEMPTS_PER_ROUND * -(-kills // KILLS_PER_ROUND)):
        if struck >= kills:
            break
        count = min(KILLS_PER_ROUND, kills - struck, steps)
        wanted = sorted(chance.sample(range(1, steps + 1), count))
        say(f"round {number + 1}: killing after steps {', '.join(map(str, wanted))}")
        rounds.append(_round(scene, f"round-{number + 1}", wanted, chance))
        struck += sum(kill.struck for kill in rounds[-1].kills)
    if struck < kills:
        raise TrainingFailed(
            f"Only {struck} of {kills} kills struck: the runs end too fast.", hint="Train longer: raise train.epochs."
        )
    return DrillReport(seed=seed, steps=steps, undisturbed=undisturbed, rounds=tuple(rounds))


def _round(scene: Scene, name: str, wanted: Sequence[int], chance: random.Random) -> Round:
    """Train in a new home, kill at the wanted steps, and let the last process end."""
    home = scene.scratch / name
    home.mkdir()
    (home / "models").symlink_to(scene.models, target_is_directory=True)
    if scene.settled:
        run, plan = scene.settled
        (home / "runs" / run).mkdir(parents=True)
        (home / "runs" / run / "plan.json").write_text(plan)
    began = time.perf_counter()
    kills = []
    for step in wanted:
        process = _start(scene, home)
        try:
            kills.append(_kill(process, home, step, chance.random() * scene.step_seconds))
        finally:
            _end(process)
    process = _start(scene, home)
    try:
        process.wait()
    finally:
        _end(process)
    _require_success(process, home)
    adapter = _run(home) / "adapter"
    return Round(
        kills=tuple(kills), adapter_digest=digest_files(adapter.iterdir()), seconds=time.perf_counter() - began
    )


def _kill(process: subprocess.Popen[bytes], home: Path, step: int, later: float) -> Kill:
    """Wait until `step` is done and `later` seconds more, then send SIGKILL."""
    while (done := _last_step(home)) < step and process.poll() is None:
        time.sleep(0.002)
    time.sleep(later)
    struck = process.poll() is None
    if struck:
        os.killpg(process.pid, signal.SIGKILL)
        struck = process.wait() == -signal.SIGKILL
    if not struck:
        _require_success(process, home)
    saved = [int(place.name.removeprefix("step-")) for place in home.glob("runs/*/checkpoints/step-*")]
    return Kill(
        wanted_step=step, last_step=max(done, _last_step(home)), checkpoint_step=max(saved, default=0), struck=struck
    )


def _start(scene: Scene, home: Path) -> subprocess.Popen[bytes]:
    """The training command on `home`, in a process group of its own; what it says goes to train.log."""
    with (home / "train.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tunesmith.cli.main", *scene.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "TUNESMITH_HOME": str(home)},
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """No process outlives the drill."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _require_success(process: subprocess.Popen[bytes], home: Path) -> None:
    if process.returncode != 0:
        log = home / "train.log"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise TrainingFailed(f"Training failed by itself (exit code {process.returncode}):\n{tail}", hint=f"See {log}")


def _run(home: Path) -> Path:
    folders = sorted((home / "runs").iterdir())
    if len(folders) != 1:
        names = " and ".join(folder.name for folder in folders)
        hint = "The recipe, its rows or the program changed meanwhile: drill again."
        raise TrainingFailed(f"The same command trained different runs: {names}.", hint=hint)
    return folders[0]


def _timed(scene: Scene) -> tuple[Scene, int]:
    """The scene with what its undisturbed run tells, and that run's steps."""
    run = _run(scene.scratch / "undisturbed")
    record = json.loads((run / "run.json").read_text())
    settled = (run.name, (run / "plan.json").read_text())
    return scene._replace(step_seconds=record["seconds"] / record["steps"], settled=settled), int(record["steps"])


def _last_step(home: Path) -> int:
    """The last step in the run's metrics; 0 before the first. A line that is being written counts when it is whole."""
    last = 0
    for file in home.glob("runs/*/metrics.jsonl"):
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - TAIL_BYTES))
            lines = stream.read().split(b"\n")[:-1]
        for line in reversed(lines):
            if line.startswith(b'{"step": ') and b'"loss"' in line:
                return int(json.loads(line)["step"])
    return last
