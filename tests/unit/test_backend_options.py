"""--backend and --backend-option: what is understood, and what is refused with which words."""

from __future__ import annotations

import pytest

from tunesmith.cli.backend_options import backend_spec
from tunesmith.engine.backend import backend_of
from tunesmith.engine.backends.vllm import VLLM
from tunesmith.errors import NotFound, RecipeError
from tunesmith.types.recipe import PluginSpec


def test_options_become_those_of_the_backend() -> None:
    given = ["urls=http://a:8000/v1, http://b:8000/v1/", 'paths={"/here": "/there"}', "look_seconds=0.5"]
    backend = backend_of(backend_spec("vllm", "auto", [*given, 'arguments=["--enforce-eager"]', "max_lora_rank=16"]))
    assert isinstance(backend, VLLM)
    assert backend.urls == ("http://a:8000/v1", "http://b:8000/v1")
    assert backend.paths == {"/here": "/there"}
    assert (backend.look_seconds, backend.max_lora_rank) == (0.5, 16)
    assert backend.arguments == ("--enforce-eager",)


def test_the_embedded_backend_has_a_device() -> None:
    assert backend_spec("embedded", "cpu", ["max_running=4"]).options == {"device": "cpu", "max_running": "4"}
    assert backend_spec("echo", "auto", None) == PluginSpec(name="echo")


@pytest.mark.parametrize(
    ("backend", "option", "said"),
    [
        ("vllm", "url=http://a:1/v1", r"vllm\.url: there is no such option -> did you mean 'urls'\?"),
        ("vllm", "urls=a:1", r"vllm\.urls: 'a:1' is no address; write http://host:port/v1"),
        ("vllm", "replicas=none", r"vllm\.replicas: .*integer.*found 'none'"),
        ("echo", "length", "'length' has no value"),
    ],
)
def test_what_is_wrong_is_said_in_words(backend: str, option: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        backend_spec(backend, "auto", [option])


def test_a_device_is_not_silently_ignored() -> None:
    with pytest.raises(RecipeError, match="--device cuda has no effect with --backend vllm"):
        backend_spec("vllm", "cuda", None)


def test_an_unknown_backend_is_named_with_its_nearest() -> None:
    with pytest.raises(NotFound, match="Did you mean 'vllm'"):
        backend_spec("vlm", "auto", None)
