"""Row steps: what each finds, changes and drops, by hand."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from tunesmith.errors import RecipeError
from tunesmith.prepare.steps.clean import Clean
from tunesmith.prepare.steps.language import Language
from tunesmith.prepare.steps.placeholders import Placeholders
from tunesmith.prepare.steps.quality import Quality
from tunesmith.prepare.steps.refusals import Refusals
from tunesmith.prepare.steps.repetition import Repetition
from tunesmith.types.conversation import Conversation, FunctionCall, Message, ToolCall
from tunesmith.types.preference import Labelled, Preference, Prompt

PROGRAM = "def f(x):\n    y  = x   # aligned\n\n\n\n    return y\n"


def said(outcome: Any) -> str:
    return outcome.content.messages[-1].content


@pytest.mark.parametrize(
    ("dirty", "clean", "kinds"),
    [
        ("plain", "plain", []),
        ("cafe\u0301", "café", ["cleaned_unicode"]),
        ("in\u200bvisible\ufeff so\u00adft", "invisible soft", ["cleaned_invisible"]),
        (
            "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627",
            "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627",
            [],
        ),  # Persian needs it
        ("\U0001f468\u200d\U0001f469\u200d\U0001f466", "\U0001f468\u200d\U0001f469\u200d\U0001f466", []),  # one emoji
        ("a\u202egnp.exe\x07", "agnp.exe", ["cleaned_invisible"]),
        ("one\r\ntwo\rthree", "one\ntwo\nthree", ["cleaned_line_ends"]),
        ("  a   b\u00a0c  \n\n\n\nd ", "a b c\n\nd", ["cleaned_whitespace"]),
        ("- one\n  - two  levels", "- one\n  - two levels", ["cleaned_whitespace"]),
        (PROGRAM, PROGRAM, []),
        (
            "See  this:\n```\na   =  1\n```\nand  that",
            "See this:\n```\na   =  1\n```\nand that",
            ["cleaned_whitespace"],
        ),
        ("Thanks\nSent from my iPhone", "Thanks", ["cleaned_boilerplate", "cleaned_whitespace"]),
        ("I sent from my iPhone a photo", "I sent from my iPhone a photo", []),
    ],
)
def test_clean(row: Any, outcome: Any, dirty: str, clean: str, kinds: list[str]) -> None:
    found = outcome(Clean(), row("question", dirty))
    assert said(found) == clean
    assert [finding.kind for finding in found.findings] == kinds
    assert unicodedata.is_normalized("NFC", said(found))
    assert outcome(Clean(), found.content).content is found.content  # clean rows are left as they are


def test_clean_drops_what_is_left_empty_and_removes_what_it_is_told(row: Any, outcome: Any) -> None:
    assert outcome(Clean(), row("question", "All rights reserved.")).reason == "empty_after_cleaning"
    assert said(outcome(Clean(remove=(r"\s*\[\d+\]",)), row("q", "Paris [1] is big [22]."))) == "Paris is big."
    with pytest.raises(RecipeError, match=r"clean\.remove: '\[': unterminated"):
        outcome(Clean(remove=("[",)), row("q", "a"))


def test_clean_keeps_tool_calls_json(outcome: Any) -> None:
    call = ToolCall(id="1", function=FunctionCall(name="f", arguments='{"city": "Sa\u0303o  Paulo", "n": 1}'))
    found = outcome(Clean(), Conversation(messages=(Message(role="assistant", tool_calls=(call,)),)))
    assert found.content.messages[0].tool_calls[0].function.arguments == '{"city": "São Paulo", "n": 1}'


def test_every_kind_of_row_is_cleaned(outcome: Any) -> None:
    asked, answer = Message(role="user", content="a\u200b"), Message(role="assistant", content="b\u200b")
    better = answer.model_copy(update={"content": "b"})
    preference = outcome(Clean(), Preference(prompt=(asked,), chosen=(answer,), rejected=(answer,))).content
    assert (preference.prompt[0].content, preference.chosen, preference.rejected) == ("a", (better,), (better,))
    labelled = outcome(Clean(), Labelled(prompt=(asked,), completion=(answer,), label=True)).content
    assert (labelled.completion, labelled.label) == ((better,), True)
    assert outcome(Clean(), Prompt(messages=(asked,), reference="c\u200b")).content.reference == "c"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Dear {{customer_name}}, hello", "placeholder"),
        ("Dear [Your Name],", "placeholder"),
        ("Dear <insert name here>", "placeholder"),
        ("Lorem ipsum dolor", "placeholder"),
        ("${USER}", "placeholder"),
        ("The end<|endoftext|>", "special_token"),
        ("<|im_start|>user", "special_token"),
        ("[INST] hello [/INST]", "special_token"),
        ("</s>", "special_token"),
        ("<end_of_turn>", "special_token"),
        ("if a < b | c > d: {x}", ""),
        ("f'{name}' and a[0] and <b>bold</b>", ""),
        ("[enterprise] [your-site](x)", "placeholder"),
        ("the entire text [entering]", ""),
    ],
)
def test_placeholders(row: Any, outcome: Any, text: str, kind: str) -> None:
    found = outcome(Placeholders(), row(text, "fine"))
    assert {finding.kind for finding in found.findings} == ({kind} if kind else set())
    assert found.content is not None
    dropped = outcome(Placeholders(placeholders="drop", tokens="drop"), row("fine", text))
    assert dropped.reason == kind


def test_special_tokens_are_removed_and_ones_own_are_known(row: Any, outcome: Any) -> None:
    step = Placeholders(tokens="remove", special_tokens=("<order>",), allow=("{{name}}",))
    found = outcome(step, row("hi {{name}}", "a<order>b<|eot_id|>"))
    assert said(found) == "ab"
    assert [finding.detail for finding in found.findings] == ["<order>", "<|eot_id|>"]


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot provide instructions for this.", True),
        ("As an AI language model, I don't have opinions, so I cannot say.", True),
        ("I must respectfully decline.", True),
        ("I can’t assist with that request.", True),
        ("I am sorry to hear that your card was lost. Block it in the app.", False),
        ("You can't provide two addresses, but you can change the one.", False),
        ("Sure! Here is how to do that.", False),
        ("The story begins. " * 20 + "I cannot help you, said the fox.", False),
    ],
)
def test_refusals(row: Any, outcome: Any, answer: str, refuses: bool) -> None:
    assert bool(outcome(Refusals(), row("q", answer)).findings) == refuses
    assert outcome(Refusals(action="drop"), row("q", answer)).reason == ("refusal" if refuses else "")
    assert not outcome(Refusals(), row(answer, "fine")).findings  # the user may say so


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ("the cat " * 20, "of the answer is 'the cat'"),
        ("word " * 30, "'word' is said more than 5 times in a row"),
        ("A line that is said again and again by a broken model here.\n" * 3 + "One other line.", "in repeated lines"),
        (" ".join(f"w{index}" for index in range(100)), ""),
        ("go go go", ""),
    ],
)
def test_repetition(row: Any, outcome: Any, answer: str, detail: str) -> None:
    found = outcome(Repetition(action="drop"), row("q", answer))
    assert found.reason == ("repetition" if detail else "")
    assert detail in "".join(finding.detail for finding in found.findings)


def test_repeated_runs_by_hand(row: Any, outcome: Any) -> None:
    """Sixty words of equal length, ten of them a repeated run of ten: 10 / 60 of the answer."""
    words = [f"w{index:02}" for index in range(50)]
    text = " ".join(words[:20] + words[:10] + words[20:])
    found = outcome(Repetition(), row("q", text)).findings
    assert found[0].detail == "17% of the answer is in repeated runs of 5 words (limit 15%)"
    assert not outcome(Repetition(factor=1.7), row("q", text)).findings


@pytest.mark.parametrize(
    ("asked", "answer", "kinds"),
    [
        ("What is the capital of France?", "Paris", []),
        ("What is the capital of France?", "what is the capital of france? Paris", ["echo"]),
        ("Hello", "Hello", []),  # a greeting is no echo
        ("What is it?", "...", ["no_letters"]),
        ("What is it?", "42", ["short_output"]),
        ("What is it?", "A cat.\nUser: thanks", ["runs_on"]),
        ("x" * 101, "fine", ["long_instruction"]),
    ],
)
def test_quality(row: Any, outcome: Any, asked: str, answer: str, kinds: list[str]) -> None:
    found = outcome(Quality(min_output=3, max_instruction=100), row(asked, answer))
    assert [finding.kind for finding in found.findings] == kinds
    dropped = outcome(Quality(min_output=3, max_instruction=100, action="drop"), row(asked, answer))
    assert dropped.reason == (kinds[0] if kinds else "")


def test_language(row: Any, outcome: Any) -> None:
    pytest.importorskip("py3langid")
    texts = {
        "en": "How do I activate the new card that came in the post today?",
        "de": "Wie kann ich meine neue Karte aktivieren, die heute mit der Post kam?",
        "fr": "Comment puis-je activer ma nouvelle carte reçue aujourd'hui par la poste ?",
        "und": "ok 12",
    }
    for code, text in texts.items():
        found = outcome(Language(keep=("en",)), row(text, "ja" if code == "und" else text))
        assert found.findings[0] == ("language", code)
        assert found.reason == ("other_language" if code in ("de", "fr") else "")
    assert outcome(Language(among=("de", "fr")), row(texts["de"], "x")).findings[0].detail == "de"
    with pytest.raises(RecipeError, match=r"language\.keep: 'eng' is no language .* did you mean 'en'"):
        outcome(Language(keep=("eng",)), row("a", "b"))
