"""Plain texts continued, through the official client."""

from __future__ import annotations

import math
from typing import Any

import openai
import pytest


def ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.completions.create(**{"model": "base", "prompt": "Once upon", "temperature": 0, **options})


def test_a_text_is_continued(client: openai.OpenAI) -> None:
    found = ask(client)
    assert found.id.startswith("cmpl-")
    assert found.object == "text_completion"
    assert found.usage.prompt_tokens == len("Once upon")
    assert found.usage.completion_tokens <= 16
    assert found.choices[0].finish_reason in ("stop", "length")
    assert found.choices[0].logprobs is None
    assert ask(client).choices[0].text == found.choices[0].text


def test_token_ids_are_the_text(client: openai.OpenAI) -> None:
    ids = [3 + ord(letter) - ord("!") for letter in "Once"]
    by_ids, by_text = ask(client, prompt=ids), ask(client, prompt="Once")
    assert by_ids.choices[0].text == by_text.choices[0].text
    both = ask(client, prompt=[ids, ids[:2]])
    assert [choice.index for choice in both.choices] == [0, 1]
    assert both.choices[0].text == by_ids.choices[0].text


def test_several_prompts_with_several_choices(client: openai.OpenAI) -> None:
    found = ask(client, prompt=["Once", "Twice"], n=2, seed=1, temperature=1, max_tokens=6)
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    assert found.usage.prompt_tokens == len("Once") + len("Twice")
    again = ask(client, prompt=["Once", "Twice"], n=2, seed=1, temperature=1, max_tokens=6)
    assert [choice.text for choice in again.choices] == [choice.text for choice in found.choices]


def test_echo_with_log_probabilities(client: openai.OpenAI) -> None:
    found = ask(client, echo=True, logprobs=0, max_tokens=3).choices[0]
    assert found.text.startswith("Once upon")
    assert found.logprobs.tokens[:9] == list("Once upon")
    assert found.logprobs.token_logprobs[0] is None
    assert all(value <= 0 and math.isfinite(value) for value in found.logprobs.token_logprobs[1:])
    assert found.logprobs.text_offset[:9] == list(range(9))
    scored = ask(client, echo=True, logprobs=0, max_tokens=0)
    assert scored.choices[0].text == "Once upon"
    assert scored.usage.completion_tokens == 0
    assert scored.choices[0].logprobs.token_logprobs == found.logprobs.token_logprobs[:9]


def test_log_probabilities_of_the_answer(client: openai.OpenAI) -> None:
    found = ask(client, logprobs=2, max_tokens=4).choices[0].logprobs
    for token, logprob, top in zip(found.tokens, found.token_logprobs, found.top_logprobs, strict=True):
        assert max(top.values()) == pytest.approx(logprob, abs=1e-4)
        assert top[token] == pytest.approx(logprob, abs=1e-6)
    assert found.text_offset[0] == len("Once upon")


def test_the_likeliest_tokens_of_a_prompt_say_whether_it_is_greedy(client: openai.OpenAI) -> None:
    """What lm-evaluation-harness asks: a prompt with its own greedy answer, and with another, scored in one batch."""
    said = ask(client, max_tokens=4, logprobs=0).choices[0]
    ids = [3 + ord(letter) - ord("!") for letter in "Once"]
    found = ask(client, prompt=["Once upon" + said.text, "Once upon a"], echo=True, logprobs=1, max_tokens=1)
    greedy = [
        [own == max(top.values()) for own, top in zip(one.token_logprobs[1:], one.top_logprobs[1:], strict=True)]
        for one in (choice.logprobs for choice in found.choices)
    ]
    assert all(greedy[0][len("Once upon") - 1 :])
    assert not all(greedy[1])
    by_ids = ask(client, prompt=[ids], echo=True, logprobs=1, max_tokens=0).choices[0].logprobs
    assert by_ids.top_logprobs[0] is None
    assert by_ids.token_logprobs[1:] == pytest.approx(found.choices[0].logprobs.token_logprobs[1:4], abs=1e-4)


def test_every_token_of_an_answer_has_its_log_probability(client: openai.OpenAI) -> None:
    """The one that ends the answer too: a client counts them from the end."""
    whole = ask(client, max_tokens=200, logprobs=1, seed=1, temperature=1.5, n=4)
    ended = [choice for choice in whole.choices if choice.finish_reason == "stop"]
    assert ended
    assert whole.usage.completion_tokens == sum(len(choice.logprobs.tokens) for choice in whole.choices)
    for choice in ended:
        assert choice.logprobs.tokens[-1] in ("<|im_end|>", "<|endoftext|>")
        assert choice.logprobs.tokens[-1] not in choice.text
        assert choice.logprobs.tokens[-1] in choice.logprobs.top_logprobs[-1]


def test_the_best_of_several(client: openai.OpenAI) -> None:
    options: Any = {"temperature": 1.5, "seed": 3, "max_tokens": 5, "logprobs": 0}
    every = ask(client, n=4, **options).choices
    best = ask(client, n=1, best_of=4, **options)
    means = [sum(one.logprobs.token_logprobs) / len(one.logprobs.token_logprobs) for one in every]
    assert best.choices[0].text == every[means.index(max(means))].text
    assert len(best.choices) == 1


@pytest.mark.parametrize("options", [{}, {"n": 2, "seed": 1, "temperature": 1}, {"echo": True, "logprobs": 0}])
def test_a_stream_is_the_whole_answer(client: openai.OpenAI, options: dict[str, Any]) -> None:
    whole = ask(client, **options)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}, **options))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    for choice in whole.choices:
        own = [chunk.choices[0] for chunk in chunks[:-1] if chunk.choices[0].index == choice.index]
        assert "".join(one.text for one in own) == choice.text
        assert [one.finish_reason for one in own] == [None] * (len(own) - 1) + [choice.finish_reason]
        tokens = [token for one in own if one.logprobs for token in one.logprobs.tokens]
        assert tokens == (choice.logprobs.tokens if choice.logprobs else [])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": "x" * 3000}, "prompt"),
    ({"prompt": [10**9]}, "Token ids"),
    ({"suffix": "end"}, "suffix"),
    ({"logprobs": 6}, "logprobs"),
    ({"best_of": 1, "n": 2}, "best_of"),
    ({"best_of": 2, "stream": True}, "best_of"),
    ({"extra_body": {"top_k": 1}}, "top_k"),
]


@pytest.mark.parametrize(("options", "word"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_done_is_refused(client: openai.OpenAI, options: dict[str, Any], word: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **options)
    assert word in str(caught.value.body)


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model="bass")
    assert caught.value.code == "model_not_found"
