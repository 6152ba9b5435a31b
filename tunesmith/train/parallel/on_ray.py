"""Starting the processes of a run on the hosts of a Ray cluster, with Ray Train.

Ray places one worker per rank; each starts the ordinary command as a process of its own with the environment that
torchrun would give, and watches it. Training itself knows nothing of Ray. All hosts must see the same TUNESMITH_HOME
and recipe.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.errors import MissingDependency, TrainingFailed
from tunesmith.ports import free_port
from tunesmith.train.parallel.launch import Ended, failure
from tunesmith.train.parallel.place import REPORTS
from tunesmith.train.parallel.reports import Report, read_reports

__all__ = ["RankEnded", "launch_on_ray"]

PASSED_ON = ("TUNESMITH_", "HF_", "PYTHONPATH")
"""beginnings of the names of environment variables that workers are given"""


class RankEnded(Exception):
    """A rank's process ended badly on its host: how, its last word as JSON ('' for none), the end of what it said."""

    def __init__(self, ended: tuple[int, int, int], report: str, tail: str) -> None:
        super().__init__(ended, report, tail)
        self.ended, self.report, self.tail = Ended(*ended), report, tail


def launch_on_ray(command: Sequence[str], processes: int) -> None:
    """Run `command` as `processes` ranks on the Ray cluster of RAY_ADDRESS, or on one made here for this run.

    Raises:
        MissingDependency: Ray is not installed.
        TrainingFailed: a rank failed or was killed, or the cluster cannot place the ranks; names it.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingDependency("--ray needs the package 'ray'.", hint="pip install 'tunesmith[ray]'")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    ray.init(log_to_driver=False, logging_level=logging.WARNING, configure_logging=True)
    try:
        with tempfile.TemporaryDirectory(prefix="tunesmith-ray-") as scratch:
            DataParallelTrainer(
                _rank,
                train_loop_config={"command": list(command), "environment": environment},
                scaling_config=ScalingConfig(num_workers=processes, use_gpu=_has_gpus(ray, processes)),
                run_config=RunConfig(storage_path=scratch, failure_config=FailureConfig(max_failures=0)),
            ).fit()
    except TrainingFailedError as error:
        raise _explained(error) from error
    finally:
        ray.shutdown()


def _rank(config: dict[str, Any]) -> None:
    """What a Ray worker does: run the command as its rank, and tell how it ended."""
    import ray
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    context = get_context()
    rank = context.get_world_rank()
    address, port = broadcast_from_rank_zero([ray.util.get_node_ip_address(), free_port("")])
    with tempfile.TemporaryDirectory(prefix="tunesmith-rank-") as scratch:
        log = Path(scratch) / "log"
        environment = {
            **os.environ,
            **config["environment"],
            "RANK": str(rank),
            "WORLD_SIZE": str(context.get_world_size()),
            "LOCAL_RANK": str(context.get_local_rank()),
            "LOCAL_WORLD_SIZE": str(context.get_local_world_size()),
            "MASTER_ADDR": address,
            "MASTER_PORT": str(port),
            REPORTS: scratch,
        }
        with log.open("wb") as stream:
            process = subprocess.Popen(
                config["command"], env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        try:
            code = process.wait()
        finally:
            process.kill()
        if code:
            report = read_reports(Path(scratch)).get(rank)
            said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise RankEnded((rank, process.pid, code), report.model_dump_json() if report else "", said)


def _has_gpus(ray: Any, processes: int) -> bool:
    return bool(ray.cluster_resources().get("GPU", 0) >= processes)


def _explained(error: Any) -> TrainingFailed:
    """The failure that brought the others down, in our words."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    told = {rank: _cause_of(failure) for rank, failure in failures.items()}
    ended = {rank: word for rank, word in told.items() if isinstance(word, RankEnded)}
    if not ended:
        rank, first = next(iter(failures.items()), (None, error))
        who = "Ray could not train" if rank is None else f"Rank {rank} failed on its Ray worker"
        return TrainingFailed(f"{who}: {type(first).__name__}: {str(first).strip().splitlines()[-1:]}")
    reports = {rank: Report.model_validate_json(word.report) for rank, word in ended.items() if word.report}
    tails = {rank: word.tail for rank, word in ended.items()}
    return failure([word.ended for word in ended.values()], reports, tails)


def _cause_of(failure: BaseException) -> BaseException:
    """Ray wraps what a worker raised."""
    inner = getattr(failure, "cause", None) or failure.__cause__
    return failure if isinstance(failure, RankEnded) or inner is None else _cause_of(inner)
