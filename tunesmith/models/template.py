"""The renderer: the only place where messages become token ids, for training, evaluation and serving alike.

A training row is laid out segment by segment. Before each trained assistant turn stands exactly the text a server
would send to the model (`prompt_ids`); the turn itself is the answer and its end-of-turn token. Because the renderer
emits the segments itself, the loss mask is known rather than searched for in the token ids afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer

from tunesmith.errors import ModelError, RenderingError
from tunesmith.models.new_tokens import derived_template
from tunesmith.models.plain_backend import plain_backend
from tunesmith.models.proof import prove
from tunesmith.models.sandboxed import SandboxedTemplate
from tunesmith.models.tool_probe import PROBE_TOOL, carries_tools, probe_syntax
from tunesmith.models.tool_text import as_given, written_out
from tunesmith.types.base import digest_file, digest_json
from tunesmith.types.conversation import Conversation, Message, Rendered, Span
from tunesmith.types.dataset import RenderingProof
from tunesmith.types.recipe import TEMPLATES
from tunesmith.types.tool_syntax import ToolSyntax

__all__ = ["Renderer"]

_PROBE_ANSWER = "tunesmith"


class Renderer:
    """Turns conversations into token ids with the chat template of the model in `folder`.

    Raises ModelError when the folder has no tokenizer, no chat template, or a template without an end-of-turn token.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(f"No tokenizer can be loaded from {folder}: {error}") from error
        if not self._tokenizer.chat_template:
            raise ModelError(
                f"The tokenizer in {folder} has no chat template.",
                hint="Write model.template: plain (or another, see docs), or use an instruction-tuned base.",
            )
        own = derived_template(folder)
        self._sandboxed = _sandboxed(own) if own and own not in TEMPLATES else None
        self._special = frozenset(token for token in self._tokenizer.all_special_tokens if token)
        self.end_of_turn = self._find_end_of_turn()
        self.end_of_turn_id: int = self._tokenizer.convert_tokens_to_ids(self.end_of_turn)
        eos: int | None = self._tokenizer.eos_token_id
        self.end_of_text_id = eos
        self.stop_ids: frozenset[int] = frozenset({self.end_of_turn_id} | ({eos} if eos is not None else set()))
        self._backend = plain_backend(self._tokenizer)
        self._single: dict[int, str] = {}  # the texts of single tokens that were asked for
        self.tokenizer_digest = digest_file(folder / "tokenizer.json")
        self.template_digest = digest_json([self._tokenizer.chat_template, self.end_of_turn])

    def render(self, conversation: Conversation) -> Rendered:
        """Token ids, loss weights and spans of a training row; every assistant turn with weight 1 is trained.

        Raises RenderingError when the row cannot be rendered so that training equals serving.
        """
        self._check_contents(conversation.messages)
        if conversation.is_text:
            return self._passage(conversation.reference)
        ids: list[int] = []
        weights: list[float] = []
        spans: list[Span] = []
        text = ""
        for index, message in enumerate(conversation.messages):
            if message.role != "assistant" or message.weight == 0:
                continue
            prompt = self._text(conversation.messages[:index], conversation.tools, generate=True)
            answer = self._turn_text(conversation, index, prompt)
            if not prompt.startswith(text):
                raise RenderingError(
                    f"The chat template rewrites earlier turns (message {index}), so training is not serving.",
                    hint="Train only the last turn: set weight 0 on the earlier assistant messages.",
                )
            for piece, trained in ((prompt[len(text) :], False), (answer, True)):
                piece_ids = self._encode(piece)
                spans.append(
                    Span(
                        start=len(ids),
                        end=len(ids) + len(piece_ids),
                        message=index if trained else -1,
                        role="assistant" if trained else "prompt",
                        trained=trained,
                    )
                )
                ids += piece_ids
                weights += [float(trained)] * len(piece_ids)
            text = prompt + answer
        if not spans:
            raise RenderingError("The conversation has no assistant message to train on.")
        if self._encode(text) != ids:
            raise RenderingError(
                "The tokenizer merges characters across the border of prompt and answer.",
                hint="Remove white space at the beginning of the answer.",
            )
        return Rendered(token_ids=tuple(ids), loss_weights=tuple(weights), spans=tuple(spans))

    def _passage(self, text: str) -> Rendered:
        """Plain text as it is read in pre-training: the tokenizer's opening, the text, the end of text; all trained but
        the opening, and a first token that nothing stands before.
        """
        opening, ids = self.prompt_ids(()), self._encode(text)
        if not ids or self.end_of_text_id is None:
            raise RenderingError("The text is empty." if not ids else "This tokenizer has no token that ends a text.")
        length = len(opening) + len(ids) + 1
        spans = [Span(start=len(opening), end=length, message=0, role="text", trained=True)]
        if opening:
            spans.insert(0, Span(start=0, end=len(opening), message=-1, role="prompt", trained=False))
        unseen = max(len(opening), 1)
        weights = (0.0,) * unseen + (1.0,) * (length - unseen)
        return Rendered(token_ids=(*opening, *ids, self.end_of_text_id), loss_weights=weights, spans=tuple(spans))

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> tuple[int, ...]:
        """Token ids [P] of the prompt a model is asked to continue, up to and including the assistant's header.

        No messages stand before a plain text: its prompt is what the tokenizer opens every text with.
        """
        if not messages:
            ids = self._tokenizer("", verbose=False)["input_ids"]
            return tuple(token for token in ids if token != self.end_of_text_id)
        self._check_contents(messages)
        return tuple(self._encode(self._text(messages, tools, generate=True)))

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of plain text to be continued, behind what the tokenizer opens every text with."""
        opening, ids = self.prompt_ids(()), self._encode(text)
        return tuple(ids) if tuple(ids[: len(opening)]) == opening else (*opening, *ids)

    def answer_ids(self, text: str) -> tuple[int, ...]:
        """Token ids [A] of an assistant's answer as it is trained: its text and the end-of-turn token."""
        return (*self._encode(text), self.end_of_turn_id)

    def turn_characters(self, conversation: Conversation, message: int) -> tuple[str, tuple[tuple[int, int], ...]]:
        """Text of a trained assistant turn as `render` lays it out, and the characters [start, end) of each token."""
        prompt = self._text(conversation.messages[:message], conversation.tools, generate=True)
        text = self._turn_text(conversation, message, prompt)
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return text, tuple((int(start), int(end)) for start, end in found["offset_mapping"])

    @cached_property
    def tool_syntax(self) -> ToolSyntax | None:
        """How the model writes tool calls; None when that is not a name followed by a JSON object."""
        question = (Message(role="user", content="?"),)

        def body(turn: Message) -> str:
            prompt = self._text(question, (dict(PROBE_TOOL),), generate=True)
            return self._turn_text(Conversation(messages=(*question, turn), tools=(dict(PROBE_TOOL),)), 1, prompt)

        ids = {token: int(self._tokenizer.convert_tokens_to_ids(token)) for token in self._special}
        return probe_syntax(lambda turn: body(turn).removesuffix(self.end_of_turn), ids)

    def tokenizer_json(self) -> str:
        """The tokenizer as the text of its `tokenizer.json`, with tokens that were added later."""
        backend = copy(self._tokenizer.backend_tokenizer)
        backend.no_padding()
        backend.no_truncation()
        return str(backend.to_str())

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, special tokens left out."""
        if len(ids) != 1:
            return self._decode(ids)
        known = self._single.get(ids[0])
        if known is None:
            known = self._single[ids[0]] = self._decode(ids)
        return known

    def piece(self, token_id: int) -> str:
        """Text of one token, special tokens shown by name: for display only."""
        return str(self._tokenizer.decode([token_id], skip_special_tokens=False))

    def official_ids(self, conversation: Conversation, *, turns: int | None = None) -> tuple[int, ...]:
        """Token ids by the tokenizer's own `apply_chat_template` of the first `turns` messages: the oracle of the
        proof.
        """
        if conversation.is_text:
            ids = tuple(self._tokenizer(conversation.reference, verbose=False)["input_ids"])
            return ids if ids[-1:] == (self.end_of_text_id,) else (*ids, int(self.end_of_text_id or 0))
        given, offered = self._given(conversation.messages[:turns], conversation.tools)
        result = self._tokenizer.apply_chat_template(given, tools=offered, tokenize=True, return_dict=True)
        return tuple(result["input_ids"])

    def prove(self, conversations: Sequence[Conversation]) -> RenderingProof:
        """The proof of rendering over `conversations` (see `tunesmith.models.proof`)."""
        return prove(self, conversations)

    def save(self, folder: Path) -> None:
        """Write the tokenizer and its chat template to `folder`, so that an adapter carries them."""
        self._tokenizer.save_pretrained(folder)

    def _turn_text(self, conversation: Conversation, index: int, prompt: str) -> str:
        """Text of assistant turn `index` up to and including its end-of-turn token."""
        whole = self._text(conversation.messages[: index + 1], conversation.tools, generate=False)
        if not whole.startswith(prompt):
            raise RenderingError(
                f"The chat template renders message {index} differently in training than when it is generated: the "
                "prompt with its generation header is not a prefix of the whole conversation.",
            )
        turn = whole[len(prompt) :]
        end = turn.find(self.end_of_turn)
        if end < 0:
            raise RenderingError(f"Message {index} has no end-of-turn token {self.end_of_turn!r} after it.")
        body = turn[:end]
        for call in conversation.messages[index].tool_calls:
            if call.function.name not in body:
                raise RenderingError(
                    f"The chat template leaves out the tool call {call.function.name!r} of message {index}."
                )
        content = conversation.messages[index].content or ""
        if content.strip() not in body:
            raise RenderingError(f"The chat template changes the text of message {index}.")
        return body + self.end_of_turn

    def _text(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, generate: bool) -> str:
        return self._apply(*self._given(messages, tools), generate=generate)

    def _given(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
        """Messages and tools for the template: as they are, or as text where it carries none."""
        given = as_given(messages)
        with_tools = tools or any(message.tool_calls or message.role == "tool" for message in messages)
        if with_tools and not self._carries_tools:
            return written_out(given, tools), None
        return given, list(tools) or None

    @cached_property
    def _carries_tools(self) -> bool:
        return carries_tools(lambda messages, tools: self._apply(as_given(messages), list(tools), generate=False))

    def _apply(self, given: list[dict[str, Any]], offered: list[dict[str, Any]] | None, *, generate: bool) -> str:
        try:
            if self._sandboxed is not None:
                tokens = self._tokenizer.special_tokens_map
                return self._sandboxed.render(messages=given, tools=offered, add_generation_prompt=generate, **tokens)
            return str(
                self._tokenizer.apply_chat_template(
                    given, tools=offered, tokenize=False, add_generation_prompt=generate
                )
            )
        except (TemplateError, TypeError) as error:
            raise RenderingError(f"The chat template refuses the conversation: {error}") from error

    def _decode(self, ids: Sequence[int]) -> str:
        if self._backend is not None:
            return str(self._backend.decode(list(ids), skip_special_tokens=True))
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _encode(self, text: str) -> list[int]:
        if self._backend is not None:
            return list(self._backend.encode(text, add_special_tokens=False).ids)
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _check_contents(self, messages: Sequence[Message]) -> None:
        for index, message in enumerate(messages):
            for token in self._special:
                if message.content and token in message.content:
                    raise RenderingError(
                        f"Message {index} ({message.role}) contains the special token {token!r} as text.",
                        hint="Remove it: the model would read it as the end or start of a turn.",
                    )

    def _find_end_of_turn(self) -> str:
        probe = (Message(role="user", content="?"), Message(role="assistant", content=_PROBE_ANSWER))
        after = self._text(probe, (), generate=False).rsplit(_PROBE_ANSWER, 1)[-1].lstrip()
        found = sorted((token for token in self._special if after.startswith(token)), key=len)
        if not found:
            raise ModelError(
                "The chat template puts no special token after an assistant's turn; a model tuned with it never stops.",
                hint="Use a template that ends each turn with the model's end-of-turn or end-of-text token.",
            )
        return found[-1]


def _sandboxed(text: str) -> SandboxedTemplate:
    try:
        return SandboxedTemplate(text)
    except TemplateError as error:
        raise ModelError(f"model.template is not a Jinja template: {error}") from error
