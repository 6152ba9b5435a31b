"""lm-evaluation-harness against our server, through its own clients and on tasks of local files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from tests.benchmarks.clients import PYTHON, QUESTIONS, REASON, run, write_lines
from tests.e2e.openai.conftest import Running
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base
from tunesmith.types.conversation import Message

pytestmark = [pytest.mark.skipif(not PYTHON, reason=REASON), pytest.mark.timeout(300), pytest.mark.slow]

CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_target": "answer",
    "doc_to_choice": "options",
    "metric_list": [{"metric": "acc"}],
}
GENERATE = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 8, "temperature": 0, "do_sample": False},
    "metric_list": [{"metric": "exact_match"}],
}


class Setting(NamedTuple):
    """The server, the folder of the tiny model's tokenizer and one to write in."""

    server: Running
    tiny: Path
    folder: Path


def evaluate(
    kind: str, task: dict[str, Any], rows: list[dict[str, Any]], setting: Setting, flags: tuple[str, ...] = ()
) -> Any:
    """(results, logged samples by document) of one run of `lm_eval`."""
    server, tiny, folder = setting
    data = write_lines(folder / "rows.jsonl", rows)
    where = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test"}
    # JSON is YAML.
    (folder / "mine.yaml").write_text(json.dumps({"task": "mine", **where, **task}), encoding="utf-8")
    endpoint = "chat/completions" if kind == "local-chat-completions" else "completions"
    model = f"model=base,base_url={server.url}/{endpoint},max_retries=1,num_concurrent=2,tokenizer={tiny}"
    run(
        *("lm_eval", "--model", kind, "--model_args", model, "--tasks", "mine", "--include_path", str(folder)),
        *("--output_path", str(folder / "out"), "--log_samples", *flags),
        folder=folder,
        environment={"OPENAI_API_KEY": server.key},
    )
    (results,) = (folder / "out").rglob("results_*.json")
    (samples,) = (folder / "out").rglob("samples_*.jsonl")
    logged = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    return json.loads(results.read_text())["results"]["mine"], sorted(logged, key=lambda one: one["doc_id"])


def reference(tiny: Path, prompt: tuple[int, ...], answer: tuple[int, ...]) -> tuple[float, bool]:
    """(log-likelihood, whether it is the greedy answer) by transformers."""
    with torch.inference_mode():
        logits = load_base(tiny, "float32")(input_ids=torch.tensor([[*prompt, *answer]])).logits[0]
    rows = logits[len(prompt) - 1 : -1].log_softmax(-1)
    chosen = rows[torch.arange(len(answer)), torch.tensor(answer)]
    return float(chosen.sum()), rows.argmax(-1).tolist() == list(answer)


@pytest.mark.parametrize("flags", [("--batch_size", "4"), ("--apply_chat_template",)])
def test_log_likelihoods_equal_transformers(
    server: Running, tiny: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """Each option's log-likelihood and whether it is greedy; the accuracy follows from them. One option is what the
    model says itself, so that one is greedy.
    """
    renderer, chat = Renderer(tiny), "--apply_chat_template" in flags
    prompts = {
        question: renderer.prompt_ids([Message(role="user", content=question)]) if chat else renderer.text_ids(question)
        for question, _ in QUESTIONS
    }
    first = QUESTIONS[0][0]
    said = server.client().completions.create(model="base", prompt=list(prompts[first]), temperature=0, max_tokens=1)
    rows = [{"question": question, "options": list(options), "answer": 1} for question, options in QUESTIONS]
    if said.choices[0].text.isascii() and said.choices[0].text.strip():
        rows[0]["options"] = [said.choices[0].text, *QUESTIONS[0][1][1:]]
    task = {**CHOICE, "target_delimiter": ""}
    found, samples = evaluate("local-completions", task, rows, Setting(server, tiny, tmp_path), flags)
    right = 0
    for row, sample in zip(rows, samples, strict=True):
        prompt = prompts[row["question"]]
        # lm-eval takes white space at the end of a context for a part of the answer, such as the template's line feed.
        moved = len(prompt) - (1 if chat else 0)
        ids = [(*prompt[moved:], *renderer.text_ids(option)) for option in row["options"]]
        options = [reference(tiny, prompt[:moved], option) for option in ids]
        told = [tuple(one[0]) for one in sample["resps"]]
        assert [float(likelihood) for likelihood, _ in told] == pytest.approx([one for one, _ in options], abs=1e-3)
        assert [str(greedy) == "True" for _, greedy in told] == [greedy for _, greedy in options]
        right += max(range(3), key=lambda place: options[place][0]) == row["answer"]
    assert found["acc,none"] == pytest.approx(right / len(rows))


@pytest.mark.parametrize("kind", ["local-completions", "local-chat-completions"])
def test_answers_are_the_server_s(server: Running, tiny: Path, tmp_path: Path, kind: str) -> None:
    """What lm-eval generates is what the server answers; four of six expected answers are right by construction."""
    rows = []
    for place, (question, _) in enumerate(QUESTIONS):
        options: dict[str, Any] = {"model": "base", "temperature": 0, "max_tokens": 8, "stop": ["\n\n"]}
        if kind == "local-completions":
            answer = server.client().completions.create(prompt=question, **options).choices[0].text
        else:
            messages: Any = [{"role": "user", "content": question}]
            answer = server.client().chat.completions.create(messages=messages, **options).choices[0].message.content
        rows.append({"question": question, "answer": answer if place % 3 else "never said"})
    flags = ("--apply_chat_template",) if kind == "local-chat-completions" else ()
    found, samples = evaluate(kind, GENERATE, rows, Setting(server, tiny, tmp_path), flags)
    assert [sample["resps"][0][0] for sample in samples if sample["doc_id"] % 3] == [
        row["answer"] for place, row in enumerate(rows) if place % 3
    ]
    assert found["exact_match,none"] == pytest.approx(4 / 6)
