"""The benchmark trains what it says: our side of every workload, and the peer's on the very same tokens.

It is not part of the suite's measurements and would otherwise rot unseen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.growth import AXES, MadeUp, Point, exponent, measured, picture
from bench.neighbours import Neighbours
from bench.ours import train_task
from bench.side import Job, Result
from bench.summary import Round, summary
from bench.table import markdown
from bench.task import make_task, write_tokens
from bench.work import Peak, Shape, matrix_peak, shape_of, step_work
from bench.workload import workload_names
from tunesmith.train.objective import Group
from tunesmith.train.tree import fold
from tunesmith.types.conversation import Rendered

WORKLOADS = ("chat", "disputes", "dpo", "full", "grpo", "gsm8k")


def test_every_workload_is_tested_here() -> None:
    assert workload_names() == WORKLOADS


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A few short rows under the names of the public sets."""
    sums = [(f"What is {i} and {2 * i}?", f"{'so ' * (i % 5)}#### {3 * i}") for i in range(30)]
    gsm8k = [{"question": question, "answer": answer} for question, answer in sums]
    pairs = [
        {
            "input": {"messages": [{"role": "user", "content": question}]},
            "preferred_output": [{"role": "assistant", "content": answer}],
            "non_preferred_output": [{"role": "assistant", "content": f"no idea, {answer}"}],
        }
        for question, answer in sums
    ]
    turns = [[("human", "Hello"), ("gpt", "Hi"), ("human", question), ("gpt", answer)] for question, answer in sums]
    chats = [{"conversations": [{"from": who, "value": text} for who, text in row]} for row in turns]
    folder = tmp_path / "data"
    for name in ("gsm8k", "mt_bench", "azure_finetuning"):
        (folder / name).mkdir(parents=True)
    write_lines(folder / "gsm8k" / "train_first_2500.jsonl", gsm8k)
    write_lines(folder / "azure_finetuning" / "dpo_orca_validation.jsonl", pairs)
    (folder / "mt_bench" / "dummy_conversation.json").write_text(json.dumps(chats))
    return folder


def write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def job_for(name: str, tiny: Path, data: Path, folder: Path) -> Job:
    (folder / name).mkdir()
    return Job(workload=name, base=tiny, data=data, folder=folder / name, batch=2, steps=3, warm_up=1, rank=4)


@pytest.mark.parametrize("name", WORKLOADS)
def test_our_side_is_the_train_stage_on_the_tokens_that_the_peer_gets(
    name: str, tiny: Path, data: Path, tmp_path: Path
) -> None:
    job = job_for(name, tiny, data, tmp_path)
    task = make_task(job)
    assert [len(groups) for groups in task.steps] == [2, 2, 2]
    result = train_task(task, job)
    assert len(result.losses) == len(result.gradient_norms) == 3
    assert all(norm > 0 for norm in result.gradient_norms)
    assert result.processor_seconds > 0
    assert (result.before_seconds > 0) == (name == "dpo")
    line = summary(task, job, [Round(result, result, Peak(1e12, 1e12), 0.25)], shape_of(tiny))
    assert line["speed_ratio"] == line["memory_ratio"] == 1.0
    assert line["largest_relative_difference"] == 0.0
    assert line["computed_tokens"]["ours"] <= line["effective_tokens"] <= line["computed_tokens"]["trl"]
    assert 0 < line["peak_share"] < 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # TRL's and datasets' own warnings
