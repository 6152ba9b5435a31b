"""What an engine does with biases, penalties and constraints: follow them to the letter, or refuse them by name."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from tunesmith.engine.engine import Constraint, GenerationRequest, Sampling
from tunesmith.errors import RequestRefused
from tunesmith.testing.engine_subject import Answer, Check, Subject, answer, refused

__all__ = [
    "SHAPING_CHECKS",
    "biases_are_followed_or_refused",
    "constraints_are_followed_or_refused",
    "constraints_disturb_nobody",
    "constraints_that_cannot_be_enforced_are_refused",
    "penalties_are_followed_or_refused",
]

_LABELS = ("late", "lost")
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"label": {"enum": list(_LABELS)}, "sure": {"type": "boolean"}},
    "required": ["label", "sure"],
    "additionalProperties": False,
}
_AS_SCHEMA = Constraint(kind="json_schema", source=json.dumps(_SCHEMA))
_AS_REGEX = Constraint(kind="regex", source="(yes|no){1,3}")
_AS_LARK = Constraint(kind="lark", source='start: "<" /[ab]{2}/ ">"')


async def biases_are_followed_or_refused(subject: Subject) -> None:
    """A bias of 100 makes a token the only one said; ids outside the vocabulary are refused."""
    token = _ordinary(subject)[0]
    found = await _followed(subject, "logit_bias", logit_bias={token: 100.0}, max_tokens=4)
    assert found is None or found.token_ids == (token,) * 4
    outside = Sampling(logit_bias={10**9: 1.0})
    refused(subject, GenerationRequest(prompt_ids=subject.prompts[0], sampling=outside), RequestRefused)


async def penalties_are_followed_or_refused(subject: Subject) -> None:
    """Of two tokens that are far ahead of all others, a frequency penalty has both said, a reward only one."""
    ahead = dict.fromkeys(_ordinary(subject)[:2], 100.0)
    both = await _followed(subject, "frequency_penalty", logit_bias=ahead, frequency_penalty=2.0, max_tokens=30)
    if both is None:
        return
    assert set(both.token_ids) == set(ahead)
    one = await answer(subject, subject.prompts[0], logit_bias=ahead, frequency_penalty=-2.0)
    assert len(set(one.token_ids[1:])) == 1
    present = await answer(subject, subject.prompts[0], logit_bias=ahead, presence_penalty=-2.0)
    assert len(set(present.token_ids[1:])) <= 2


async def constraints_are_followed_or_refused(subject: Subject) -> None:
    """Whatever the model would say: valid JSON under a schema, any JSON object, a regular expression, a grammar."""
    for temperature, seed in ((0.0, None), (1.5, 3)):
        options: dict[str, Any] = {"temperature": temperature, "seed": seed, "max_tokens": 200, "top_logprobs": 2}
        found = await _followed(subject, "constraint", constraint=_AS_SCHEMA, **options)
        if found is None:
            return
        said = json.loads(found.text)
        assert set(said) == {"label", "sure"}
        assert said["label"] in _LABELS
        assert found.reason == "stop"
        assert all(math.isfinite(event.logprob) and event.logprob <= 0 for event in found.events)
        assert all(math.isfinite(top.logprob) for event in found.events for top in event.top)
        yes = await answer(subject, subject.prompts[1], constraint=_AS_REGEX, **options)
        assert re.fullmatch(_AS_REGEX.source, yes.text)
        bracketed = await answer(subject, subject.prompts[2], constraint=_AS_LARK, **options)
        assert re.fullmatch("<[ab]{2}>", bracketed.text)
    opened = await answer(subject, subject.prompts[0], constraint=Constraint(kind="json_object"), max_tokens=3)
    assert opened.text.startswith("{")


async def constraints_that_cannot_be_enforced_are_refused(subject: Subject) -> None:
    """At the call, by the name of the field, and the engine goes on."""
    unenforceable = (
        Constraint(kind="json_schema", source='{"type": "nonsense"}'),
        Constraint(kind="json_schema", source="{"),
        Constraint(kind="regex", source="(a"),
        Constraint(kind="lark", source="start: nothing"),
    )
    for constraint in unenforceable:
        refused(
            subject,
            GenerationRequest(prompt_ids=subject.prompts[0], sampling=Sampling(constraint=constraint)),
            RequestRefused,
        )
    await answer(subject, subject.prompts[0])


async def constraints_disturb_nobody(subject: Subject) -> None:
    """Beside constrained requests, others say what they say alone; constrained ones too."""
    alone = await answer(subject, subject.prompts[0])
    bound = await _followed(subject, "constraint", constraint=_AS_REGEX)
    if bound is None:
        return
    plain, again, other = await asyncio.gather(
        answer(subject, subject.prompts[0]),
        answer(subject, subject.prompts[0], constraint=_AS_REGEX),
        answer(subject, subject.prompts[1], constraint=_AS_LARK),
    )
    assert plain.token_ids == alone.token_ids
    assert again.token_ids == bound.token_ids
    assert re.fullmatch("<[ab]{2}>", other.text)


async def _followed(subject: Subject, field: str, **sampling: Any) -> Answer | None:
    """The answer, or None when the engine refuses `field` by name."""
    try:
        return await answer(subject, subject.prompts[0], **sampling)
    except RequestRefused as error:
        if error.field not in (field, *sampling):
            raise AssertionError(f"refused for {error.field!r}, which the request does not use") from error
        return None


def _ordinary(subject: Subject) -> list[int]:
    """Tokens of a prompt that are text, each once."""
    return [token for token in dict.fromkeys(subject.prompts[1]) if subject.codec.decode((token,)).isalpha()]


SHAPING_CHECKS: tuple[Check, ...] = (
    biases_are_followed_or_refused,
    penalties_are_followed_or_refused,
    constraints_are_followed_or_refused,
    constraints_that_cannot_be_enforced_are_refused,
    constraints_disturb_nobody,
)
