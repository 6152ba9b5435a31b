"""Which sentences of an answer its contexts support: by the words they share, or by a judging model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.json_answers import repaired
from tunesmith.evaluate.metric import Answered, grade_key
from tunesmith.evaluate.refusals import declines
from tunesmith.evaluate.sentences import sentences
from tunesmith.grade.judge import HttpJudge, Judge, JudgeFailed
from tunesmith.types.base import Value
from tunesmith.types.report import Prediction

__all__ = ["Grounding", "context_texts", "spoken"]

_FILLERS = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did", "do", "does", "for",
    "from", "had", "has", "have", "he", "her", "his", "i", "if", "in", "into", "is", "it", "its", "me", "my",
    "no", "not", "of", "on", "or", "our", "she", "should", "so", "some", "than", "that", "the", "their",
    "them", "then", "there", "these", "they", "this", "those", "to", "too", "was", "we", "were", "what",
    "when", "which", "who", "will", "with", "would", "yes", "you", "your",
))  # fmt: skip
_CITED = "citations"
_CITATION = re.compile(r"\[[^\[\]\n]{1,64}\]")
_PROMPT = """Decide whether the passages support a statement. A statement is supported when the passages say it or it \
follows from them directly; knowledge from elsewhere does not count.

Passages:
{contexts}

Statement: {statement}

Answer with the JSON object {{"supported": true}} or {{"supported": false}} and nothing else."""


class Grounding(Value):
    """The options that groundedness and hallucination_rate share.

    Without `model`, a sentence counts as supported when at least `overlap` of its content words, and every number in
    it, occur in one of the contexts. That is a lexical check: it sees invented names and figures, and is fooled by
    a contradiction in the same words and by a faithful paraphrase in others. With `model`, that model (at `base_url`,
    or the judge of the run) is asked about each sentence. `field` names what to look at in answers that are JSON
    objects ("": all their texts but the citations and what `expect.schema` chooses from a list, such as a status;
    without a schema, words that stand alone are looked at only where no text has several).
    """

    model: str = ""
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    overlap: float = 0.7
    field: str = ""

    def supported(self, sentence: str, contexts: Sequence[str]) -> bool:
        """Whether the words of `sentence` are in one of the contexts; a sentence without content words is."""
        wanted = _content(sentence)
        if not wanted:
            return True
        numbers = {word for word in wanted if word[0].isdigit()}
        pools = [_content(text) for text in contexts]
        return any(numbers <= pool and len(wanted & pool) >= self.overlap * len(wanted) for pool in pools)

    def share(self, answer: str, expect: Mapping[str, Any]) -> float | None:
        """Supported sentences / sentences; 1 for an answer without any: it asserts nothing. None without contexts."""
        texts, said = context_texts(expect.get("contexts")), spoken(answer, self.field, expect.get("schema"))
        if not texts:
            return None
        return sum(self.supported(sentence, texts) for sentence in said) / len(said) if said else 1.0

    def shares(self, metric: object, predictions: Sequence[Prediction]) -> list[float | None]:
        """The share of each row: as it was graded when a model judges, else by words."""
        if self.model:
            return [row.grades.get(grade_key(metric)) for row in predictions]
        return [self.share(row.answer, row.expect) for row in predictions]

    async def judged(self, answered: Sequence[Answered], judge: Judge | None) -> list[float | None]:
        """`share` of each answer, by the model when one is named; None where one of its sentences could not be judged.

        Raises EvaluationError when there is nobody to ask.
        """
        if not self.model:
            return [self.share(each.prediction.answer, each.item.expect) for each in answered]
        if self.base_url is not None:
            async with HttpJudge(self.base_url, self.api_key_env) as server:
                return await self._all(answered, server)
        if judge is None:
            raise EvaluationError(
                f"The model {self.model} is to judge groundedness, but no server was given.",
                hint="Set the metric's base_url to an OpenAI-compatible server.",
            )
        return await self._all(answered, judge)

    async def _all(self, answered: Sequence[Answered], judge: Judge) -> list[float | None]:
        return list(await asyncio.gather(*(self._one(each, judge) for each in answered)))

    async def _one(self, answered: Answered, judge: Judge) -> float | None:
        expect = answered.item.expect
        contexts = context_texts(expect.get("contexts"))
        said = spoken(answered.prediction.answer, self.field, expect.get("schema"))
        if not contexts or not said:
            return 1.0 if contexts else None
        verdicts = await asyncio.gather(*(self._ask(sentence, contexts, judge) for sentence in said))
        known = [verdict for verdict in verdicts if verdict is not None]
        return sum(known) / len(known) if len(known) == len(verdicts) else None

    async def _ask(self, sentence: str, contexts: Sequence[str], judge: Judge) -> bool | None:
        prompt = _PROMPT.format(contexts="\n\n".join(contexts), statement=sentence)
        try:
            said = await judge.ask(self.model, [{"role": "user", "content": prompt}], {"temperature": 0})
        except JudgeFailed:
            return None
        found = next(repaired(said.text), None)
        verdict = found.value.get("supported") if found and isinstance(found.value, dict) else None
        return verdict if isinstance(verdict, bool) else None


def context_texts(contexts: Any) -> list[str]:
    """The texts of `expect.contexts`; none when there are none."""
    return [str(each["text"]) for each in contexts if isinstance(each, dict)] if isinstance(contexts, list) else []


def spoken(answer: str, field: str, schema: Any = None) -> list[str]:
    """The sentences of an answer, without citation marks and without those that decline to answer; those of its texts
    when it is a JSON object (see `Grounding` for which), whose JSON Schema is `schema` where one is known.
    """
    found = next(repaired(answer), None)
    if found is not None and isinstance(found.value, dict) and "surrounding_text" not in found.repairs:
        texts = _texts_of(found.value, field, schema if isinstance(schema, dict) else None)
    else:
        texts = [answer]
    said = [sentence for text in texts for sentence in sentences(_CITATION.sub("", text))]
    return [sentence for sentence in said if not declines(sentence)]


def _texts_of(answer: Mapping[str, Any], field: str, schema: Mapping[str, Any] | None) -> list[str]:
    """The texts of a JSON answer that may assert something; the value of `field`, a number too, when one is named."""
    if field:
        named = answer.get(field)
        number = isinstance(named, int | float) and not isinstance(named, bool)
        return [str(named)] if number else list(_leaves(named, {}))
    stated = {key: value for key, value in answer.items() if key != _CITED}
    texts = list(_leaves(stated, schema or {}))
    return texts if schema else [text for text in texts if " " in text.strip()] or texts


def _leaves(value: Any, schema: Any) -> Iterator[str]:
    """Every text in `value` that `schema` does not choose from a list."""
    known = schema if isinstance(schema, dict) else {}
    if isinstance(value, dict):
        parts = known.get("properties", {})
        for key, part in value.items():
            yield from _leaves(part, parts.get(key))
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, known.get("items"))
    elif isinstance(value, str) and not {"enum", "const"} & known.keys():
        yield value


def _content(text: str) -> frozenset[str]:
    """Words that carry meaning, roughly stemmed; numbers with their decimals."""
    found = re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+", text.casefold())
    return frozenset(_stem(word) for word in found if word not in _FILLERS)


def _stem(word: str) -> str:
    if word[0].isdigit():
        return word.replace(",", "")
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e") if len(word) > 4 else word
