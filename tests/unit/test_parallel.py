"""Several processes: their shares, their places, and which of their failures is the cause."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tunesmith.errors import Interrupted, MissingDependency, PeerLost, RecipeError, TrainingFailed
from tunesmith.train.objective import Group
from tunesmith.train.parallel.agreement import AgreedInterruption
from tunesmith.train.parallel.launch import Ended, cause, environment_of, failure
from tunesmith.train.parallel.on_ray import launch_on_ray
from tunesmith.train.parallel.place import Place, place_of, require_alone
from tunesmith.train.parallel.ranks import Ranks
from tunesmith.train.parallel.reports import Report, read_reports, report_of, send
from tunesmith.train.parallel.sharding import Shards
from tunesmith.train.parallel.team import Alone
from tunesmith.train.parallel.watch import Watch
from tunesmith.train.parallel.zero import zero_config
from tunesmith.types.recipe import TrainSpec

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "first.host",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}


def ranks(size: int) -> list[Ranks]:
    places = [Place(rank, size, rank, size, "127.0.0.1", 1, rank == 0) for rank in range(size)]
    return [Ranks(place, Watch(place, 60.0)) for place in places]


def groups(count: int) -> list[Group]:
    return [Group(rows=(), id=str(index)) for index in range(count)]


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 4, 7, 16])
@pytest.mark.parametrize("accumulate", [1, 2, 3, 8])
def test_the_pieces_of_all_ranks_are_the_step_and_no_larger_than_one_process_would_cut(size, count, accumulate):
    alone = list(Alone().pieces(groups(count), accumulate))
    shared = [piece for rank in ranks(size) for piece in rank.pieces(groups(count), accumulate)]
    assert [group.id for piece in shared for group in piece.groups] == [str(index) for index in range(count)]
    assert max(len(piece.groups) for piece in shared) <= max(len(piece.groups) for piece in alone)
    assert all(piece.groups and piece.counts for piece in shared)


def test_alone_nothing_is_exchanged():
    alone, parameter = Alone(), torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    alone.sum_gradients([parameter])
    assert parameter.grad.tolist() == [1.0, 2.0]
    assert alone.totals({"loss": 0.5}) == {"loss": 0.5}
    assert alone.spread([1, 2], lambda items: [item + 1 for item in items]) == [2, 3]


def test_the_environment_of_torchrun_is_understood():
    assert place_of(TORCHRUN) == Place(3, 4, 1, 2, "first.host", 29500, hosts_store=False)
    assert place_of({}) is None
    assert place_of({"RANK": "0", "WORLD_SIZE": "1"}) is None
    require_alone({})
    with pytest.raises(TrainingFailed, match="rank 3 of 4 already"):
        require_alone(TORCHRUN)
    with pytest.raises(TrainingFailed, match="WORLD_SIZE is 4, but RANK is not set"):
        place_of({name: value for name, value in TORCHRUN.items() if name != "RANK"})


def test_the_launcher_gives_each_rank_its_part_of_the_threads():
    given = environment_of({"OMP_NUM_THREADS": "8", "HOME": "/h"}, 3, 4242, Path("reports"))
    assert (given["OMP_NUM_THREADS"], given["WORLD_SIZE"], given["MASTER_PORT"], given["HOME"]) == (
        ("2", "3", "4242", "/h")
    )
    place = place_of({**given, "RANK": "0", "LOCAL_RANK": "0"})
    assert place == Place(0, 3, 0, 3, "127.0.0.1", 4242, hosts_store=True, reports="reports")
    assert environment_of({"TUNESMITH_THREADS": "2"}, 4, 1, Path())["TUNESMITH_THREADS"] == "1"


def test_the_cause_is_told_from_its_consequences():
    lost = Report(rank=0, kind="lost", message="lost")
    stalled = Report(rank=0, kind="stalled", message="stalled")
    failed = Report(rank=1, kind="failed", message="failed")
    killed, ended = Ended(1, 11, -signal.SIGKILL), Ended(1, 11, 1)
    first = Ended(0, 10, 1)
    assert cause([first, killed], {0: lost}) == (killed, None)
    assert cause([first, ended], {0: lost, 1: failed}) == (ended, failed)
    assert cause([first, ended], {0: stalled, 1: failed.model_copy(update={"kind": "lost"})}) == (first, stalled)
    assert cause([first, ended], {0: lost}) == (ended, None)  # a crash in foreign code leaves no word


def test_what_all_ranks_report_alike_is_no_fault_of_one():
    word = Report(rank=0, kind="failed", message="The recipe is not acceptable.", hint="mend it")
    both = [Ended(0, 10, 1), Ended(1, 11, 1)]
    assert failure(both, {0: word, 1: word.of(1)}, {}).message == "The recipe is not acceptable."
    assert failure(both[1:], {1: word.of(1)}, {}).message == "Rank 1: The recipe is not acceptable."
    crashed = failure(both, {}, {0: "Segmentation fault"})
    assert crashed.message == (
        "Rank 0 (process 10) ended with exit code 1; the others were stopped.\n  rank 0: Segmentation fault"
    )


def test_the_launcher_is_light():
    """It lives beside its ranks as long as they do, and starts them at once."""
    code = "import sys, tunesmith.cli.train, tunesmith.train.parallel.launch; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"


def test_reports_say_what_an_error_means_for_the_run(tmp_path, capsys):
    assert report_of(1, PeerLost("gone")).kind == "lost"
    assert report_of(1, TrainingFailed("broke", hint="mend")) == Report(
        rank=1, kind="failed", message="broke", hint="mend"
    )
    stopped = report_of(1, Interrupted(signal.SIGTERM, "after step 3"))
    assert (stopped.kind, stopped.signal, stopped.message) == ("interrupted", signal.SIGTERM, "after step 3")
    assert "ZeroDivisionError: by zero" in report_of(1, ZeroDivisionError("by zero")).message
    send(stopped, str(tmp_path))
    assert read_reports(tmp_path) == {1: stopped}
    send(stopped, None)
    assert capsys.readouterr().err == "rank 1: after step 3\n"


def test_together_a_signal_takes_effect_only_when_all_have_agreed():
    interruption = AgreedInterruption()
    done = []

    def steps() -> None:
        with interruption.undisturbed(), interruption.breakable():
            signal.raise_signal(signal.SIGTERM)
            done.append("this step")
        with interruption.undisturbed():
            interruption.agree([None, interruption.asked])
            done.append("the step in which all heard of it")
        done.append("never")

    with interruption.listening(), interruption.together(), pytest.raises(Interrupted) as stopped:
        steps()
    assert done == ["this step", "the step in which all heard of it"]
    assert stopped.value.number == signal.SIGTERM


def test_before_the_steps_a_signal_acts_at_once():
    interruption = AgreedInterruption()
    with interruption.listening(), pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGINT)


def test_what_cannot_be_sharded_is_refused_with_what_can():
    place = Place(0, 2, 0, 2, "127.0.0.1", 1, hosts_store=True)
    shards = Shards(place, Watch(place, 60.0))
    with pytest.raises(RecipeError, match=r"'lora' does not train -> choose ddp, or train\.method full or freeze"):
        shards.require(TrainSpec())
    spec = {"method": {"name": "full"}, "objective": {"name": "reward"}}
    with pytest.raises(RecipeError, match="'reward' puts a second model beside the first"):
        shards.require(TrainSpec.model_validate(spec))
    spec = {"method": {"name": "full"}, "objective": {"name": "grpo"}, "grader": {"name": "string_check"}}
    with pytest.raises(RecipeError, match="'grpo' samples from the weights in one place"):
        shards.require(TrainSpec.model_validate(spec))
    shards.require(TrainSpec.model_validate({"method": {"name": "freeze"}, "objective": {"name": "kto"}}))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("accumulate", [1, 3, 8])
def test_ranks_with_shards_all_make_the_same_number_of_passes(count, accumulate):
    places = [Place(rank, 3, rank, 3, "127.0.0.1", 1, rank == 0) for rank in range(3)]
    found = [list(Shards(place, Watch(place, 60.0)).pieces(groups(count), accumulate)) for place in places]
    assert len({len(pieces) for pieces in found}) == 1
    counted = [group.id for pieces in found for piece in pieces if piece.counts for group in piece.groups]
    assert counted == [str(index) for index in range(count)]
    assert all(piece.groups for pieces in found for piece in pieces)


def zero(strategy: str, **changes: object) -> TrainSpec:
    how = {"strategy": strategy, "offload": changes.pop("offload", False)}
    return TrainSpec.model_validate({"parallel": how, "batch_size": 16, **changes})


def test_the_configuration_of_deepspeed_is_the_recipe():
    """16 rows in 4 pieces on 2 processes: 2 pieces of 4 rows on each, 2 x 2 x 4 = 16."""
    spec = zero("zero3", offload=True, accumulate=4, learning_rate=2e-4, weight_decay=0.1, max_grad_norm=0.5)
    assert zero_config(spec, "bfloat16", 2) == {
        "train_batch_size": 16,
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 0.5,
        "bf16": {"enabled": True},
        "communication_data_type": "fp32",
        "zero_optimization": {
            "stage": 3,
            "contiguous_gradients": True,
            "offload_optimizer": {"device": "cpu", "pin_memory": True},
            "offload_param": {"device": "cpu", "pin_memory": True},
        },
        "optimizer": {
            "type": "AdamW",
            "params": {"lr": 2e-4, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1},
        },
    }
    second = zero_config(zero("zero2", offload=True), "float32", 4)
    assert second["zero_optimization"]["stage"] == 2
    assert "offload_param" not in second["zero_optimization"]
    assert (second["train_micro_batch_size_per_gpu"], second["bf16"]) == (4, {"enabled": False})
    assert "offload_optimizer" not in zero_config(zero("zero3"), "float32", 4)["zero_optimization"]
    with pytest.raises(RecipeError, match=r"16 rows cannot be cut into 1 equal piece.* on each of 3 .* set it to 15"):
        zero_config(zero("zero2"), "float32", 3)


def test_zero_is_refused_and_nothing_else_is_done_instead(monkeypatch):
    for team in (Alone(), ranks(2)[0]):
        with pytest.raises(MissingDependency, match="zero2 needs the package 'deepspeed'"):
            team.require(zero("zero2"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(RecipeError, match=r"'zero3' is not trained by this version(.|\n)*\"stage\": 3"):
        Alone().require(zero("zero3", precision="float32"))
    with pytest.raises(ValueError, match="offload has no effect with the strategy fsdp"):
        zero("fsdp", offload=True)


def test_ray_is_asked_for_by_name_when_it_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="--ray needs the package 'ray'") as missing:
        launch_on_ray(["true"], 2)
    assert missing.value.hint == "pip install 'tunesmith[ray]'"
