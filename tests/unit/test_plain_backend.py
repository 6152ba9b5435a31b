"""The library behind a tokenizer gives what the tokenizer gives, and is not asked where a class does more."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tunesmith.models.plain_backend import plain_backend
from tunesmith.models.template import Renderer


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> PreTrainedTokenizerBase:
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny)
    return found


@given(text=st.text(st.characters(exclude_categories=["Cs"])) | st.just("a<|im_end|>\n  <|im_start|>é€😀 "))
def test_texts_and_ids_are_those_of_the_tokenizer(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    backend = plain_backend(tokenizer)
    assert backend is not None
    ids = backend.encode(text, add_special_tokens=False).ids
    assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    for skip in (False, True):
        assert backend.decode(ids, skip_special_tokens=skip) == tokenizer.decode(ids, skip_special_tokens=skip)


def test_the_renderer_decodes_single_tokens_and_texts_alike(tiny: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    renderer = Renderer(tiny)
    sent: Renderer = pickle.loads(pickle.dumps(renderer))
    for ids in [(), *((token,) for token in range(len(tokenizer))), tuple(range(len(tokenizer)))]:
        expected = tokenizer.decode(list(ids), skip_special_tokens=True)
        assert [renderer.decode(ids), renderer.decode(ids), sent.decode(ids)] == [expected] * 3
    assert sent.text_ids("héllo") == renderer.text_ids("héllo")


def test_a_tokenizer_that_truncated_is_set_to_whole_texts(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer("a long text", truncation=True, max_length=2)
    backend = plain_backend(tokenizer)
    assert backend is not None
    assert len(backend.encode("a long text", add_special_tokens=False).ids) == len("a long text")


def test_a_class_or_setting_that_does_more_is_asked_itself(tiny: Path) -> None:
    plain = type(AutoTokenizer.from_pretrained(tiny))

    class Shouting(plain):  # type: ignore[valid-type, misc]
        def decode(self, *arguments: object, **options: object) -> str:
            return str(super().decode(*arguments, **options)).upper()

    assert plain_backend(Shouting.from_pretrained(tiny)) is None
    assert plain_backend(plain.from_pretrained(tiny, clean_up_tokenization_spaces=True)) is None
    assert plain_backend(plain.from_pretrained(tiny, split_special_tokens=True)) is None
