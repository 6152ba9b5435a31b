"""Kills servers, workers and trainers at random and shows that no job is lost, run twice or ended differently.

    python -m bench.job_drill --kills 50 [--database postgresql://...] [--seed 1] [--keep FOLDER]

One job runs undisturbed. Then jobs with the same request are made, one after the other, while SIGKILL strikes a random
one of the three processes at random moments; a killed server is started again, a killed worker or trainer is started
again by who watches over it. In the end every job must have succeeded, with the very adapter of the first one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

from tunesmith.ports import free_port
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.base import digest_files

__all__ = ["Drill", "Report", "drill", "main"]

KEY = "sk-tunesmith-of-the-drill"
TARGETS = ("server", "worker", "trainer")
LONGEST_PAUSE_SECONDS = 14.0
END_SECONDS = 600.0
ROWS = 16
METHOD: Mapping[str, Any] = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 12, "batch_size": 2}}}


class Report(NamedTuple):
    """What came of a drill: how often each kind of process was killed, the jobs made, those that ended otherwise than
    the undisturbed one with what was otherwise, and the seconds it all took.
    """

    kills: dict[str, int]
    jobs: int
    different: list[str]
    seconds: float


class Drill:
    """A server over `home` that can be killed and started again at the same address."""

    def __init__(self, home: Path, base: Path, database: str | None) -> None:
        self.home, self._base = home, base
        self._port = free_port()
        given = {"TUNESMITH_HOME": str(home), "TUNESMITH_ADMIN_KEY": KEY, "HF_HUB_OFFLINE": "1"}
        given |= {"OMP_NUM_THREADS": "1", "TUNESMITH_THREADS": "1"}
        self._environment = {**os.environ, **given, **({"TUNESMITH_DATABASE_URL": database} if database else {})}
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{self._port}/v1",
            headers={"authorization": f"Bearer {KEY}"},
            timeout=30,
            trust_env=False,
        )
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """The server runs, but for the moments after it was killed."""
        self.start()
        try:
            yield
        finally:
            self._http.close()
            if self._process is not None:
                self._process.terminate()
                self._process.wait(timeout=60)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = ["-m", "tunesmith.cli.main", "serve", "--base", str(self._base), "--port", str(self._port)]
        with (self.home.parent / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command], stdout=log, stderr=log, env=self._environment, stdin=subprocess.DEVNULL
            )
        self._until(lambda: self._answers(), 120)

    def kill(self, target: str) -> bool:
        """Kill one process; False when there is none of the kind now. A killed server is started again."""
        found = self._find(target)
        if found is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            found.send_signal(signal.SIGKILL)
            if target == "server" and self._process is not None:
                self._process.wait()
                self.start()
            return True
        return False

    def upload(self) -> str:
        """The id of a file with training rows."""
        rows = [
            {"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i % 4}"}]}
            for i in range(ROWS)
        ]
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        answer = self._http.post("/files", data={"purpose": "fine-tune"}, files={"file": ("rows.jsonl", content)})
        return str(answer.raise_for_status().json()["id"])

    def create(self, file: str) -> str:
        """The id of a new job; all are asked for alike."""
        body = {"model": "base", "training_file": file, "method": METHOD, "seed": 5}
        return str(self._http.post("/fine_tuning/jobs", json=body).raise_for_status().json()["id"])

    def job(self, identity: str) -> dict[str, Any]:
        """The job as the server tells it."""
        found: dict[str, Any] = self._http.get(f"/fine_tuning/jobs/{identity}").raise_for_status().json()
        return found

    def ended(self, identity: str) -> dict[str, Any]:
        """The job when it has ended."""
        found: list[dict[str, Any]] = []

        def over() -> bool:
            found[:] = [self.job(identity)]
            return found[0]["status"] in ("succeeded", "failed", "cancelled")

        self._until(over, END_SECONDS)
        return found[0]

    def messages(self, identity: str) -> list[str]:
        """What the job said."""
        answer = self._http.get(f"/fine_tuning/jobs/{identity}/events", params={"limit": 100}).raise_for_status()
        return [event["message"] for event in answer.json()["data"]]

    def adapter(self, identity: str) -> str:
        """The digest of the adapter of the job's one run."""
        runs = list((self.home / "runs").glob(f"{identity}-*"))
        assert len(runs) == 1, f"{identity} has {len(runs)} runs"
        return digest_files((runs[0] / "adapter").iterdir())

    def _find(self, target: str) -> psutil.Process | None:
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        if target == "server":
            return server
        word = "worker" if target == "worker" else "tunesmith.jobs.trainer"
        for process in server.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if word in process.cmdline():
                    return process
        return None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the server ended by itself"
        try:
            return self._http.get("/models").status_code == 200
        except httpx.TransportError:
            return False

    def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"did not happen within {seconds:.0f} seconds"
            time.sleep(0.1)


def drill(scene: Drill, kills: int, seed: int, say: Callable[[str], None]) -> Report:
    """Kill until `kills` struck, wait for all jobs, and compare them. The server of `scene` runs."""
    began, chance = time.monotonic(), random.Random(seed)
    file = scene.upload()
    first = scene.create(file)
    assert scene.ended(first)["status"] == "succeeded", scene.job(first)
    expected = scene.adapter(first)
    say(f"undisturbed: {expected[:16]} in {time.monotonic() - began:.0f} s")
    struck: Counter[str] = Counter()
    jobs = [scene.create(file)]
    while struck.total() < kills:
        time.sleep(chance.random() * LONGEST_PAUSE_SECONDS)
        if scene.job(jobs[-1])["status"] not in ("validating_files", "queued", "running"):
            jobs.append(scene.create(file))
        target = chance.choice(TARGETS)
        if scene.kill(target):
            struck[target] += 1
            say(f"kill {struck.total()}: {target}, job {len(jobs)}")
    different = [f"{identity}: {found}" for identity in jobs if (found := _difference(scene, identity, expected))]
    return Report(dict(struck), len(jobs), different, time.monotonic() - began)


def _difference(scene: Drill, identity: str, expected: str) -> str:
    """How the job ended otherwise than the undisturbed one: failed, with other bytes, or done more than once."""
    job = scene.ended(identity)
    if job["status"] != "succeeded":
        return f"{job['status']}: {job['error']}"
    told = scene.messages(identity).count("The job has successfully completed")
    adapter = scene.adapter(identity)
    return ("" if adapter == expected else f"the adapter is {adapter}. ") + ("" if told == 1 else f"ended {told} times")


def main() -> None:
    """Run the drill and print its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--database", help="PostgreSQL in the place of the SQLite file")
    parser.add_argument("--keep", type=Path, help="where to copy the server's home to when a job ended otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="job-drill-") as folder:
        scene = Drill(Path(folder) / "home", make_tiny_model(Path(folder) / "tiny"), options.database)
        with scene.serving():
            report = drill(scene, options.kills, options.seed, lambda text: print(text, flush=True))
        if report.different and options.keep:
            shutil.copytree(scene.home, options.keep, symlinks=True)
    print(f"seed {options.seed}: {sum(report.kills.values())} kills {report.kills}, {report.jobs} jobs,", end=" ")
    print(f"{len(report.different)} lost or different, {report.seconds:.0f} s")
    print("\n".join(report.different))
    sys.exit(1 if report.different else 0)


if __name__ == "__main__":
    main()
