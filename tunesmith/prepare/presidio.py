"""Presidio's recognisers, with a spaCy model for names and places where one is given, else without any model."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator

from tunesmith.errors import MissingDependency, Problem, RecipeError

__all__ = ["load_presidio"]


def load_presidio(
    entities: tuple[str, ...], model: str | None, min_score: float
) -> Callable[[str], Iterator[tuple[int, int, str]]]:
    """A function from a text to (start, end, entity) of what Presidio finds in it, the surest first.

    Nothing is downloaded: `model` is an installed spaCy package.

    Raises:
        MissingDependency: presidio-analyzer is not installed.
        RecipeError: there is no such model.
    """
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    except ImportError:
        raise MissingDependency(
            "The engine presidio of the step pii needs presidio-analyzer.",
            hint="Install it: pip install 'tunesmith[pii]', or set engine: patterns",
        ) from None
    if model is not None and importlib.util.find_spec(model) is None:
        fix = f"install it as a Python package, for example: python -m spacy download {model}"
        raise RecipeError([Problem(f"the spaCy model {model!r} is not installed", field="pii.model", fix=fix)])
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)  # it warns of languages that nobody asked for
    names = NerModelConfiguration(
        model_to_presidio_entity_mapping={"PERSON": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "FAC": "LOCATION"},
        labels_to_ignore=[
            "CARDINAL", "DATE", "EVENT", "LANGUAGE", "LAW", "MONEY", "NORP", "ORDINAL", "ORG", "PERCENT", "PRODUCT",
            "QUANTITY", "TIME", "WORK_OF_ART",
        ],
    )  # fmt: skip
    nlp = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model or "blank"}], ner_model_configuration=names)
    nlp.nlp = {"en": spacy.load(model) if model else spacy.blank("en")}
    analyser = AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"])

    def analyse(text: str) -> Iterator[tuple[int, int, str]]:
        found = analyser.analyze(text, language="en", entities=list(entities), score_threshold=min_score)
        for each in sorted(found, key=lambda each: (-each.score, each.start)):
            yield each.start, each.end, each.entity_type

    return analyse
