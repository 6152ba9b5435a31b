"""Embeddings through the official client, compared with the plain model of transformers."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import openai
import pytest

from tunesmith.models.template import Renderer

TEXTS = ["Where is my money?", "कार्ड खो गया, please block it."]


def oracle(base: Path, ids: tuple[int, ...]) -> np.ndarray:
    """Mean of the last hidden states of transformers' own forward, scaled to length 1."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(base, dtype=torch.float32)
    with torch.inference_mode():
        mean = model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(dim=0).numpy()
    return mean / np.linalg.norm(mean)


def test_vectors_are_the_mean_of_the_last_hidden_states(client: openai.OpenAI, tiny_base: Path) -> None:
    answer = client.embeddings.create(model="base", input=TEXTS)
    renderer = Renderer(tiny_base)
    assert [one.index for one in answer.data] == [0, 1]
    for text, found in zip(TEXTS, answer.data, strict=True):
        np.testing.assert_allclose(found.embedding, oracle(tiny_base, renderer.text_ids(text)), atol=2e-2)
    tokens = sum(len(renderer.text_ids(text)) for text in TEXTS)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (tokens, tokens)
    assert (answer.model, answer.object) == ("base", "list")


def test_a_long_text_is_read_in_pieces_with_the_same_result(client: openai.OpenAI, tiny_base: Path) -> None:
    text = "The card was charged twice. " * 14  # more tokens than one step of the engine takes
    ids = Renderer(tiny_base).text_ids(text)
    assert len(ids) > 256
    found = client.embeddings.create(model="base", input=text).data[0].embedding
    np.testing.assert_allclose(found, oracle(tiny_base, ids), atol=2e-2)


def test_base64_numbers_and_the_clients_default_agree(client: openai.OpenAI) -> None:
    plain = client.embeddings.create(model="base", input=TEXTS[0], encoding_format="float").data[0].embedding
    packed = client.embeddings.create(model="base", input=TEXTS[0], encoding_format="base64").data[0].embedding
    usual = client.embeddings.create(model="base", input=TEXTS[0]).data[0].embedding
    assert isinstance(packed, str)
    unpacked = np.frombuffer(base64.b64decode(packed), dtype="<f4")
    np.testing.assert_allclose(unpacked, plain, atol=1e-6)
    np.testing.assert_allclose(usual, plain, atol=1e-6)
    assert np.linalg.norm(plain) == pytest.approx(1.0, abs=1e-5)


def test_token_ids_are_taken_as_they_are(client: openai.OpenAI, tiny_base: Path) -> None:
    ids = list(Renderer(tiny_base).text_ids(TEXTS[0]))
    from_text, from_ids, (first, second) = (
        client.embeddings.create(model="base", input=given).data for given in (TEXTS[0], ids, [ids, ids[:3]])
    )
    np.testing.assert_allclose(from_ids[0].embedding, from_text[0].embedding, atol=1e-5)
    np.testing.assert_allclose(first.embedding, from_text[0].embedding, atol=1e-5)
    assert np.abs(np.subtract(second.embedding, first.embedding)).max() > 1e-3


def test_dimensions_keep_the_first_ones_at_length_one(client: openai.OpenAI) -> None:
    whole = np.array(client.embeddings.create(model="base", input=TEXTS[0]).data[0].embedding)
    short = np.array(client.embeddings.create(model="base", input=TEXTS[0], dimensions=5).data[0].embedding)
    np.testing.assert_allclose(short, whole[:5] / np.linalg.norm(whole[:5]), atol=1e-5)
    with pytest.raises(openai.BadRequestError, match=f"have {len(whole)} dimensions") as caught:
        client.embeddings.create(model="base", input="x", dimensions=len(whole) + 1)
    assert caught.value.param == "dimensions"


def test_what_cannot_be_embedded_says_why(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.embeddings.create(model="nobody", input="x")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="maximum context length is") as long:
        client.embeddings.create(model="base", input=["x", "word " * 5000])
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "input")
    with pytest.raises(openai.BadRequestError, match="Token ids must be from 0 to"):
        client.embeddings.create(model="base", input=[1, 10_000_000])
    for empty in ("", [], ["a", ""], [[]]):
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model="base", input=empty)
