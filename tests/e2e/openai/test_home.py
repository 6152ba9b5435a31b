"""What lies in the server's home, over HTTP: releases with evidence, datasets with their ledger, runs' metrics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.openai.conftest import Running, start_server

RECIPE = """
name: colours
model: {{base: {base}}}
prepare:
  sources: [{{path: rows.jsonl}}]
  split: {{validation: 0.2, test: 0.2}}
train: {{epochs: 1, batch_size: 8, method: {{name: lora, rank: 2}}}}
evaluate: {{metrics: [accuracy, invalid_rate], compare: [prompt_only, tuned], max_new_tokens: 4}}
gate: {{rules: [{{name: max_invalid, model: tuned, at_most: 1.0}}]}}
release: {{name: colours}}
"""


@pytest.fixture(scope="module")
def trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose home holds what one `tunesmith run` left there."""
    folder = tmp_path_factory.mktemp("trained")
    rows = [{"prompt": f"thing {n} is", "completion": ("red", "blue")[n % 2]} for n in range(40)]
    rows.append({"prompt": "thing 0 is", "completion": "red"})
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "recipe.yaml").write_text(RECIPE.format(base=tiny_base))
    home = folder / "home"
    with start_server(home, tiny_base) as running:
        command = [sys.executable, "-m", "tunesmith.cli.main", "run", str(folder / "recipe.yaml")]
        ours = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TUNESMITH_HOME": str(home), "TUNESMITH_THREADS": "1"}
        subprocess.run(command, check=True, env={**os.environ, **ours}, stdout=subprocess.DEVNULL)
        yield running


def get(client: openai.OpenAI, path: str, **query: Any) -> Any:
    return client.get(path, cast_to=object, options={"params": query})


def test_a_release_has_its_evidence(trained: Running) -> None:
    with trained.client() as client:
        (entry,) = get(client, "/tunesmith/releases")["data"]
        assert entry["reference"] == "colours@v1"
        assert entry["aliases"] == ["stable"]
        for name in ("colours", "colours:stable", "colours@v1", entry["id"][:12]):
            found = get(client, f"/tunesmith/releases/{name}")
            assert found["id"] == entry["id"]
        assert [verdict["outcome"] for verdict in found["decision"]["verdicts"]] == ["pass"]
        assert entry["release"]["outcome"] == "pass"
        assert {each["name"] for each in found["report"]["contestants"]} == {"prompt_only", "tuned"}
        assert found["run"]["adapter_digest"] == entry["release"]["adapter_digest"]
        assert found["dataset"]["digest"] == entry["release"]["dataset_digest"]
        assert [move["version"] for move in found["history"]] == [1]


def test_a_dataset_has_its_ledger_and_what_was_left_out(trained: Running) -> None:
    with trained.client() as client:
        (entry,) = get(client, "/tunesmith/datasets")["data"]
        ledger = get(client, f"/tunesmith/datasets/{entry['id'][:10]}")["manifest"]["ledger"]
        assert (ledger["rows_in"], ledger["rows_used"]) == (41, 40)
        dropped = get(client, f"/tunesmith/datasets/{entry['id']}/dropped", limit=1)
        assert len(dropped["data"]) == 1
        assert dropped["has_more"] is False
        assert get(client, f"/tunesmith/datasets/{entry['id']}/dropped", after=dropped["last_id"])["data"] == []


def test_reports_are_pages(trained: Running) -> None:
    with trained.client() as client:
        (run,) = get(client, "/tunesmith/runs")["data"]
        (dataset,) = get(client, "/tunesmith/datasets")["data"]
        for path in (f"/tunesmith/runs/{run['id']}/report", f"/tunesmith/datasets/{dataset['id']}/report"):
            page = client.get(path, cast_to=str)
            assert "<html" in page


def test_metrics_come_by_page_and_as_a_stream(trained: Running) -> None:
    with trained.client() as client:
        (entry,) = get(client, "/tunesmith/runs")["data"]
        assert entry["status"] == "finished"
        steps = get(client, f"/tunesmith/runs/{entry['id']}/metrics")["data"]
        first = get(client, f"/tunesmith/runs/{entry['id']}/metrics", limit=2)
        rest = get(client, f"/tunesmith/runs/{entry['id']}/metrics", after=first["last_id"])
        assert [*first["data"], *rest["data"]] == steps
        assert any("loss" in step["data"] for step in steps)
        assert list(streamed(trained, entry["id"])) == steps


def test_a_stream_goes_on_until_the_run_has_finished(trained: Running) -> None:
    folder = trained.home / "runs" / "growing-000000000000"
    folder.mkdir()
    lines = [json.dumps({"step": step, "loss": 1.0 / (step + 1)}) + "\n" for step in range(3)]
    (folder / "metrics.jsonl").write_text(lines[0] + lines[1][:8])  # the second line is being written
    seen: list[int] = []
    with trained.client() as client:
        (finished,) = (each for each in get(client, "/tunesmith/runs")["data"] if each["record"])
        watching = threading.Thread(target=lambda: seen.extend(e["step"] for e in streamed(trained, folder.name)))
        watching.start()
        time.sleep(1.0)
        assert watching.is_alive()
        (folder / "metrics.jsonl").write_text("".join(lines))
        (folder / "run.json").write_text(json.dumps(finished["record"]))
        watching.join(timeout=20)
    assert seen == [0, 1, 2]


def streamed(server: Running, run: str) -> Iterator[Any]:
    address, headers = f"{server.url}/tunesmith/runs/{run}/metrics/stream", {"authorization": f"Bearer {server.key}"}
    with httpx.stream("GET", address, headers=headers, timeout=30, trust_env=False) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize(
    "path", ["releases/nothing", "datasets/abcdef", "runs/nothing", "datasets/..", "runs/x/report"]
)
def test_what_is_not_there_is_not_found(trained: Running, path: str) -> None:
    with trained.client() as client, pytest.raises(openai.NotFoundError):
        get(client, f"/tunesmith/{path}")


def test_a_cursor_that_is_no_item_is_refused(trained: Running) -> None:
    with trained.client() as client, pytest.raises(openai.BadRequestError, match="after"):
        get(client, "/tunesmith/runs", after="nothing")


def test_members_see_nothing_of_it(trained: Running) -> None:
    with trained.client() as client:
        made: Any = client.post("/tunesmith/keys", cast_to=object, body={"name": "m", "project": "p", "role": "member"})
    with trained.client(api_key=made["key"]) as member, pytest.raises(openai.PermissionDeniedError):
        get(member, "/tunesmith/releases")
