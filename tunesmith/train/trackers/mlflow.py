"""MLflow: the run's options as parameters, its metrics by step. `mlflow-skinny` is enough."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import Interrupted, MissingDependency, TrainingFailed
from tunesmith.train.tracker import MetricSink, TrackedRun, Tracker, Unseen, done_before

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["Mlflow"]

RUN_TAG = "tunesmith.run"
BATCH = 1000
PARAMETER_BATCH = 100


class Mlflow(Tracker):
    """Sends parameters and metrics to MLflow; a resumed run continues its MLflow run.

    `uri` is a tracking server or store, such as `http://host:5000`; when empty, a file store `mlruns` beside the folder
    of all runs, which `MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri PATH` shows. `experiment` is the
    experiment's name.
    """

    uri: str = ""
    experiment: str = "tunesmith"

    @contextmanager
    def open(self, run: TrackedRun) -> Iterator[MetricSink]:
        """A sink for the MLflow run that carries this run's id as a tag; made when there is none."""
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise MissingDependency(
                "The tracker mlflow needs the package mlflow-skinny.", hint="pip install 'tunesmith[mlflow]'"
            ) from error
        try:
            client = MlflowClient(tracking_uri=self._store(run.folder))
            sink = _Sink(client, *self._find_or_create(client, run))
            for step, values in done_before(run):
                sink.log(step, values)
            try:
                yield sink
            except BaseException as error:
                client.set_terminated(sink.run_id, "KILLED" if isinstance(error, Interrupted) else "FAILED")
                raise
            client.set_terminated(sink.run_id, "FINISHED")
        except MlflowException as error:
            raise TrainingFailed(
                f"MLflow did not take the run's record: {error}",
                hint="The last checkpoint is kept. Mend the store, or leave mlflow out of train.trackers, and resume.",
            ) from error

    def _store(self, folder: Path) -> str:
        if self.uri:
            return self.uri
        # MLflow 3 keeps its file store for those who ask for it; with an empty `uri` the recipe does.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        return (folder.parent.parent / "mlruns").absolute().as_uri()

    def _find_or_create(self, client: MlflowClient, run: TrackedRun) -> tuple[str, dict[str, int]]:
        """(run id in MLflow, last step it has of each metric)."""
        experiment = client.get_experiment_by_name(self.experiment)
        identity = experiment.experiment_id if experiment else client.create_experiment(self.experiment)
        found = client.search_runs([identity], filter_string=f"tags.`{RUN_TAG}` = '{run.folder.name}'")
        if found:
            known = found[0].info.run_id
            client.update_run(known, status="RUNNING")
            return known, {name: _last_step(client, known, name) for name in found[0].data.metrics}
        made = client.create_run(identity, run_name=run.folder.name, tags={RUN_TAG: run.folder.name})
        _send_parameters(client, made.info.run_id, run.parameters)
        return made.info.run_id, {}


class _Sink:
    def __init__(self, client: MlflowClient, run_id: str, last_steps: Mapping[str, int]) -> None:
        self.run_id = run_id
        self._client = client
        self._unseen = Unseen(last_steps)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record those of `values` that MLflow does not have of `step` yet."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in self._unseen.of(step, values).items()]
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + BATCH])


def _last_step(client: Any, run_id: str, name: str) -> int:
    return max(metric.step for metric in client.get_metric_history(run_id, name))


def _send_parameters(client: MlflowClient, run_id: str, parameters: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    given = [Param(name, str(value)) for name, value in parameters.items()]
    for start in range(0, len(given), PARAMETER_BATCH):
        client.log_batch(run_id, params=given[start : start + PARAMETER_BATCH])
