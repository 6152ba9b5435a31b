"""What lies in the server's home, over HTTP: releases with evidence, datasets with their ledger, runs' metrics, their
recipes, decisions; and which models lead where.
"""

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
from tests.unit.decide.planted import decided, rows_of
from tunesmith.decide.writing import write
from tunesmith.store.database import Database
from tunesmith.store.tuned import TunedModels
from tunesmith.types.tuned import TunedModel

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
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(lines[1][8:] + lines[2])
        (folder / "draft").write_text(json.dumps(finished["record"]))
        (folder / "draft").rename(folder / "run.json")  # whole at once, as a run leaves it
        watching.join(timeout=60)
    assert seen == [0, 1, 2]


def streamed(server: Running, run: str) -> Iterator[Any]:
    address, headers = f"{server.url}/tunesmith/runs/{run}/metrics/stream", {"authorization": f"Bearer {server.key}"}
    with httpx.stream("GET", address, headers=headers, timeout=30, trust_env=False) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line.removeprefix("data: "))


def test_the_recipe_of_a_run_is_whole_and_can_be_checked(trained: Running) -> None:
    with trained.client() as client:
        (entry,) = get(client, "/tunesmith/recipes")["data"]
        assert entry["name"] == "colours"
        run = get(client, f"/tunesmith/runs/{entry['id']}")
        assert entry["recipe"]["train"]["method"]["rank"] == 2
        assert entry["recipe"]["train"]["learning_rate"] is not None
        assert get(client, f"/tunesmith/recipes/{run['id'][:-3]}") == entry
        found = check(client, entry["recipe"])
        assert (found["valid"], found["problems"]) == (True, [])
        wrong = check(client, "name: colours\ntrain:\n  epoch: 1\n")
        assert (wrong["valid"], wrong["recipe"]) == (False, None)
        problem = next(each for each in wrong["problems"] if each["field"] == "train.epoch")
        assert (problem["line"], "'epochs'" in problem["fix"]) == (3, True)
        with pytest.raises(openai.BadRequestError, match="recipe"):
            check(client, "x" * (1 << 17))


def check(client: openai.OpenAI, recipe: Any) -> Any:
    return client.post("/tunesmith/recipes/validate", cast_to=object, body={"recipe": recipe})


def test_decisions_are_listed_and_read(trained: Running, tmp_path: Path) -> None:
    pairs = [(f"question {n}", "ab"[n % 2]) for n in range(80)]
    report, _ = decided(lambda *_: "a", rows_of(pairs, 20, 40, ("a", "b")), tmp_path)
    with trained.client() as client:
        assert get(client, "/tunesmith/decisions")["data"] == []
        for name in ("first-000000000000", "second-000000000000"):
            write(report, trained.home / "decisions" / name)
        (trained.home / "decisions" / "unfinished-000000000000" / "arms").mkdir(parents=True)
        listed = get(client, "/tunesmith/decisions")
        assert {each["id"] for each in listed["data"]} == {"first-000000000000", "second-000000000000"}
        found = get(client, "/tunesmith/decisions/first-000000000000")
        assert found["report"] == json.loads(report.model_dump_json())
        page = client.get("/tunesmith/decisions/first-000000000000/report", cast_to=str)
        assert report.recommendation.headline.split(":")[0] in page
        with pytest.raises(openai.NotFoundError, match="first-000000000000"):
            get(client, "/tunesmith/decisions/first")


def test_routes_say_what_answers_and_each_project_sees_its_own(trained: Running) -> None:
    with trained.client() as client:
        (release,) = get(client, "/tunesmith/releases")["data"]
        made = TunedModel(name="ft:tiny:p::x", project="p", release=release["id"], job="ftjob-x", created_at=1)
        database = Database(f"sqlite:///{trained.home / 'registry.db'}")
        TunedModels(database).add(made)
        database.close()
        routes = get(client, "/tunesmith/routes")["data"]
        assert [each["id"] for each in routes] == [model.id for model in client.models.list()]
        (base, *tuned) = routes
        assert (base["id"], base["release"], base["reference"]) == ("base", None, None)
        assert {each["id"] for each in tuned} == {"colours@v1", "colours:stable", "colours"}
        for each in tuned:
            assert (each["release"], each["reference"]) == (release["id"], "colours@v1")
            assert each["adapter_digest"] == release["release"]["adapter_digest"]
        assert get(client, "/tunesmith/routes", release="colours@v1")["data"] == tuned
        assert get(client, "/tunesmith/routes/colours:stable") in tuned
        asked: Any = {"name": "m2", "project": "p", "role": "read"}
        key = client.post("/tunesmith/keys", cast_to=object, body=asked)
        for wrong in ("routes/ft:tiny:p::x", "routes/nothing", "routes?release=nothing"):
            with pytest.raises(openai.NotFoundError):
                get(client, f"/tunesmith/{wrong}")
    found: Any = key
    with trained.client(api_key=found["key"]) as member:
        assert [each["id"] for each in get(member, "/tunesmith/routes")["data"]][-1] == made.name
        assert get(member, f"/tunesmith/routes/{made.name}")["reference"] == "colours@v1"
        first = get(member, "/tunesmith/routes", limit=2)
        assert len(get(member, "/tunesmith/routes", after=first["last_id"])["data"]) == 3


@pytest.mark.parametrize(
    "path",
    [
        "releases/nothing",
        "datasets/abcdef",
        "runs/nothing",
        "datasets/..",
        "runs/x/report",
        "recipes/nothing",
        "decisions/..",
        "decisions/x/report",
    ],
)
def test_what_is_not_there_is_not_found(trained: Running, path: str) -> None:
    with trained.client() as client, pytest.raises(openai.NotFoundError):
        get(client, f"/tunesmith/{path}")


def test_a_cursor_that_is_no_item_is_refused(trained: Running) -> None:
    with trained.client() as client, pytest.raises(openai.BadRequestError, match="after"):
        get(client, "/tunesmith/runs", after="nothing")


def test_members_see_nothing_of_it_but_have_recipes_checked(trained: Running) -> None:
    with trained.client() as client:
        made: Any = client.post("/tunesmith/keys", cast_to=object, body={"name": "m", "project": "p", "role": "member"})
    with trained.client(api_key=made["key"]) as member:
        for path in ("releases", "datasets", "runs", "recipes", "recipes/x", "decisions", "decisions/x"):
            with pytest.raises(openai.PermissionDeniedError):
                get(member, f"/tunesmith/{path}")
        assert check(member, {"name": "x"})["valid"] is False
