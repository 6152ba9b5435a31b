"""A user's Jinja is kept from Python's insides, from running on and from growing."""

from __future__ import annotations

import pickle
import time

import pytest
from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from tunesmith.models.sandboxed import SandboxedTemplate

MESSAGES = [{"role": "user", "content": "é <b>"}, {"role": "assistant", "content": "x"}]
USUAL = (
    "{%- set ns = namespace(n=0) -%}\n"
    "{% for m in messages if m.role != 'tool' %}\n"
    "  {%- set ns.n = ns.n + 1 %}\n"
    "{{ ns.n ~ loop.index0 ~ m.content | tojson }}\n"
    "{% if ns.n > 5 %}{% break %}{% endif %}\n"
    "{% generation %}{{ m['content'] | trim }}{% endgeneration %}\n"
    "{%- macro twice(t) %}{{ t * 2 }}{% endmacro %}{{ twice('ab') }}\n"
    "{% endfor %}{% if add_generation_prompt %}>{% endif %}{{ missing }}"
)


@pytest.mark.parametrize("generate", [True, False])
def test_it_renders_as_transformers_does(generate: bool) -> None:
    (expected,), _ = render_jinja_template([MESSAGES], chat_template=USUAL, add_generation_prompt=generate)
    found = SandboxedTemplate(USUAL).render(messages=MESSAGES, tools=None, add_generation_prompt=generate)
    assert found == expected
    assert "é <b>" in found


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% for i in range(9) %}{{ f(n) if n else '' }}{% endfor %}{% endmacro %}{{ f(1) }}",
        "{% set x = [1] %}{% for i in range(40) %}{% for j in range(99999) %}{% set y = j %}{% endfor %}{% endfor %}",
    ],
)
def test_what_never_ends_is_stopped_in_time(text: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TemplateError, match=r"more than 0\.3 seconds|without end"):
        SandboxedTemplate(text, seconds=0.3).render(messages=MESSAGES)
    assert time.monotonic() - begun < 10.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ 'x' * 9999999999 }}", "may not be repeated"),
        ("{{ 9 ** 99999999 }}", "powers above"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe|not safely callable"),
        ("{{ range(999999999) }}", "Range too big"),
        ("{{ 'x' | center(9999999999) }}", "No filter named 'center'"),
        ("{% for %}", "xpected"),
        ("{{ raise_exception('no tools here') }}", "no tools here"),
        ("{{ 1 + 'a' }}", "TypeError"),
        ("{% include '/etc/passwd' %}", "no loader"),
    ],
)
def test_what_may_not_be_done_is_a_template_error(text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        SandboxedTemplate(text).render(messages=MESSAGES)


def test_another_process_gets_the_same() -> None:
    assert pickle.loads(pickle.dumps(SandboxedTemplate("{{ 'x' * 2 }}"))).render() == "xx"


def test_each_rendering_has_the_whole_time() -> None:
    template = SandboxedTemplate("{% for i in range(10) %}{{ i }}{% endfor %}", seconds=0.5)
    for _ in range(3):
        assert template.render() == "0123456789"
        time.sleep(0.3)
