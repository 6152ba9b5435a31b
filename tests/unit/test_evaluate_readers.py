"""Readers on the files that their authors publish, with counts made another way, and on small files by hand."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tunesmith import plugins
from tunesmith.errors import DataError
from tunesmith.evaluate.item import FOLDER as ITEMS
from tunesmith.evaluate.metric import Answered, Graded, load_metric
from tunesmith.evaluate.reader import load_reader
from tunesmith.evaluate.scoring import score
from tunesmith.types.fields import PluginSpec
from tunesmith.types.report import Prediction
from tunesmith.types.suite import Item

DATA = Path(__file__).parents[3] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not beside the repository")


def read(name: str, path: Path, limit: int = 0, **options: Any) -> list[Item]:
    items = list(load_reader(PluginSpec.model_validate({"name": name, **options})).read(path, limit))
    assert len({item.id for item in items}) == len(items)
    assert {item.type for item in items} <= set(plugins.names(ITEMS))
    return items


def answered(item: Item, answer: str = "", **fields: Any) -> Prediction:
    base = {"example_id": item.id, "label": None, "tokens": 1, "seconds": 0.1, "first_token_seconds": 0.1}
    own = {"reference": item.reference, "options": item.options, "expect": item.expect, "finish_reason": "stop"}
    return Prediction.model_validate({**base, **own, "answer": answer, **fields})


def value(metric: str, rows: list[Prediction]) -> float | None:
    return score(metric, rows, (), 0.95).value


@real
def test_mmlu() -> None:
    items = read("mmlu", DATA / "mmlu" / "dev")
    assert len(items) == 57 * 5
    assert set(Counter(item.tags["subject"] for item in items).values()) == {5}
    first = next(item for item in items if item.tags["subject"] == "abstract_algebra")
    assert first.messages[-1].content is not None
    assert first.messages[-1].content.startswith(
        "Find all c in Z_3 such that Z_3[x]/(x^2 + c) is a field.\nA. 0\nB. 1\n"
    )
    assert (first.reference, first.options) == ("B", ("A", "B", "C", "D"))
    with (DATA / "mmlu" / "dev" / "virology_dev.csv").open(newline="", encoding="utf-8") as stream:
        answers = [row["answer"] for row in csv.DictReader(stream)]
    assert [item.reference for item in items if item.tags["subject"] == "virology"] == ["ABCD"[int(a)] for a in answers]
    assert value("multiple_choice_accuracy", [answered(item, f"({item.reference})") for item in items]) == 1.0


def test_mmlu_as_its_authors_write_it(tmp_path: Path) -> None:
    path = tmp_path / "anatomy_test.csv"
    path.write_text('"Which, of these?",one,two,three,four,C\nNext?,1,2,3,4,A\n')
    items = read("mmlu", path)
    assert [item.reference for item in items] == ["C", "A"]
    assert items[0].tags == {"subject": "anatomy"}
    path.write_text("Which?,one,two,three,four,C\nNext?,1,2,3,4,E\n")
    with pytest.raises(DataError, match=r"anatomy_test.csv:2.*'E' is no option"):
        read("mmlu", path)


@real
def test_ifeval() -> None:
    path = DATA / "ifeval" / "ifeval_single_instr_format.jsonl"
    items = read("ifeval", path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(items) == len(rows) == 163
    assert Counter(item.tags["instruction"] for item in items) == Counter(row["instruction_id_list"][0] for row in rows)
    assert Counter(i.tags["instruction"] for i in items).most_common(1) == [
        ("detectable_format:number_highlighted_sections", 19)
    ]
    bullets = next(item for item in items if item.id == "102")
    assert bullets.expect["constraints"] == [{"name": "bullets", "exactly": 3}]
    assert value("constraints", [answered(bullets, "* a\n* b\n* c"), answered(bullets, "* a")]) == 0.5
    assert 0.0 < (value("constraints", [answered(item, "HELLO.") for item in items]) or 0.0) < 0.5


def test_ifeval_with_several_instructions_and_nulls(tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    ids = ["punctuation:no_comma", "length_constraints:number_words"]
    kwargs = [{"num_words": None}, {"relation": "at least", "num_words": 300, "keyword": None}]
    row = {"key": 1000, "prompt": "Write.", "instruction_id_list": ids, "kwargs": kwargs}
    path.write_text(json.dumps(row))
    (item,) = read("ifeval", path)
    assert item.tags == {"instruction": "several"}
    assert item.expect["constraints"] == [{"name": "no_commas"}, {"name": "words", "at_least": 300}]
    path.write_text("\n" + json.dumps({**row, "instruction_id_list": ["no:such", ids[1]]}))
    with pytest.raises(DataError, match=r"input.jsonl:2.*'no:such' is no instruction"):
        read("ifeval", path)


def calls_of(item: Item, place: int = 0) -> tuple[dict[str, str], ...]:
    """The wanted calls, each argument with its right value at `place` (or the last one)."""

    def plain(right: Any) -> Any:
        return inner(right[min(place, len(right) - 1)])

    def inner(chosen: Any) -> Any:
        if isinstance(chosen, list):
            return [inner(each) for each in chosen]
        return {key: each[0] for key, each in chosen.items()} if isinstance(chosen, dict) else chosen

    wanted: Any = item.expect["calls"]
    return tuple(
        {
            "name": call["name"],
            "arguments": json.dumps({name: plain(right) for name, right in call["arguments"].items() if right != [""]}),
        }
        for call in wanted
    )


@real
def test_bfcl() -> None:
    items = read("bfcl", DATA / "bfcl" / "BFCL_v4_simple_python.json")
    assert len(items) == 400
    assert {item.tags["category"] for item in items} == {"simple_python"}
    written = json.dumps([item.tools for item in items])
    assert not any(f'"type": "{name}"' in written for name in ("dict", "float", "tuple", "any"))
    assert written.count('"type": "object"') == 407  # the file says dict 407 times
    assert items[1].tools[0]["function"]["name"] == "math_factorial"
    rows = [answered(item, calls=calls_of(item)) for item in items]
    assert value("tool_call_match", rows) == 1.0
    assert value("tool_schema_success", rows) >= 0.99  # type: ignore[operator]  # some right answers are of another type
    assert value("tool_call_match", [answered(item) for item in items]) == 0.0
    others = [answered(item, calls=calls_of(other)) for item, other in itertools.pairwise(items)]
    assert value("tool_call_match", others) == 0.0


@real
def test_bfcl_irrelevance_wants_no_call() -> None:
    items = read("bfcl", DATA / "bfcl" / "BFCL_v4_irrelevance.json")
    assert len(items) == 240
    assert value("tool_call_match", [answered(item) for item in items]) == 1.0
    calling = [
        answered(item, calls=({"name": item.tools[0]["function"]["name"], "arguments": "{}"},)) for item in items
    ]
    assert value("tool_call_match", calling) == 0.0


def test_bfcl_without_answers_and_in_several_turns(tmp_path: Path) -> None:
    path = tmp_path / "BFCL_v4_parallel.json"
    row = {"id": "p_0", "question": [[{"role": "user", "content": "?"}]], "function": [{"name": "f", "parameters": {}}]}
    path.write_text(json.dumps(row))
    with pytest.raises(DataError, match="its answers are not at"):
        read("bfcl", path)
    (tmp_path / "right").mkdir()
    (tmp_path / "right" / path.name).write_text(json.dumps({"id": "p_0", "ground_truth": [{"f": {}}, {"f": {}}]}))
    (item,) = read("bfcl", path, answers="right")
    assert item.expect["calls"] == [{"name": "f", "arguments": {}, "optional": [], "nested": True}] * 2
    path.write_text(json.dumps({**row, "question": row["question"] * 2}))
    with pytest.raises(DataError, match="p_0 has 2 turns"):
        read("bfcl", path, answers="right")


@real
def test_xstest() -> None:
    items = read("xstest", DATA / "xstest" / "xstest_prompts.csv")
    assert Counter(item.expect["refusal"] for item in items) == {"comply": 250, "refuse": 200}
    assert len(Counter(item.tags["type"] for item in items)) == 18
    refused = [answered(item, "I'm sorry, but I can't help with that.") for item in items]
    assert value("refusal_correctness", refused) == pytest.approx(200 / 450)
    assert value("over_refusal", refused) == 1.0


@real
def test_harmbench() -> None:
    path = DATA / "harmbench" / "harmbench_behaviors_text_val.csv"
    items = read("harmbench", path)
    assert Counter(item.tags["kind"] for item in items) == {"standard": 41, "copyright": 20, "contextual": 19}
    assert len(read("harmbench", path, kinds=["copyright"], limit=7)) == 7
    assert all(item.expect == {"refusal": "refuse"} for item in items)
    shown = [str(item.messages[-1].content) for item in items if item.tags["kind"] == "contextual"]
    assert all("\n\n---\n\n" in text for text in shown)


@real
@pytest.mark.skipif(sys.platform != "linux", reason="seccomp and Landlock are Linux's")
def test_mbpp_s_own_solutions_pass_and_broken_ones_do_not() -> None:
    items = read("mbpp", DATA / "mbpp" / "mbpp_sanitized_for_code_generation.jsonl")
    assert len(items) == 427
    metric = load_metric("pass_at_k")
    assert isinstance(metric, Graded)
    some = items[:12]
    right = [Answered(item, answered(item, f"```python\n{item.reference}\n```")) for item in some]
    broken = [Answered(item, answered(item, item.reference.replace("return", "return None #"))) for item in some]
    grades = asyncio.run(metric.grade([*right, *broken], None))
    assert grades == [1.0] * 12 + [0.0] * 12


def test_mbpp_in_its_authors_forms(tmp_path: Path) -> None:
    path = tmp_path / "mbpp.json"
    test = "assert math.isclose(f(1), 1)"
    sanitized = {
        "task_id": 2,
        "prompt": "Write f.",
        "code": "f = abs",
        "test_imports": ["import math"],
        "test_list": [test],
    }
    plain = {"task_id": 3, "text": "Write f.", "code": "f = abs", "test_setup_code": "import math", "test_list": [test]}
    for row in (sanitized, plain):
        path.write_text(json.dumps([row]))
        (item,) = read("mbpp", path)
        assert item.expect == {"tests": [test], "setup": "import math"}
        assert item.reference == "f = abs"
        assert test in str(item.messages[-1].content)


@real
def test_bipia() -> None:
    path = DATA / "bipia" / "email_train.jsonl"
    plain = read("bipia", path)
    assert len(plain) == 50
    assert plain[0].reference == "$2099.00"
    crossed = read("bipia", path, attacks="text_attack_train.json", positions=["start", "end"])
    assert len(crossed) == 50 * 75 * 2
    assert set(Counter(item.tags["attack"] for item in crossed).values()) == {50 * 5 * 2}
    assert len({item.group for item in crossed}) == 50
    first = crossed[0]
    assert str(first.messages[-1].content).startswith("What is the capital of Brazil?\nSUBJECT: Your card")
    assert "capital of Brazil" in str(first.expect["rubric"])


def test_bipia_puts_the_attack_into_the_middle_at_a_space(tmp_path: Path) -> None:
    (tmp_path / "mail.jsonl").write_text(
        json.dumps({"context": "one two three four", "question": "Q?", "ideal": ["a", 1]})
    )
    (tmp_path / "attacks.json").write_text(json.dumps({"Other": ["Stop."]}))
    (item,) = read("bipia", tmp_path / "mail.jsonl", attacks="attacks.json", positions=["middle"])
    assert item.messages[-1].content == "one two three\nStop.\nfour\n\nQ?"
    assert item.reference == "a, 1"


@real
def test_xquad() -> None:
    path = DATA / "xquad" / "xquad.en.json"
    items = read("xquad", path)
    assert len(items) == 1190
    assert (len({item.tags["article"] for item in items}), len({item.group for item in items})) == (48, 240)
    assert all(item.reference in str(item.messages[-1].content) for item in items)
    more = read("xquad", path, limit=3, distractors=2)
    assert [len(item.expect["contexts"]) for item in more] == [3, 3, 3]  # type: ignore[arg-type]
    right = [answered(item, f"{item.reference} [{item.expect['citations'][0]}]") for item in items]  # type: ignore[call-overload,index]
    assert value("citation_accuracy", right) == 1.0
    assert value("unknown_citation_rate", right) == 0.0
    assert (value("groundedness", right) or 0.0) > 0.99
    moved = [answered(item, row.answer) for item, row in zip(items[200:], right, strict=False)]
    assert (value("groundedness", moved) or 1.0) < 0.25  # another paragraph's answers


def test_squad_2_s_impossible_questions_are_to_be_refused(tmp_path: Path) -> None:
    question = {"id": "q", "question": "Who?", "answers": [], "is_impossible": True}
    article = {"title": "T", "paragraphs": [{"context": "Nobody.", "qas": [question]}]}
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [article]}))
    (item,) = read("xquad", path)
    assert (item.expect["refusal"], item.expect["citations"]) == ("refuse", [])


@real
def test_gsm8k() -> None:
    path = DATA / "gsm8k" / "train_first_2500.jsonl"
    items = read("gsm8k", path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [item.reference for item in items] == [line["answer"].split("#### ")[1].strip() for line in lines]
    assert value("final_number", [answered(i, line["answer"]) for i, line in zip(items, lines, strict=True)]) == 1.0
    assert value("final_number", [answered(i, f"So it is ${i.reference}.00.") for i in items]) == 1.0
    wrong = [answered(item, f"#### {int(item.reference.replace(',', '')) + 1}") for item in items]
    assert value("final_number", wrong) == 0.0


@pytest.mark.parametrize(
    ("answer", "right"),
    [("#### 1,000", 1.0), ("x #### $1000.00.", 1.0), (r"\boxed{1000}", 1.0), ("1000 of 1000.", 1.0), ("none", 0.0),
     ("#### 999 or 1000", 0.0), ("-1000", 0.0), ("1000 #### none", 0.0), ("So:\n- 1000", 1.0), ("result - 1000", 1.0),
     ("900-1000", 1.0), ("5 apples-1000", 1.0), ("= -1000", 0.0), ("\u22121000", 0.0)],
)  # fmt: skip
def test_final_numbers_by_hand(answer: str, right: float) -> None:
    item = Item(id="x", type="number", messages=(), reference="1000")
    assert value("final_number", [answered(item, answer)]) == right


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [(-5, "\u22125"), (-5, "-$5.00"), (1e-05, "0.00001"), (1e16, "10000000000000000"), ("-3", "-3")],
)
def test_numbers_below_zero_tiny_and_huge(wanted: float | str, answer: str) -> None:
    item = Item(id="x", type="number", messages=(), expect={"number": wanted})
    assert value("final_number", [answered(item, answer)]) == 1.0


@real
def test_conversations_of_fastchat() -> None:
    path = DATA / "mt_bench" / "dummy_conversation.json"
    items = read("mt_bench", path, rubric="tone")
    turns = Counter(
        sum(said["from"] == "human" for said in row["conversations"])
        for row in json.loads(path.read_text(encoding="utf-8"))
    )
    assert len(items) == 500
    assert Counter(1 + len(item.followups) for item in items) == turns
    assert items[0].messages[-1].content == "Who are you?"
    assert (items[0].followups, items[0].reference) == (("Have a nice day!",), "You too!")


def test_mt_bench_questions(tmp_path: Path) -> None:
    path = tmp_path / "question.jsonl"
    row = {"question_id": 81, "category": "writing", "turns": ["Write a post.", "Shorten it."], "reference": ["a", "b"]}
    path.write_text(json.dumps(row))
    (item,) = read("mt_bench", path)
    assert (item.id, item.type, item.tags, item.followups, item.reference) == (
        "81", "multi_turn", {"category": "writing"}, ("Shorten it.",), "b",
    )  # fmt: skip
    path.write_text(json.dumps({"turns": []}))
    with pytest.raises(DataError, match="has no turns"):
        read("mt_bench", path)
