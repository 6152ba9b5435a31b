"""Finds personal data: reported, replaced by typed stable pseudonyms, or the row dropped."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from tunesmith.errors import Problem, RecipeError, nearest
from tunesmith.prepare.pii_patterns import KINDS, find_pii
from tunesmith.prepare.redaction import Action, Place, apart, treating
from tunesmith.prepare.step import Outcome
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Pii"]

# Addresses of e-mail are found by our pattern alone: Presidio's recogniser fetches a list of domains from the network.
_OF_PRESIDIO: Mapping[str, str] = MappingProxyType(
    {
        "CREDIT_CARD": "card", "IBAN_CODE": "iban", "IP_ADDRESS": "ip", "LOCATION": "location",
        "PERSON": "person", "PHONE_NUMBER": "phone", "US_SSN": "ssn",
    }
)  # fmt: skip
_BY_MODEL = ("person", "location")


def _installed() -> Literal["presidio", "patterns"]:
    return "presidio" if importlib.util.find_spec("presidio_analyzer") else "patterns"


class Pii(Value):
    """Personal data in any text of a row.

    `engine`: patterns (checked: Luhn, mod 97, issued ranges), or presidio, which adds Presidio's recognisers and is the
    default where presidio-analyzer is installed. `kinds`: email, phone, card, iban, ssn, ip; with presidio and a spaCy
    `model` also person and location. `action`: report (values masked), redact (a pseudonym such as `<EMAIL_3f9a01>`,
    stable for one `salt`), or drop the row as `pii`.
    """

    action: Action = "redact"
    kinds: tuple[str, ...] = Field(default=KINDS, min_length=1)
    engine: Literal["presidio", "patterns"] = Field(default_factory=_installed)
    model: str | None = Field(default=None, examples=["en_core_web_sm"])
    min_score: float = Field(default=0.4, ge=0.0, le=1.0)
    salt: str = ""

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The search in one row. Raises MissingDependency, and RecipeError for an option that cannot be used."""
        self._check()
        kinds = self.kinds
        if self.engine == "patterns":
            return treating(lambda text: find_pii(text, kinds), self.action, self.salt, "pii")
        from tunesmith.prepare.presidio import load_presidio

        wanted = {name: kind for name, kind in _OF_PRESIDIO.items() if kind in kinds}
        analyse = load_presidio(tuple(wanted), self.model, self.min_score)

        def find(text: str) -> list[Place]:
            found = (Place(start, end, wanted[name]) for start, end, name in analyse(text))
            return apart((*find_pii(text, kinds), *found))

        return treating(find, self.action, self.salt, "pii")

    def _check(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS + _BY_MODEL:
                close = nearest(kind, KINDS + _BY_MODEL)
                fix = f"did you mean {close!r}? " if close else ""
                allowed = ", ".join(KINDS + _BY_MODEL)
                raise RecipeError(
                    [Problem(f"{kind!r} is not known", field="pii.kinds", fix=f"{fix}allowed: {allowed}")]
                )
            if kind in _BY_MODEL and (self.engine == "patterns" or self.model is None):
                fix = "set engine: presidio and model: en_core_web_sm (or another spaCy model that is installed)"
                raise RecipeError([Problem(f"{kind} has no pattern and needs a model", field="pii.kinds", fix=fix)])
        if self.model is not None and self.engine == "patterns":
            fix = "set engine: presidio, or remove model"
            raise RecipeError([Problem("has no effect on engine: patterns", field="pii.model", fix=fix)])
