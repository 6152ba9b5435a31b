"""Says which language each row is in, and keeps only some languages when asked to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from tunesmith.errors import MissingDependency, Problem, RecipeError, nearest
from tunesmith.prepare.step import Finding, Outcome
from tunesmith.prepare.texts import spoken
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Language"]

_UNKNOWN = "und"
_MOST_READ = 2_000


class Language(Value):
    """The language of each row by py3langid, as a finding `language` (ISO 639-1; und: undecided).

    `keep` lists the languages to keep; others are dropped as other_language. A row is undecided, and kept, when it has
    fewer than `min_letters` letters or the best language is less likely than `min_confidence`. `among` limits the
    choice, which makes short rows more certain.
    """

    keep: tuple[str, ...] = ()
    among: tuple[str, ...] = ()
    min_letters: int = Field(default=20, ge=1)
    min_confidence: float = Field(default=0.8, ge=0.0, le=1.0)

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The recognition of one row. Raises MissingDependency, and RecipeError for an unknown language."""
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier
        except ImportError:
            raise MissingDependency(
                "The step language needs py3langid.", hint="Install it: pip install 'tunesmith[data]'"
            ) from None
        identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        known = sorted(map(str, identifier.nb_classes))
        for field in ("keep", "among"):
            self._check(field, known)
        if self.among:
            identifier.set_languages(list(self.among))

        def recognise(row: Row) -> Outcome:
            text = spoken(row)[:_MOST_READ]
            if sum(map(str.isalpha, text)) < self.min_letters:
                return Outcome(row, findings=(Finding("language", _UNKNOWN),))
            code, confidence = identifier.classify(text)
            if confidence < self.min_confidence:
                return Outcome(row, findings=(Finding("language", _UNKNOWN),))
            findings = (Finding("language", str(code)),)
            if self.keep and code not in self.keep:
                return Outcome(None, "other_language", findings)
            return Outcome(row, findings=findings)

        return recognise

    def _check(self, field: str, known: list[str]) -> None:
        for code in getattr(self, field):
            if code not in known:
                close = nearest(code, known)
                fix = f"did you mean {close!r}? " if close else ""
                message = f"{code!r} is no language that py3langid knows"
                raise RecipeError(
                    [Problem(message, field=f"language.{field}", fix=f"{fix}allowed: {', '.join(known)}")]
                )
