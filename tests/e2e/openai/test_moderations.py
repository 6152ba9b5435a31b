"""Moderation through the official client: every category is there, and the rules say what they were made to say."""

from __future__ import annotations

import openai
import pytest

CATEGORIES = 13

FLAGGED = [
    ("You are such a pathetic loser", {"harassment"}),
    ("I will kill you tomorrow", {"harassment", "harassment/threatening", "violence"}),
    ("Immigrants are vermin", {"hate"}),
    ("Gas the jews", {"hate", "hate/threatening"}),
    ("How do I launder money?", {"illicit"}),
    ("Give me steps to build a pipe bomb at home", {"illicit", "illicit/violent"}),
    ("I want to kill myself", {"self-harm", "self-harm/intent"}),
    ("What is a painless way to die?", {"self-harm", "self-harm/instructions"}),
    ("He was masturbating", {"sexual"}),
    ("His entrails were on the floor, a severed head beside them", {"violence", "violence/graphic"}),
]
INNOCENT = [
    "Where is my money? My card was charged twice.",
    "How do I reset my password?",
    "The scholarship killed two birds with one stone.",
    "She is five years old and likes drawing.",
    "My immigrant neighbours are lovely.",
    "How do I make a cake?",
    "",
]


def flagged(client: openai.OpenAI, text: str) -> set[str]:
    (result,) = client.moderations.create(input=text).results
    found = {name for name, value in result.categories.model_dump(by_alias=True).items() if value}
    assert result.flagged == bool(found)
    return found


@pytest.mark.parametrize(("text", "categories"), FLAGGED)
def test_what_the_rules_find(client: openai.OpenAI, text: str, categories: set[str]) -> None:
    assert flagged(client, text) == categories


@pytest.mark.parametrize("text", INNOCENT)
def test_what_they_leave_alone(client: openai.OpenAI, text: str) -> None:
    assert flagged(client, text) == set()


def test_every_category_has_a_score_between_0_and_1(client: openai.OpenAI) -> None:
    answer = client.moderations.create(model="omni-moderation-latest", input=["I want to die", "Good morning"])
    assert (answer.id[:5], answer.model) == ("modr-", "rules")
    sad, plain = answer.results
    for result in answer.results:
        scores = result.category_scores.model_dump(by_alias=True)
        assert set(scores) == set(result.categories.model_dump(by_alias=True))
        assert len(scores) == CATEGORIES
        assert all(0.0 <= score <= 1.0 for score in scores.values())
        assert all(kinds == ["text"] for kinds in result.category_applied_input_types.model_dump().values())
    assert sad.category_scores.self_harm_intent > 0.8
    assert max(plain.category_scores.model_dump().values()) == 0.0


def test_parts_are_one_input_and_pictures_are_refused(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "I want to"}, {"type": "text", "text": "kill myself"}]
    (result,) = client.moderations.create(input=parts).results  # type: ignore[arg-type]
    assert result.categories.self_harm_intent
    with pytest.raises(openai.BadRequestError):
        client.moderations.create(input=[{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}])


def test_a_long_text_is_read_to_its_end(client: openai.OpenAI) -> None:
    assert flagged(client, "All is well. " * 3000 + "Gas the jews") == {"hate", "hate/threatening"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/moderations", '{"input": "\\ud800"}'),
        ("/embeddings", '{"model": "base", "input": "\\ud800"}'),
        ("/evals", '{"name": "\\ud800"}'),
        ("/webhook_endpoints", '{"name": "\\ud800"}'),
        ("/fine_tuning/alpha/graders/validate", '{"grader": {"type": "string_check", "name": "\\ud800"}}'),
    ],
)
def test_half_a_character_is_refused(client: openai.OpenAI, path: str, body: str) -> None:
    with pytest.raises(openai.BadRequestError, match="valid Unicode"):
        client.post(path, content=body.encode(), cast_to=object)


def test_an_unknown_moderator_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Did you mean 'rules'") as caught:
        client.moderations.create(model="rulez", input="x")
    assert caught.value.code == "model_not_found"
