"""Personal data and secrets: checksums by hand, what is redacted, and recall and precision on texts with gold spans."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import MissingDependency, RecipeError
from tunesmith.prepare.pii_patterns import KINDS, find_pii
from tunesmith.prepare.redaction import masked, pseudonym
from tunesmith.prepare.steps.pii import Pii
from tunesmith.prepare.steps.secrets import Secrets
from tunesmith.types.conversation import Conversation, FunctionCall, Message, ToolCall

DATA = Path(__file__).parents[5] / "shared" / "data" / "presidio_pii"
NAMES = {
    "CREDIT_CARD": "card",
    "EMAIL_ADDRESS": "email",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "US_SSN": "ssn",
}


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("write to jane.doe+bank@mail.example.co.uk today", "email", "jane.doe+bank@mail.example.co.uk"),
        ("the @decorator and a@b", "email", None),
        ("card 4111 1111 1111 1111 please", "card", "4111 1111 1111 1111"),
        ("card 4111 1111 1111 1112 please", "card", None),  # the checksum fails
        ("amex 378282246310005", "card", "378282246310005"),
        ("order 1234567890123456", "card", None),
        ("pay DE89 3704 0044 0532 0130 00 now", "iban", "DE89 3704 0044 0532 0130 00"),
        ("pay DE89370400440532013001 now", "iban", None),
        ("GB29NWBK60161331926819.", "iban", "GB29NWBK60161331926819"),
        ("ssn 536-90-4399", "ssn", "536-90-4399"),
        ("ssn 666-90-4399 or 536-00-4399 or 936-90-4399", "ssn", None),  # never issued
        ("My SSN is 536904399", "ssn", "536904399"),
        ("code 536904399", "ssn", None),
        ("from 203.0.113.7:8080", "ip", "203.0.113.7"),
        ("version 1.2.3.4 and 999.1.1.1 and 127.0.0.1", "ip", None),
        ("at 2001:db8::ff00:42:8329 today", "ip", "2001:db8::ff00:42:8329"),
        ("at 12:30:45 today", "ip", None),
        ("call +44 20 7946 0958 now", "phone", "+44 20 7946 0958"),
        ("call (415) 555-2671", "phone", "(415) 555-2671"),
        ("415-555-2671 x123", "phone", "415-555-2671 x123"),
        ("my mobile is 07700900123", "phone", "07700900123"),
        ("on 2024-05-17 and 17.05.2024, 10,000,000 people", "phone", None),
        ("item 415555267 costs 12 345 678", "phone", None),
    ],
)
def test_patterns(text: str, kind: str, found: str | None) -> None:
    places = [text[start:end] for start, end, name in find_pii(text, KINDS) if name == kind]
    assert places == ([found] if found else [])


def test_a_card_is_no_phone() -> None:
    assert [place.kind for place in find_pii("call 4111 1111 1111 1111", KINDS)] == ["card"]


def measured(find: Callable[[str], list[tuple[int, int, str]]]) -> Mapping[str, tuple[int, int, int]]:
    """For each kind: gold spans, gold spans found, places found that touch no gold span of their kind."""
    gold, hits, wrong = Counter[str](), Counter[str](), Counter[str]()
    for entry in json.loads((DATA / "generated_small.json").read_text(encoding="utf-8")):
        spans = [
            (span["start_position"], span["end_position"], NAMES[span["entity_type"]])
            for span in entry["spans"]
            if span["entity_type"] in NAMES
        ]
        found = find(entry["full_text"])
        gold.update(span[2] for span in spans)
        hits.update(s[2] for s in spans if any(f[2] == s[2] and f[0] < s[1] and s[0] < f[1] for f in found))
        wrong.update(f[2] for f in found if not any(f[2] == s[2] and f[0] < s[1] and s[0] < f[1] for s in spans))
    return {kind: (gold[kind], hits[kind], wrong[kind]) for kind in KINDS if gold[kind] or wrong[kind]}


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not beside the repository")
def test_recall_and_precision_on_gold_spans(capsys: pytest.CaptureFixture[str]) -> None:
    figures = measured(lambda text: [tuple(place) for place in find_pii(text, KINDS)])
    with capsys.disabled():
        for kind, (gold, hits, wrong) in figures.items():
            print(f"\n  {kind}: recall {hits}/{gold}, precision {hits}/{hits + wrong}", end="")  # noqa: T201
    total, found, wrong = (sum(column) for column in zip(*figures.values(), strict=True))
    assert found >= 0.9 * total
    assert found >= 0.95 * (found + wrong)
    assert all(figures[kind][1] == figures[kind][0] for kind in ("card", "email", "ip", "ssn"))


def test_redaction_is_typed_and_stable(row: Any, outcome: Any) -> None:
    step = Pii(engine="patterns", salt="s")
    found = outcome(step, row("I am a@b.org, yes A@B.org", "Write to a@b.org or c@d.org"))
    user, answer = (message.content for message in found.content.messages)
    same, other = pseudonym("email", "a@b.org", "s"), pseudonym("email", "c@d.org", "s")
    assert (user, answer) == (f"I am {same}, yes {same}", f"Write to {same} or {other}")
    assert same != other
    assert same != pseudonym("email", "a@b.org", "t")
    assert pseudonym("phone", "(415) 555-2671", "s") == pseudonym("phone", "415 555 2671", "s")
    assert [finding.kind for finding in found.findings] == ["email"] * 4
    assert not any("b.org" in finding.detail for finding in found.findings)
    assert masked("jane@mail.org") == "ja**@****.***"


def test_report_and_drop(row: Any, outcome: Any) -> None:
    dirty = row("mail a@b.org", "ok")
    reported = outcome(Pii(action="report", engine="patterns"), dirty)
    assert reported.content is dirty
    assert reported.findings
    assert outcome(Pii(action="drop", engine="patterns"), dirty).reason == "pii"
    assert outcome(Pii(action="drop", engine="patterns", kinds=("ip",)), dirty).content is dirty


def test_tool_arguments_are_redacted_and_stay_json(outcome: Any) -> None:
    call = ToolCall(id="1", function=FunctionCall(name="mail", arguments='{"to": "a@b.org", "cc": ["c@d.org"]}'))
    found = outcome(Pii(engine="patterns"), Conversation(messages=(Message(role="assistant", tool_calls=(call,)),)))
    arguments = json.loads(found.content.messages[0].tool_calls[0].function.arguments)
    assert arguments == {"to": pseudonym("email", "a@b.org", ""), "cc": [pseudonym("email", "c@d.org", "")]}


def test_options_that_cannot_be_used_are_refused(row: Any, outcome: Any) -> None:
    with pytest.raises(RecipeError, match="'mail' is not known -> did you mean 'email'"):
        outcome(Pii(kinds=("mail",)), row("a", "b"))
    with pytest.raises(RecipeError, match="person has no pattern and needs a model"):
        outcome(Pii(kinds=("person",), engine="patterns"), row("a", "b"))
    with pytest.raises(RecipeError, match=r"pii\.model: has no effect"):
        outcome(Pii(model="en_core_web_sm", engine="patterns"), row("a", "b"))


def test_presidio(row: Any, outcome: Any) -> None:
    pytest.importorskip("presidio_analyzer")
    step = Pii(engine="presidio")
    assert Pii().engine == "presidio"  # where it is installed, and the recipe says so
    found = outcome(step, row("My SSN is 536-90-4399, my card 4111111111111111, mail a@b.org", "x"))
    assert {finding.kind for finding in found.findings} == {"ssn", "card", "email"}
    with pytest.raises(RecipeError, match="the spaCy model 'no_such_model' is not installed"):
        outcome(Pii(engine="presidio", model="no_such_model"), row("a", "b"))


def test_without_the_packages_the_extra_is_named(row: Any, outcome: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("presidio_analyzer", "detect_secrets"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependency, match=r"tunesmith\[pii\]"):
        outcome(Pii(engine="presidio"), row("a", "b"))
    with pytest.raises(MissingDependency, match=r"tunesmith\[data\]"):
        outcome(Secrets(), row("a", "b"))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("key AKIAIOSFODNN7EXAMPLE.", "key <AWS_ACCESS_KEY_"),
        ("token ghp_" + "a1B2" * 9, "token <GITHUB_TOKEN_"),
        ('password = "correct-horse"', 'password = "<SECRET_KEYWORD_'),
        ("postgres://me:s3cr3tpw@host/db", "postgres://me:<BASIC_AUTH_CREDENTIALS_"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----", "<PRIVATE_KEY_"),
        ("use sk-proj-" + "aB3_" * 12, "use <OPENAI_TOKEN_"),
        ("hf_" + "abCD1" * 6 + "abcd", "<HUGGING_FACE_TOKEN_"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc_DEF-123", "<JSON_WEB_TOKEN_"),
    ],
)
def test_secrets_leave_nothing_behind(row: Any, outcome: Any, text: str, left: str) -> None:
    pytest.importorskip("detect_secrets")
    found = outcome(Secrets(), row("q", text))
    answer = found.content.messages[-1].content
    assert answer.startswith(left)
    for piece in ("IOSFODNN7", "a1B2", "horse", "s3cr3t", "MIIEow", "aB3_", "abCD1", "eyJ"):
        assert piece not in answer
    assert outcome(Secrets(action="drop"), row("q", text)).reason == "secret"
    assert outcome(Secrets(action="report"), row("q", text)).content == row("q", text)


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my password? It is not working",
        "The secret of a good sauce is time: one hour",
        "uuid 1b4e28ba-2fa1",
    ],
)
def test_ordinary_words_are_no_secrets(row: Any, outcome: Any, text: str) -> None:
    pytest.importorskip("detect_secrets")
    assert not outcome(Secrets(), row(text, "x")).findings
