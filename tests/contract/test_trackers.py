"""Every tracker, found by listing its folder, shows each step once, also after a run was killed and resumed."""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tunesmith import plugins
from tunesmith.errors import Interrupted, MissingDependency, TrainingFailed
from tunesmith.train.metrics import MetricsLog
from tunesmith.train.tracker import TrackedRun, Tracker, Unseen, done_before

FOLDER = "tunesmith.train.trackers"
PARAMETERS = {"train.epochs": 2, "train.method.name": "lora", "train.learning_rate": 0.5}
PACKAGES = {"mlflow": "mlflow", "wandb": "wandb"}

Shown = dict[str, list[tuple[int, float]]]


def read_tensorboard(folder: Path) -> tuple[Shown, str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    shown = {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}
    text = events.Tensors("parameters/text_summary")[0].tensor_proto.string_val[0].decode()
    return shown, text


def read_mlflow(folder: Path) -> tuple[Shown, str]:
    (run,) = mlflow_runs(folder)
    history = {name: mlflow_client(folder).get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    shown = {name: [(each.step, each.value) for each in values] for name, values in history.items()}
    return shown, json.dumps(run.data.params)


def mlflow_client(folder: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=(folder.parent.parent / "mlruns").as_uri())


def mlflow_runs(folder: Path) -> list[Any]:
    client = mlflow_client(folder)
    return list(client.search_runs([client.get_experiment_by_name("tunesmith").experiment_id]))


def read_wandb(folder: Path) -> tuple[Shown, str]:
    """The offline record: a log in LevelDB's format (blocks of 32 KiB, records cut at their ends) of protobufs."""
    (file,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    shown: Shown = {}
    parameters = ""
    for record in wandb_records(file):
        if record.HasField("run"):
            parameters += "".join(
                f"{item.key}{item.nested_key} {item.value_json} " for item in record.run.config.update
            )
        if record.HasField("history"):
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            step = row.pop("step")
            for name, value in row.items():
                if not name.startswith("_"):
                    shown.setdefault(name, []).append((step, value))
    return shown, parameters


def wandb_records(file: Path) -> list[Any]:
    """All records of an ended run: its own process writes the last ones a moment after `finish` has returned."""
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            found = [Record.FromString(content) for content in leveldb_records(file.read_bytes())]
        except DecodeError:  # cut in the middle of a record
            found = []
        if found and found[-1].HasField("exit"):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{file} has no end")


def leveldb_records(content: bytes) -> Iterator[bytes]:
    block, header = 32768, 7
    place, parts = header, b""  # the file begins with a header of its own, which happens to be as long
    while place + header <= len(content):
        if block - place % block < header:
            place += block - place % block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + header : place + header + length]
        place += header + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


READERS: dict[str, Callable[[Path], tuple[Shown, str]]] = {
    "mlflow": read_mlflow,
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
}
TRACKERS = plugins.names(FOLDER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "home" / "runs" / "demo-0123456789ab"
    place.mkdir(parents=True)
    return place


def make(name: str, **options: object) -> Tracker:
    pytest.importorskip(PACKAGES.get(name, "torch"))
    tracker = plugins.load(FOLDER, name).model_validate(options)
    assert isinstance(tracker, Tracker)
    return tracker


def train(tracker: Tracker, folder: Path, resume: int, last: int, error: BaseException | None = None) -> None:
    """The loop's way with a tracker: the sink first, then the run's own record, then steps; validation every 2."""
    with tracker.open(TrackedRun(folder, resume, PARAMETERS)) as sink:
        log = MetricsLog(folder, [sink], resume)
        for step in range(resume + 1, last + 1):
            log.log(step, {"loss": 1.0 / step, "rate": 0.5})
            if step % 2 == 0:
                log.log(step, {"validation_loss": 2.0 / step})
        if error:
            raise error


def test_every_tracker_has_a_reader() -> None:
    assert set(TRACKERS) == set(READERS)


@pytest.mark.parametrize("name", TRACKERS)
def test_steps_and_parameters_arrive(name: str, folder: Path) -> None:
    train(make(name), folder, 0, 4)
    shown, parameters = READERS[name](folder)
    assert {metric: [step for step, _ in points] for metric, points in shown.items()} == {
        "loss": [1, 2, 3, 4],
        "rate": [1, 2, 3, 4],
        "validation_loss": [2, 4],
    }
    assert [value for _, value in shown["loss"]] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert all(option in parameters for option in PARAMETERS)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_resumed_run_shows_every_step_once(name: str, folder: Path) -> None:
    """Ended after step 5 by an error, resumed at the checkpoint of step 2, ended again, and resumed at step 6."""
    with pytest.raises(RuntimeError, match="power"):
        train(make(name), folder, 0, 5, RuntimeError("power"))
    with pytest.raises(Interrupted):
        train(make(name), folder, 2, 7, Interrupted())
    train(make(name), folder, 6, 8)
    shown, _ = READERS[name](folder)
    assert [step for step, _ in shown["loss"]] == list(range(1, 9))
    assert [value for _, value in shown["loss"]] == pytest.approx([1 / step for step in range(1, 9)])
    assert [step for step, _ in shown["validation_loss"]] == [2, 4, 6, 8]


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_missing_package_names_its_extra(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == PACKAGES[name]]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    tracker = plugins.load(FOLDER, name)()
    assert isinstance(tracker, Tracker)
    with pytest.raises(MissingDependency, match=f"needs the package {name}") as caught:
        tracker.open(TrackedRun(folder, 0, {})).__enter__()
    assert caught.value.hint == f"pip install 'tunesmith[{name}]'"


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (RuntimeError("power"), "FAILED"), (Interrupted(), "KILLED")]
)
def test_mlflow_knows_how_a_run_ended(folder: Path, error: BaseException | None, status: str) -> None:
    tracker = make("mlflow")
    if error:
        with pytest.raises(type(error)):
            train(tracker, folder, 0, 1, error)
    else:
        train(tracker, folder, 0, 1)
    (run,) = mlflow_runs(folder)
    assert run.info.status == status


def test_a_store_that_cannot_be_used_is_said_plainly(folder: Path) -> None:
    with pytest.raises(TrainingFailed, match="MLflow did not take the run's record"):
        make("mlflow", uri="nonsense://there").open(TrackedRun(folder, 0, {})).__enter__()


def test_unseen_lets_each_step_of_a_metric_through_once() -> None:
    unseen = Unseen({"loss": 3})
    assert unseen.of(3, {"loss": 1.0, "rate": 2.0}) == {"rate": 2.0}
    assert unseen.of(4, {"loss": 1.0, "rate": 2.0}) == {"loss": 1.0, "rate": 2.0}
    assert unseen.of(4, {"loss": 1.0}) == {}


def test_what_was_done_before_ends_at_the_checkpoint(folder: Path) -> None:
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n{"step": 3, "lo')
    assert list(done_before(TrackedRun(folder, 1, {}))) == [(1, {"loss": 3.0})]
    assert list(done_before(TrackedRun(folder, 3, {}))) == [(1, {"loss": 3.0}), (2, {"loss": 2.0})]
    assert list(done_before(TrackedRun(folder, 0, {}))) == []
