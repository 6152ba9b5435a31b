"""Augmentation: what each way asks and makes, what is kept, and that nothing is asked twice."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tunesmith import plugins
from tunesmith.cli.main import app
from tunesmith.errors import NotFound, RecipeError
from tunesmith.prepare.answer_cache import RememberedAnswers
from tunesmith.prepare.augment.typos import Typos
from tunesmith.prepare.augmentation import AskFailed, Drawing, Unmade, similarity, text_of
from tunesmith.prepare.augmenting import FOLDER, Augmented, Checks, Parent, augment, load_way
from tunesmith.prepare.families import family
from tunesmith.prepare.steps.quality import Quality
from tunesmith.progress import Silent
from tunesmith.types.conversation import Conversation, Message

ASKED = "How do I activate my new card please"


def chat(user: str, answer: str = "activate", system: str = "") -> Conversation:
    opening = (Message(role="system", content=system),) if system else ()
    return Conversation(
        messages=(*opening, Message(role="user", content=user), Message(role="assistant", content=answer))
    )


class Model:
    """Says what `said` holds for the last message, else the message with a word more; keeps what it was asked."""

    def __init__(self, said: Mapping[str, str] | None = None) -> None:
        self.said = said or {}
        self.asked: list[Sequence[Mapping[str, Any]]] = []

    async def __call__(self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
        self.asked.append(messages)
        text = str(messages[-1]["content"])
        said = self.said.get(text, f"{text} indeed")
        if said == "fails":
            raise AskFailed("status 500")
        if said == "refuses":
            raise Unmade("refused")
        return said


def run(rows: Sequence[Conversation], ways: dict[str, Any], ask: Any, checks: Checks | None = None) -> Augmented:
    parents = [Parent(row, f"a.csv:{index + 2}") for index, row in enumerate(rows)]
    loaded = {
        name: (load_way(name, {k: v for k, v in way.items() if k != "count"}), way.get("count", 1))
        for name, way in ways.items()
    }
    return asyncio.run(augment(parents, loaded, ask, checks or Checks(), Silent()))


def test_rewritten_inputs_keep_the_answer_the_parent_and_its_family() -> None:
    model = Model({ASKED: '"Please, how can I activate the card I just got?"'})
    made = run([chat(ASKED, system="Label it.")], {"paraphrase": {}}, model)
    (row,) = made.rows
    assert [message.content for message in row.messages] == [
        "Label it.",
        "Please, how can I activate the card I just got?",
        "activate",
    ]
    parent = chat(ASKED, system="Label it.")
    assert row.metadata == {"family": family(parent), "parent": "a.csv:2", "made_by": "paraphrase"}
    assert family(row) == family(chat(ASKED.upper(), "another answer", "label it."))
    assert "in other words" in model.asked[0][0]["content"]
    assert made.ledger == {"kept": 1}


@pytest.mark.parametrize(
    ("way", "options", "asks", "input_", "output"),
    [
        ("simplification", {}, 1, f"{ASKED} indeed", "activate"),
        ("synonyms", {"side": "output"}, 1, ASKED, "activate indeed"),
        ("variations", {}, 1, f"{ASKED} indeed", "activate"),
        ("variations", {"side": "output"}, 1, ASKED, f"{ASKED} indeed"),
        ("back_translation", {}, 2, f"{ASKED} indeed indeed", "activate"),
        ("from_seeds", {}, 2, f"{ASKED} indeed", f"{ASKED} indeed indeed"),
    ],
)
def test_what_each_way_makes(way: str, options: dict[str, Any], asks: int, input_: str, output: str) -> None:
    model = Model()
    made = run([chat(ASKED)], {way: {**options, "least": 0.0, "most": 1.0}}, model)
    assert len(model.asked) == asks
    assert (text_of(made.rows[0], "input"), text_of(made.rows[0], "output")) == (input_, output)


def test_variations_show_the_answer_and_back_translation_its_languages() -> None:
    model = Model()
    run([chat(ASKED)], {"variations": {}, "back_translation": {"through": ["Dutch"]}}, model)
    said = [messages[0]["content"] for messages in model.asked]
    assert any("'activate'" in text for text in said)
    assert [("Dutch" in text, "English" in text) for text in said if "Translate" in text] == [
        (True, False),
        (False, True),
    ]


def test_every_row_asked_for_is_accounted_for() -> None:
    said = {
        "copies itself word for word": "copies itself word for word",
        "goes somewhere": "zzzz qqqq xxxx",
        "fails": "fails",
        "refuses": "refuses",
        "says nothing": " ",
        "is echoed by the answer": "is this one echoed by the answer",
    }
    rows = [*(chat(text) for text in said), chat(ASKED), chat(f"{ASKED} indeed")]
    said = {**said, f"{ASKED} indeed": f"Tell me how to activate it, {ASKED}"}
    rows[5] = chat("is echoed by the answer", "Is this one echoed by the answer? Yes")
    steps = (Quality(action="drop").open(Path()),)
    made = run(rows, {"paraphrase": {}}, Model(said), Checks(steps=steps))
    assert made.ledger == {
        "too_similar": 1,
        "too_different": 1,
        "failed": 1,
        "refused": 1,
        "empty": 1,
        "echo": 1,
        "duplicate": 1,  # what is made of the last but one row is what the last one says
        "kept": 1,
    }
    assert made.complaint == "status 500"


def test_a_judge_filters() -> None:
    async def accept(rows: Sequence[Conversation]) -> list[float | None]:
        return [None if "b" in text_of(row, "input") else float("c" in text_of(row, "input")) for row in rows]

    rows = [chat(f"{letter} " * 9) for letter in "abc"]
    made = run(rows, {"paraphrase": {}}, Model(), Checks(accept=accept, at_least=1.0))
    assert made.ledger == {"below": 1, "unscored": 1, "kept": 1}
    assert text_of(made.rows[0], "input").startswith("c")


def test_typos_need_no_model_and_are_repeatable() -> None:
    text = "How do I activate my new payment card number 4711 in 2 days please"
    ways = {"typos": {"rate": 0.3, "count": 3}}
    made = run([chat(text)], ways, None)
    assert made.ledger == {"kept": 3}
    assert made == run([chat(text)], ways, None)
    assert len({text_of(row, "input") for row in made.rows}) == 3
    for row in made.rows:
        words = list(zip(text.split(), text_of(row, "input").split(), strict=True))
        changed = [(old, new) for old, new in words if old != new]
        assert 1 <= len(changed) <= 2  # 30% of activate, payment, card, number, days, please, rounded
        for old, new in changed:
            assert len(old) >= 4
            assert new[0] == old[0]
            assert abs(len(new) - len(old)) <= 1
        assert {"4711", "2"} <= {new for _, new in words}
        assert 0.5 < similarity(chat(text), row, "input") < 1


def test_casing() -> None:
    def cased(casing: str) -> str:
        drawing = Drawing(random.Random(1), 1, Model())
        return text_of(asyncio.run(Typos(casing=casing).make(chat(ASKED), drawing)), "input")  # type: ignore[arg-type]

    assert cased("upper").isupper()
    assert cased("lower").islower()
    assert run([chat("12 34")], {"typos": {}}, None).ledger == {"nothing_to_change": 1}


def test_a_way_that_needs_a_model_says_so_and_options_are_checked() -> None:
    with pytest.raises(NotFound, match="paraphrase needs a model"):
        run([chat(ASKED)], {"paraphrase": {}}, None)
    with pytest.raises(RecipeError, match=r"typos\.rat: .*did you mean 'rate'"):
        load_way("typos", {"rat": 0.1})
    with pytest.raises(NotFound, match="Did you mean 'typos'"):
        load_way("typo", {})
    assert {"paraphrase", "typos", "from_seeds"} <= set(plugins.names(FOLDER))


def test_remembered_answers(tmp_path: Path) -> None:
    """Same questions at once are one; a second run asks nothing; a torn line is asked again; failures are not kept."""
    path = tmp_path / "answers.jsonl"
    model = Model({"no": "refuses", "broken": "fails"})

    async def ask(known: RememberedAnswers, texts: Sequence[str]) -> list[Any]:
        asked = (known([{"role": "user", "content": text}], {"seed": 1}) for text in texts)
        return await asyncio.gather(*asked, return_exceptions=True)

    with RememberedAnswers(path, "m", model) as known:
        first = asyncio.run(ask(known, ["a", "a", "no", "broken"]))
    assert first[:2] == ["a indeed"] * 2
    assert [type(each) for each in first[2:]] == [Unmade, AskFailed]
    assert len(model.asked) == 3
    with RememberedAnswers(path, "m", model) as known:
        again = asyncio.run(ask(known, ["a", "no", "broken"]))
        assert (known.asked, known.remembered) == (1, 2)
    assert again[0] == "a indeed"
    assert again[1].reason == "refused"
    path.write_text(path.read_text()[:-20])  # as a kill leaves it
    with RememberedAnswers(path, "m", model) as known:
        asyncio.run(ask(known, ["a", "no", "b"]))
        assert known.asked == 2
    with RememberedAnswers(path, "m", model) as known:
        assert asyncio.run(ask(known, ["a", "b"])) == ["a indeed", "b indeed"]
        assert known.asked == 0
    with RememberedAnswers(path, "other", model) as known:
        asyncio.run(ask(known, ["a"]))
        assert known.asked == 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """An OpenAI-compatible server that adds a word to the question; gives the bodies it was sent."""
    seen: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        seen.append(body)
        message = {"role": "assistant", "content": body["messages"][-1]["content"] + " right now"}
        return httpx.Response(200, json={"choices": [{"message": message, "finish_reason": "stop"}]})

    plain = httpx.AsyncClient
    monkeypatch.setattr(
        "tunesmith.grade.judge.httpx.AsyncClient",
        lambda **options: plain(**{**options, "transport": httpx.MockTransport(answer)}),
    )
    return seen


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["augment", *arguments])


def test_the_command(server: list[dict[str, Any]], tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "more.jsonl"
    rows.write_text(f"prompt,completion\n{ASKED},activate\nWhere is my money now,lost\n")
    (tmp_path / "grader.yaml").write_text("type: string_check\nreference: activate\n")
    arguments = [str(rows), "--out", str(out), "--way", "paraphrase", "--way", "{name: typos, count: 2}"]
    judged = ["--teacher", "big@http://t/v1", "--grader", f"{tmp_path}/grader.yaml@0.5"]
    result = invoke(*arguments, *judged)
    assert result.exit_code == 0, result.stderr
    assert "2 rows; new ones: 3 below, 3 kept\n2 questions asked, 0 remembered" in result.stdout
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(written) == 5
    assert all(row["family"] == written[0]["family"] for row in (written[0], *written[2:]))
    assert [row.get("made_by") for row in written] == [None, None, "paraphrase", "typos", "typos"]
    assert [row.get("parent") for row in written[2:]] == ["rows.csv:2"] * 3
    again = invoke(*arguments, *judged, "--json")
    assert {key: json.loads(again.stdout)[key] for key in ("asked", "remembered")} == {"asked": 0, "remembered": 2}
    assert len(server) == 2
    augmented = [json.loads(line) for line in out.read_text().splitlines()]
    assert augmented == written


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "more.jsonl"
    rows.write_text("prompt,completion\nHow do I pay,pay\n")  # no word of four letters
    start = [str(rows), "--out", str(out), "--way"]
    assert "needs a model to ask" in invoke(*start, "synonyms").stderr
    assert "did you mean 'rate'" in invoke(*start, "{name: typos, rat: 1}").stderr
    assert "count is 0" in invoke(*start, "{name: typos, count: 0}").stderr
    assert "least (0.9) is above most (0.2)" in invoke(*start, "{name: typos, least: 0.9, most: 0.2}").stderr
    assert "'high' is no grade" in invoke(*start, "typos", "--grader", "g.yaml@high").stderr
    assert "Not one new row was kept: {'nothing_to_change': 1}" in invoke(*start, "typos").stderr
    rows.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    (tmp_path / "rows.jsonl").write_bytes(rows.read_bytes())
    assert "holds preference rows" in invoke(str(tmp_path / "rows.jsonl"), "--out", str(out), "--way", "typos").stderr
    assert not out.exists()


def test_a_recipe_gives_its_training_sources_columns_and_steps(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nHow do I pay with {{name}},pay\nWhere is my money now,lost\n")
    (tmp_path / "test.csv").write_text("text,label\nHow do I pay with it,pay\n")
    recipe, out = tmp_path / "r.yaml", tmp_path / "more.jsonl"
    recipe.write_text(
        "name: a\nprepare:\n  sources:\n    - {path: train.csv, columns: {prompt: text, completion: label}}\n"
        "    - {path: test.csv, split: test, columns: {prompt: text, completion: label}}\n"
        "  steps: [{name: placeholders, placeholders: drop}, {name: near_duplicates}]\nrelease: {name: a}\n"
    )
    result = invoke(str(recipe), "--out", str(out), "--way", "typos", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["ledger"] == {"kept": 1, "placeholder": 1}
    assert json.loads(result.stdout)["parents"] == 2


def test_new_rows_land_in_their_parents_split(run: Any, tmp_path: Path) -> None:
    """Prepared with other system prompts, cleaned and shuffled by the seed, no family is divided."""
    source, out = tmp_path / "rows.jsonl", tmp_path / "more.jsonl"
    rows = ({"prompt": f"Question number {index} about  my payments", "completion": "ok"} for index in range(40))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert invoke(str(source), "--out", str(out), "--way", "{name: typos, count: 3}").exit_code == 0
    steps = [{"name": "clean"}]
    dataset = run(
        {"more.jsonl": out.read_text()}, steps=steps, system="Be kind.", split={"validation": 0.2, "test": 0.2}
    )
    splits: dict[str, set[str]] = {}
    counts = dict.fromkeys(("train", "validation", "test"), 0)
    for name in counts:
        for example in dataset.examples(name):
            splits.setdefault(example.content.metadata["family"], set()).add(name)
            counts[name] += 1
    assert len(splits) == 40
    assert all(len(names) == 1 for names in splits.values())
    assert counts["validation"] > 8
    assert counts["test"] > 8


def test_what_was_made_of_test_rows_is_left_out_of_training(run: Any, tmp_path: Path) -> None:
    source, out = tmp_path / "rows.jsonl", tmp_path / "more.jsonl"
    rows = [json.dumps({"prompt": f"Question number {n} about my payments", "completion": "ok"}) for n in range(6)]
    source.write_text("\n".join(rows))
    assert invoke(str(source), "--out", str(out), "--way", "{name: typos, count: 3}").exit_code == 0
    files = {"more.jsonl": out.read_text(), "held.jsonl": "\n".join(rows[:2])}
    sources = [{"path": "more.jsonl", "split": "train"}, {"path": "held.jsonl", "split": "test"}]
    dataset = run(files, sources=sources)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    held = sum(
        row.get("parent", f"rows.jsonl:{n}") in ("rows.jsonl:1", "rows.jsonl:2") for n, row in enumerate(written, 1)
    )
    assert held > 5
    assert {drop.reason: drop.rows for drop in dataset.manifest.ledger.drops} == {"duplicate_of_test": held}
    assert len(list(dataset.examples("test"))) == 2
    parents = {example.content.metadata.get("parent") for example in dataset.examples("train")}
    assert parents == {None, *(f"rows.jsonl:{line}" for line in range(3, 7))}
    sources = [{"path": "more.jsonl"}, {"path": "held.jsonl", "split": "test"}]
    followed = run(files, sources=sources, deduplicate="off")
    assert len(list(followed.examples("test"))) == 2 + held  # both rows, their copies, and what was made of them
