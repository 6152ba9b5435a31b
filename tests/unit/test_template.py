"""The renderer: what it renders, and what it refuses because training would not be serving."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.errors import ModelError, RenderingError
from tunesmith.models.template import Renderer
from tunesmith.testing.tiny import CHATML, make_tiny_model
from tunesmith.types.conversation import Conversation, FunctionCall, Message, ToolCall


@pytest.fixture(scope="module")
def renderer(tiny: Path) -> Renderer:
    return Renderer(tiny)


def with_template(folder: Path, template: str) -> Path:
    make_tiny_model(folder)
    (folder / "chat_template.jinja").write_text(template)
    return folder


def test_only_answers_and_their_end_of_turn_are_trained(renderer: Renderer, chat: Callable[..., Conversation]) -> None:
    rendered = renderer.render(chat("S", "hello", "hi", "more", "no"))
    trained = [token for token, weight in zip(rendered.token_ids, rendered.loss_weights, strict=True) if weight]
    assert "".join(renderer.piece(token) for token in trained) == "hi<|im_end|>no<|im_end|>"
    assert [span.role for span in rendered.spans] == ["prompt", "assistant", "prompt", "assistant"]
    assert rendered.spans[-1].end == len(rendered.token_ids)


def test_the_prompt_of_a_server_is_the_beginning_of_the_training_row(
    renderer: Renderer, chat: Callable[..., Conversation]
) -> None:
    conversation = chat("S", "hello", "hi")
    prompt = renderer.prompt_ids(conversation.prompt)
    assert renderer.render(conversation).token_ids == (*prompt, *renderer.answer_ids("hi"))


def test_weight_zero_leaves_a_turn_out_of_the_loss(renderer: Renderer) -> None:
    turns = (
        Message(role="user", content="a"),
        Message(role="assistant", content="wrong", weight=0),
        Message(role="user", content="b"),
        Message(role="assistant", content="right"),
    )
    rendered = renderer.render(Conversation(messages=turns))
    assert rendered.trained_tokens == len("right") + 1


def test_text_after_the_last_trained_turn_is_not_rendered(renderer: Renderer) -> None:
    turns = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    more = (*turns, Message(role="user", content="and now?"))
    assert renderer.render(Conversation(messages=more)) == renderer.render(Conversation(messages=turns))


def test_a_conversation_without_an_answer_is_refused(renderer: Renderer) -> None:
    with pytest.raises(RenderingError, match="no assistant message to train on"):
        renderer.render(Conversation(messages=(Message(role="user", content="a"),)))


def test_a_special_token_inside_a_message_is_refused(renderer: Renderer, chat: Callable[..., Conversation]) -> None:
    with pytest.raises(RenderingError, match=r"Message 0 \(user\) contains the special token '<\|im_end\|>'"):
        renderer.render(chat(None, "hello<|im_end|>", "hi"))
    with pytest.raises(RenderingError, match="special token"):
        renderer.prompt_ids((Message(role="user", content="<|im_start|>system"),))


def test_tool_calls_whose_arguments_are_not_json_are_refused(renderer: Renderer) -> None:
    call = ToolCall(id="1", function=FunctionCall(name="find", arguments="{x"))
    turns = (Message(role="user", content="a"), Message(role="assistant", tool_calls=(call,)))
    with pytest.raises(RenderingError, match="are not JSON"):
        renderer.render(Conversation(messages=turns))


def test_a_template_that_rewrites_earlier_turns_is_refused(tmp_path: Path, chat: Callable[..., Conversation]) -> None:
    """As templates do that drop the reasoning of earlier turns."""
    rewriting = CHATML.replace("message['content']", "(message['content'] if loop.last else message['content'][:1])")
    renderer = Renderer(with_template(tmp_path, rewriting))
    assert renderer.render(chat(None, "a", "hello")).trained_tokens
    with pytest.raises(RenderingError, match="rewrites earlier turns"):
        renderer.render(chat(None, "a", "hello", "b", "world"))


def test_text_the_template_puts_into_an_answer_is_the_model_s_to_generate(
    tmp_path: Path, chat: Callable[..., Conversation]
) -> None:
    """An empty thinking block belongs to the trained turn exactly when the generation header does not hold it."""
    block = "('<t></t>' if message['role'] == 'assistant' else '')"
    thinking = CHATML.replace("message['role'] + '\\n'", f"message['role'] + '\\n' + {block}")
    renderer = Renderer(with_template(tmp_path, thinking))
    rendered = renderer.render(chat(None, "a", "b"))
    trained = [token for token, weight in zip(rendered.token_ids, rendered.loss_weights, strict=True) if weight]
    assert "".join(renderer.piece(token) for token in trained) == "<t></t>b<|im_end|>"
    assert rendered.token_ids[: rendered.spans[0].end] == renderer.prompt_ids((Message(role="user", content="a"),))


def test_a_model_whose_turns_do_not_end_is_refused(tmp_path: Path) -> None:
    endless = CHATML.replace("'<|im_end|>'", "''")
    with pytest.raises(ModelError, match="never stops"):
        Renderer(with_template(tmp_path, endless))


def test_a_model_without_a_template_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        Renderer(folder)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelError, match="No tokenizer"):
        Renderer(tmp_path)


def test_the_proof_counts_what_it_checked(renderer: Renderer, chat: Callable[..., Conversation]) -> None:
    proof = renderer.prove([chat("S", "a", "b"), chat("S", "c", "d", "e", "f")])
    assert proof.passed
    assert [check.checked for check in proof.checks] == [2, 2, 2, 2]
    assert not renderer.prove([]).passed


def test_the_proof_notices_a_renderer_that_leaves_the_stop_token_out(
    renderer: Renderer, chat: Callable[..., Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = renderer.render

    def forgetful(conversation: Conversation) -> object:
        rendered = honest(conversation)
        return rendered.model_copy(update={"loss_weights": (*rendered.loss_weights[:-1], 0.0)})

    monkeypatch.setattr(renderer, "render", forgetful)
    failed = [check.name for check in renderer.prove([chat("S", "a", "b")]).checks if not check.passed]
    assert failed == ["every trained turn ends with its end-of-turn token in the loss"]
