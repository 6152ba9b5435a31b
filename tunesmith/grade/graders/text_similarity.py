"""text_similarity: how close the answer is to the reference, between 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal

from pydantic import model_validator

from tunesmith.errors import EvaluationError, MissingDependency
from tunesmith.grade.grader import Answered, Grade, Grader, score_each, unscored
from tunesmith.grade.judge import HttpJudge, Judge, JudgeFailed
from tunesmith.grade.placeholders import Template, Unresolved, fill

__all__ = ["TextSimilarity"]

# fmt: off
Measure = Literal[
    "fuzzy_match", "bleu", "gleu", "meteor", "cosine",
    "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l",
]
# fmt: on


class TextSimilarity(Grader):
    """Similarity between 0 and 1, computed by the libraries that define each measure.

    `fuzzy_match`: rapidfuzz `ratio` (indel similarity) / 100. `bleu`: sacrebleu, one sentence, effective order, / 100.
    `gleu`: nltk, Google-BLEU up to 4-grams (Wu et al. 2016). `meteor`: nltk (Banerjee and Lavie 2005) with exact words
    and stems; its synonym stage needs WordNet's data and is left out. `rouge_1` to `rouge_5`, `rouge_l`: rouge-score's
    F-measure. `cosine`: of the vectors that `embedding_model` gives at `base_url` (needs both), at least 0.
    """

    input: Template = "{{sample.output_text}}"
    reference: Template
    evaluation_metric: Measure
    embedding_model: str | None = None
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"

    @model_validator(mode="after")
    def _cosine_has_vectors(self) -> TextSimilarity:
        if self.evaluation_metric == "cosine" and self.embedding_model is None:
            raise ValueError("cosine needs embedding_model: the model whose vectors are compared")
        if self.evaluation_metric != "cosine" and (self.embedding_model or self.base_url):
            raise ValueError(f"embedding_model and base_url have no effect on {self.evaluation_metric}")
        return self

    def judges(self) -> tuple[str, ...]:
        """The embedding model, when it has no address of its own."""
        return (self.embedding_model,) if self.embedding_model and self.base_url is None else ()

    async def grade(self, answers: Sequence[Answered], judge: Judge | None = None) -> list[Grade]:
        """The similarity of each answer to its reference."""
        if self.evaluation_metric == "cosine":
            return await self._cosines(answers, judge)
        measure = _measure(self.evaluation_metric)
        return score_each(answers, lambda answered: measure(*self._texts(answered)))

    def _texts(self, answered: Answered) -> tuple[str, str]:
        sample = answered.sample.namespace()
        return fill(self.input, sample, answered.item), fill(self.reference, sample, answered.item)

    async def _cosines(self, answers: Sequence[Answered], judge: Judge | None) -> list[Grade]:
        async with AsyncExitStack() as stack:
            if self.base_url is not None:
                judge = await stack.enter_async_context(HttpJudge(self.base_url, self.api_key_env))
            if judge is None:
                raise EvaluationError(f"No server was given for {self.embedding_model}.", hint="Set base_url.")
            return [await self._cosine(answered, judge) for answered in answers]

    async def _cosine(self, answered: Answered, judge: Judge) -> Grade:
        try:
            given, reference = await judge.embed(str(self.embedding_model), self._texts(answered))
        except Unresolved as error:
            return unscored(error.kind, str(error))
        except (JudgeFailed, ValueError) as error:
            return unscored("model_grader_server_error", str(error))
        lengths = math.hypot(*given) * math.hypot(*reference)
        if len(given) != len(reference) or lengths == 0.0:
            return unscored("model_grader_server_error", "the two embeddings cannot be compared")
        return Grade(score=max(0.0, sum(a * b for a, b in zip(given, reference, strict=True)) / lengths))


def _measure(metric: str) -> Any:
    """The function (given, reference) -> similarity of one measure."""
    try:
        match metric:
            case "fuzzy_match":
                return _fuzzy()
            case "bleu":
                return _bleu()
            case "gleu" | "meteor":
                return _gleu() if metric == "gleu" else _meteor()
            case _:
                return _rouge(metric)
    except ImportError as error:
        raise MissingDependency(
            f"text_similarity with {metric} needs the package {error.name}.",
            hint="Install it with: pip install 'tunesmith[graders]'",
        ) from None


def _fuzzy() -> Any:
    from rapidfuzz import fuzz

    return lambda given, reference: fuzz.ratio(given, reference) / 100.0


def _bleu() -> Any:
    import sacrebleu

    return lambda given, reference: min(1.0, sacrebleu.sentence_bleu(given, [reference]).score / 100.0)


def _gleu() -> Any:
    from nltk.translate.gleu_score import sentence_gleu

    return lambda given, reference: float(sentence_gleu([reference.split()], given.split())) if given.split() else 0.0


def _meteor() -> Any:
    from nltk.translate.meteor_score import single_meteor_score

    class NoSynonyms:
        def synsets(self, *_: Any) -> list[Any]:
            return []

    def measure(given: str, reference: str) -> float:
        return float(single_meteor_score(reference.split(), given.split(), wordnet=NoSynonyms()))

    return measure


def _rouge(metric: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    kind = "rougeL" if metric == "rouge_l" else metric.replace("_", "")
    scorer = RougeScorer([kind])
    return lambda given, reference: float(scorer.score(reference, given)[kind].fmeasure)
