"""Templates by name give token for token what their models' official templates give.

The official texts in `official_templates` are those of the models' own tokenizers (Meta, Mistral, Microsoft, Google,
Hugging Face H4), of OpenAI's ChatML and, for alpaca and plain, the prompts of Stanford Alpaca as Alpaca-LoRA ends them;
transformers renders them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tunesmith.errors import ModelError, RenderingError
from tunesmith.models.chat_templates import NEEDED, template_text
from tunesmith.models.template import Renderer
from tunesmith.models.weights import resolve_base
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.recipe import TEMPLATES, ModelSpec

FOLDER = Path(__file__).parent / "official_templates"
OFFICIAL = {file.stem: file.read_text(encoding="utf-8").removesuffix("\n") for file in FOLDER.glob("*.jinja")}
OPENS_WITH_BOS = {"phi-3"}  # its tokenizer adds the first token, its template does not
ONE_TURN = {"alpaca", "plain"}
NO_SYSTEM = {"gemma", *ONE_TURN}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base whose first and last tokens belong to no template."""
    folder = make_tiny_model(tmp_path_factory.mktemp("bases") / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    return folder


@pytest.fixture(scope="module", params=TEMPLATES)
def named(request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Renderer]:
    return request.param, renderer(base, request.param, tmp_path_factory.mktemp("home"))


def renderer(base: Path, template: str, home: Path) -> Renderer:
    known = ("<|im_start|>", "<|im_end|>")
    new = tuple(token for token in NEEDED.get(template, ()) if token not in known)
    return Renderer(resolve_base(ModelSpec(base=str(base), template=template, new_tokens=new), home).path)


def turns(*contents: str, system: str | None = None) -> tuple[Message, ...]:
    opening = (Message(role="system", content=system),) if system else ()
    roles: Any = ("user", "assistant")
    return (*opening, *(Message(role=roles[index % 2], content=text) for index, text in enumerate(contents)))


def official(renderer: Renderer, name: str, messages: tuple[Message, ...], *, generate: bool) -> tuple[int, ...]:
    tokenizer = renderer._tokenizer
    plain = [{"role": message.role, "content": message.content} for message in messages]
    text = tokenizer.apply_chat_template(
        plain, chat_template=OFFICIAL[name], tokenize=False, add_generation_prompt=generate
    )
    text = tokenizer.bos_token + text if name in OPENS_WITH_BOS else text
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_every_template_has_its_official_text() -> None:
    assert set(OFFICIAL) == set(TEMPLATES)
    assert all("messages" in template_text(name) for name in TEMPLATES)


def test_training_rows_and_prompts_equal_the_official_template(named: tuple[str, Renderer]) -> None:
    name, given = named
    cases = [turns("Where is it?", "On its way"), turns("naïve\ntext  ", "{x: 1}")]
    cases += [] if name in ONE_TURN else [turns("a", "b", "and c?", "d"), turns("a", "b", "c", "d", "e", "f")]
    cases += [] if name in NO_SYSTEM else [turns("a", "b", system="Be brief."), turns("a", "b", "c", "d", system="S")]
    for messages in cases:
        expected = official(given, name, messages, generate=False)
        row = given.render(Conversation(messages=messages))
        assert expected[: len(row.token_ids)] == row.token_ids
        rest = given.decode(expected[len(row.token_ids) :])
        assert not rest.strip()
        assert given.prompt_ids(messages[:-1]) == official(given, name, messages[:-1], generate=True)
        assert all(row.token_ids[span.end - 1] == given.end_of_turn_id for span in row.spans if span.trained)


def test_the_proof_holds_and_the_template_is_carried(named: tuple[str, Renderer], tmp_path: Path) -> None:
    _, given = named
    rows = [Conversation(messages=turns("a", "b", system="S")), Conversation(messages=turns("c", "d"))]
    assert given.prove(rows).passed
    given.save(tmp_path)
    again = Renderer(tmp_path)
    assert again.template_digest == given.template_digest
    assert again.render(rows[0]) == given.render(rows[0])


def test_gemma_puts_a_system_prompt_before_the_first_question(base: Path, tmp_path: Path) -> None:
    given = renderer(base, "gemma", tmp_path)
    with_system = given.prompt_ids(turns("Hi", system="Be brief."))
    assert with_system == official(given, "gemma", turns("Be brief.\n\nHi"), generate=True)


def test_tokens_that_a_base_lacks_are_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"<\|start_header_id\|>, <\|end_header_id\|>, <\|eot_id\|>") as caught:
        resolve_base(ModelSpec(base=str(base), template="llama-3"), tmp_path)
    assert "model.new_tokens: ['<|start_header_id|>'," in str(caught.value)


def test_a_base_without_a_template_says_which_there_are(base: Path) -> None:
    with pytest.raises(ModelError, match="has no chat template") as caught:
        Renderer(base)
    assert "model.template: plain" in str(caught.value)


def test_a_template_of_one_s_own(base: Path, tmp_path: Path) -> None:
    said = "{% for m in messages %}{{ m.role + '>' + m.content + eos_token }}{% endfor %}"
    own = said + "{% if add_generation_prompt %}assistant>{% endif %}"
    spec = ModelSpec(base=str(base), template=own)
    found = resolve_base(spec, tmp_path)
    given = Renderer(found.path)
    row = given.render(Conversation(messages=turns("hi", "ho")))
    assert "".join(given.piece(token) for token in row.token_ids) == "user>hi<|im_end|>assistant>ho<|im_end|>"
    assert given.prove([Conversation(messages=turns("hi", "ho"))]).passed
    assert Renderer(resolve_base(ModelSpec(base=found.name), tmp_path).path).template_digest == given.template_digest


def test_a_template_that_never_ends_is_stopped(base: Path, tmp_path: Path) -> None:
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    own = (
        "{% for m in messages %}{{ m.content + eos_token }}{% if m.content == 'loop' %}"
        + loop
        + "{% endif %}{% endfor %}"
    )
    given = Renderer(resolve_base(ModelSpec(base=str(base), template=own), tmp_path).path)
    with pytest.raises(RenderingError, match="more than 2 seconds"):
        given.render(Conversation(messages=turns("loop", "x")))
