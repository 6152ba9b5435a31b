"""Finds keys, tokens and passwords: a model that was trained on them can be made to say them."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from inspect import isabstract
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tunesmith.errors import MissingDependency
from tunesmith.prepare.redaction import Action, Place, apart, treating
from tunesmith.prepare.step import Outcome
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Secrets"]

# What detect-secrets 1.5 does not know, and the whole of a private key where it finds only the first line.
_MORE: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "private_key": re.compile(
            r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----.*?(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        "github_token": re.compile(r"\bgithub_pat_\w{60,}\b"),
        "openai_token": re.compile(r"\bsk-(?:proj-|svcacct-|ant-)?[\w-]{32,}"),
        "google_api_key": re.compile(r"\bAIza[\w-]{35}(?![\w-])"),
        "hugging_face_token": re.compile(r"\bhf_[A-Za-z0-9]{34}\b"),
    }
)
_LEFT_OUT = ("base", "ip_public")
_SHORTEST = 8
# Every detector but those of keywords wants a run of eleven such characters, or credentials in an address.
_TRIGGER = r"[\w+/=-]{11,}|://|BEGIN "


class Secrets(Value):
    """Secrets in any text of a row, by the detectors of detect-secrets and a few patterns of newer tokens.

    `action`: report (values masked), redact (a pseudonym such as `<AWS_ACCESS_KEY_3f9a01>`, stable for one `salt`), or
    drop the row as `secret`. `entropy` also takes quoted strings that look random, which finds more and errs more.
    """

    action: Action = "redact"
    entropy: bool = False
    salt: str = ""

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The search in one row. Raises MissingDependency."""
        try:
            from detect_secrets import plugins
            from detect_secrets.plugins.keyword import DENYLIST
        except ImportError:
            raise MissingDependency(
                "The step secrets needs detect-secrets.", hint="Install it: pip install 'tunesmith[data]'"
            ) from None
        detectors = tuple(self._detectors(plugins))
        worth_a_look = re.compile("|".join((_TRIGGER, *(["[\"']"] if self.entropy else []), *DENYLIST)), re.IGNORECASE)

        def find(text: str) -> list[Place]:
            if not worth_a_look.search(text):
                return []
            known = (Place(*hit.span(), kind) for kind, pattern in _MORE.items() for hit in pattern.finditer(text))
            return apart((*known, *_found(text, detectors, worth_a_look)))

        return treating(find, self.action, self.salt, "secret")

    def _detectors(self, plugins: Any) -> Iterator[Any]:
        for module in pkgutil.iter_modules(plugins.__path__):
            if module.name in _LEFT_OUT or (module.name == "high_entropy_strings" and not self.entropy):
                continue
            for kind in vars(importlib.import_module(f"{plugins.__name__}.{module.name}")).values():
                concrete = isinstance(kind, type) and hasattr(kind, "secret_type") and not isabstract(kind)
                if concrete and kind.__module__.endswith(f".{module.name}"):
                    yield kind()


def _found(text: str, detectors: tuple[Any, ...], worth_a_look: re.Pattern[str]) -> Iterator[Place]:
    """What the detectors find, line by line as they are made for."""
    start = 0
    for line in text.splitlines(keepends=True):
        if worth_a_look.search(line):
            for detector in detectors:
                kind = re.sub(r"\W+", "_", detector.secret_type.lower()).strip("_")
                for place in _in_line(line, detector):
                    yield Place(start + place[0], start + place[1], kind)
        start += len(line)


def _in_line(line: str, detector: Any) -> Iterator[tuple[int, int]]:
    """A pattern's longest group where that can be the secret, else its whole hit (`ghp` alone is no secret)."""
    patterns = getattr(detector, "denylist", None)
    if patterns is None:
        for secret in set(detector.analyze_string(line)):
            yield from (hit.span() for hit in re.finditer(re.escape(secret), line))
        return
    for hit in (hit for pattern in patterns for hit in pattern.finditer(line)):
        longest = max((hit.span(group) for group in range(1, hit.re.groups + 1)), key=_length, default=hit.span())
        yield longest if _length(longest) >= _SHORTEST else hit.span()


def _length(span: tuple[int, int]) -> int:
    return span[1] - span[0]
