"""Tools in prompts and training rows: by the template where it carries them, else as text; the same in both."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.models.template import Renderer
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Conversation, FunctionCall, Message, ToolCall
from tunesmith.types.tool_syntax import Part

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = ToolCall(id="call_1", function=FunctionCall(name="weather", arguments='{"city": "Pune"}'))
OTHER = ToolCall(id="call_2", function=FunctionCall(name="weather", arguments='{"city": "Delhi"}'))
TURNS = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Weather?"),
    Message(role="assistant", content="I look.", tool_calls=(CALL, OTHER)),
    Message(role="tool", content="31", tool_call_id="call_1"),
    Message(role="tool", content="28", tool_call_id="call_2"),
    Message(role="assistant", content="Hot."),
)
CARRYING = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% if m['tool_calls'] %}[CALLS] [{% for c in m['tool_calls'] %}{% if not loop.first %}, {% endif %}"
    '{"name": "{{ c["function"]["name"] }}", "arguments": {{ c["function"]["arguments"] | tojson }}, '
    '"id": "{{ c["id"] }}"}{% endfor %}]{% endif %}<|im_end|>\n{% endfor %}'
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def plain(tiny: Path) -> Renderer:
    return Renderer(tiny)


def carrying(folder: Path, template: str = CARRYING) -> Renderer:
    make_tiny_model(folder)
    (folder / "chat_template.jinja").write_text(template)
    return Renderer(folder)


def text_of(renderer: Renderer, ids: tuple[int, ...]) -> str:
    return "".join(renderer.piece(token) for token in ids)


def test_tools_calls_and_results_are_text_where_the_template_knows_none(plain: Renderer) -> None:
    rendered = plain.render(Conversation(messages=TURNS, tools=(TOOL,)))
    text = text_of(plain, rendered.token_ids)
    assert text.startswith("<|im_start|>system\nBe brief.\n\n# Tools\n")
    assert '<tools>\n{"type": "function", "function": {"name": "weather"' in text
    first, _ = (span for span in rendered.spans if span.trained)
    assert text_of(plain, rendered.token_ids[first.start : first.end]) == (
        'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Pune"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Delhi"}}\n</tool_call><|im_end|>'
    )
    results = "<tool_response>\n31\n</tool_response>\n<tool_response>\n28\n</tool_response>"
    assert f"<|im_start|>user\n{results}<|im_end|>" in text


@pytest.mark.parametrize("carries", [False, True])
def test_the_prompt_with_tools_is_the_beginning_of_the_training_row(tmp_path: Path, carries: bool) -> None:
    renderer = carrying(tmp_path) if carries else Renderer(make_tiny_model(tmp_path))
    conversation = Conversation(messages=TURNS, tools=(TOOL,))
    rendered = renderer.render(conversation)
    for span in rendered.spans:
        if span.trained:
            prompt = renderer.prompt_ids(TURNS[: span.message], (TOOL,))
            assert rendered.token_ids[: span.start] == prompt
    assert renderer.prove([conversation]).passed


def test_the_syntax_of_the_fallback(plain: Renderer) -> None:
    syntax = plain.tool_syntax
    assert syntax is not None
    assert syntax.opening == (Part(text='<tool_call>\n{"name": "'),)
    assert syntax.middle == (Part(text='", "arguments": '),)
    assert syntax.between == (Part(text='}\n</tool_call>\n<tool_call>\n{"name": "'),)
    assert syntax.closing == (Part(text="}\n</tool_call>"),)


def test_the_syntax_of_a_template_is_read_from_what_it_renders(tmp_path: Path) -> None:
    syntax = carrying(tmp_path).tool_syntax
    assert syntax is not None
    assert syntax.opening == (Part(text='[CALLS] [{"name": "'),)
    assert syntax.between == (Part(text=', "id": "'), Part(call_id=True), Part(text='"}, {"name": "'))
    assert syntax.closing == (Part(text=', "id": "'), Part(call_id=True), Part(text='"}]'))


def test_special_tokens_in_the_syntax_are_known_by_their_id(tmp_path: Path) -> None:
    syntax = carrying(tmp_path, CARRYING.replace("[CALLS]", "<|endoftext|>")).tool_syntax
    assert syntax is not None
    assert syntax.opening == (Part(token=0), Part(text=' [{"name": "'))


def test_one_call_at_a_time(tmp_path: Path) -> None:
    only = "{% if m['tool_calls'] | length > 1 %}{{ raise_exception('one') }}{% endif %}{% if m['tool_calls'] %}"
    syntax = carrying(tmp_path, CARRYING.replace("{% if m['tool_calls'] %}", only)).tool_syntax
    assert syntax is not None
    assert syntax.between is None


def test_calls_that_are_no_json_have_no_syntax(tmp_path: Path) -> None:
    arguments = "{% for k, v in c['function']['arguments'].items() %}<{{ k }}={{ v }}>{% endfor %}"
    written = CARRYING.replace('{{ c["function"]["arguments"] | tojson }}', arguments)
    assert carrying(tmp_path, written).tool_syntax is None


def test_a_template_that_shows_no_results_has_everything_written_out(tmp_path: Path) -> None:
    forgetful = CARRYING.replace("{{ m['content'] }}", "{{ m['content'] if m['role'] != 'tool' else '' }}")
    syntax = carrying(tmp_path, forgetful).tool_syntax
    assert syntax is not None
    assert syntax.opening == (Part(text='<tool_call>\n{"name": "'),)
