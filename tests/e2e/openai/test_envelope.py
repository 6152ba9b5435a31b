"""Failures reach the official client as its own exceptions."""

from __future__ import annotations

import openai
import pytest


def test_an_unknown_address_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.get("/no/such/thing", cast_to=object)
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code"}


def test_the_server_answers(client: openai.OpenAI) -> None:
    assert client.models.list().data[0].id == "base"
