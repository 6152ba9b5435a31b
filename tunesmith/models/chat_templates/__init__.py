"""Chat templates by name, for bases that have none or another one than is wanted; one Jinja file each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from tunesmith.types.recipe import TEMPLATES

__all__ = ["NEEDED", "template_text"]

NEEDED: Mapping[str, tuple[str, ...]] = {
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "gemma": ("<start_of_turn>", "<end_of_turn>"),
    "llama-3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "phi-3": ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
}
"""The special tokens a template is written with, besides the tokenizer's first and last (`bos_token`, `eos_token`)."""


def template_text(choice: str) -> str:
    """The Jinja text of a template by its name, or `choice` itself when it is such a text."""
    if choice not in TEMPLATES:
        return choice
    return (resources.files(__package__) / f"{choice}.jinja").read_text(encoding="utf-8").removesuffix("\n")