@pytest.mark.parametrize("name", WORKLOADS)
def test_both_sides_have_one_curve(name: str, tiny: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    pytest.importorskip("trl")
    from bench.peer import train_peer

    job = job_for(name, tiny, data, tmp_path)
    task = make_task(job)
    write_tokens(task, job.tokens_file)
    ours, theirs = train_task(task, job), train_peer(job)
    assert ours.gradient_norms == pytest.approx(theirs.gradient_norms, rel=1e-3)
    assert ours.losses == pytest.approx(theirs.losses, rel=1e-3, abs=1e-6)


def test_work_by_hand() -> None:
    """Three tokens, the last predicted by the second; a matrix of 2 by 3, a last one of 1 by 2 that only the second
    needs, a head of 10 numbers, 4 operations a pair."""
    shape = Shape(matrices=((2, 3),), last=((1, 2),), head=10, pair=4)
    group = Group((Rendered(token_ids=(5, 6, 7), loss_weights=(0.0, 0.0, 1.0), spans=()),))
    pairs = 3 * 4 * (1 + 2 + 3)
    assert step_work(shape, [group], 1, None) == (3, 3 * 6 * 6 + 6 * 2 + 6 * 10 + pairs)
    last = 4 * 2 + 6 * 2 * 3
    assert step_work(shape, [group], 1, 2) == (3, 3 * (4 * 6 + 6 * 2 * 5) + last + 4 * 10 + pairs)


def test_growth_is_the_slope_between_logarithms(tmp_path: Path) -> None:
    points = [{"size": size, "processor_seconds": 3 * size**1.5} for size in (1, 4, 16)]
    assert exponent(points) == pytest.approx(1.5)
    pytest.importorskip("matplotlib")
    picture({"rank": {"points": points, "exponent": 1.5}}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_a_point_of_growth_is_a_run_of_the_train_stage(tiny: Path) -> None:
    found = measured("rank", Point(batch=2, own=4, rank=2), tiny, "float32")
    assert found["size"] == found["rank"] == 2
    assert found["length"] * found["batch"] == found["effective_tokens"] >= found["tree"]
    assert found["processor_seconds"] > 0


def test_made_up_rows_share_what_they_are_told(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    job = Job(workload="tree", base=tiny, data=tmp_path, folder=tmp_path / "made", batch=4, steps=3, warm_up=1)
    sizes = []
    for shared in (10, 4):
        task = make_task(job, MadeUp(own=16 - shared, shared=shared))
        rows = [row for groups in task.steps for group in groups for row in group.rows]
        sizes.append((sum(len(row.token_ids) for row in rows), fold(rows).size))
    assert sizes[0][1] < sizes[1][1] < sizes[1][0]
    assert max(point.batch for point in AXES["batch"]) * 3 == len(MadeUp(own=4, shared=0).rows(tmp_path))


def test_a_line_becomes_a_row_of_the_page(tiny: Path, data: Path, tmp_path: Path) -> None:
    job = job_for("grpo", tiny, data, tmp_path)
    ours = Result(seconds=2.0, processor_seconds=3.0, peak_bytes=2**30, losses=(0.0,), gradient_norms=(1.0,))
    peer = ours.model_copy(update={"seconds": 8.0, "processor_seconds": 9.0, "peak_bytes": 2**31})
    line = summary(make_task(job), job, [Round(ours, peer, Peak(1e12, 1e12), 0.25)], shape_of(tiny))
    page = markdown({"grpo": line | {"measured": "today", "machine": {"processor": "slow", "cores": 1}}})
    (row,) = (text for text in page.splitlines() if text.startswith("| grpo"))
    assert "| 4.00x | 4x | 3.00x |" in row
    assert "| 1.0 | 2.0 | 0.50x | 0.5x | 0e+00 |" in row
    assert "other work took 25% of the processors; compared: gradient norms" in page


def test_neighbours_take_a_share() -> None:
    watch = Neighbours()
    assert sum(range(100_000)) > 0
    assert 0.0 <= watch.share() <= 1.0


def test_the_machine_has_a_peak() -> None:
    peak = matrix_peak("float32")
    assert peak.per_second > 1e8
    assert peak.per_processor_second > 1e8


def test_a_result_survives_its_journey(tiny: Path) -> None:
    result = Result(seconds=1.5, processor_seconds=2.0, peak_bytes=10, losses=(1.0,), gradient_norms=(0.5,))
    assert Result.model_validate_json(result.model_dump_json()) == result
