"""xquad: questions about paragraphs, in the JSON of SQuAD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from tunesmith.evaluate.task_files import json_value, made, refused
from tunesmith.types.base import Value
from tunesmith.types.suite import Item

__all__ = ["Xquad"]


class Xquad(Value):
    """XQuAD (Artetxe et al. 2020, arXiv:1910.11856) and SQuAD 1 and 2: questions to be answered from a paragraph.

    The paragraph is a context with its number in the article as its id; `distractors` other paragraphs of the article
    stand beside it, in the article's order, and the right one is to be cited. Questions that SQuAD 2 marks as
    impossible are to be refused. The slice `article` is its title; questions about one paragraph are a group.
    """

    distractors: int = Field(default=0, ge=0)
    system: str = (
        "Answer from the passages only, in a few words, and cite the passage: [1]. Say so if they do not tell."
    )

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """Grounded-QA items. Raises DataError."""
        return islice(self._all(path), limit or None)

    def _all(self, path: Path) -> Iterator[Item]:
        content = json_value(path)
        try:
            for article in content["data"]:
                paragraphs = article["paragraphs"]
                for place, paragraph in enumerate(paragraphs):
                    shown = self._shown(place, len(paragraphs))
                    contexts = [{"id": str(n + 1), "text": paragraphs[n]["context"]} for n in shown]
                    for question in paragraph["qas"]:
                        yield self._item(path, question, contexts, (article.get("title", ""), place))
        except (KeyError, TypeError) as error:
            raise refused(path, None, f"is not in SQuAD's form: {error!r}") from None

    def _item(
        self, path: Path, question: dict[str, Any], contexts: Sequence[dict[str, str]], place: tuple[str, int]
    ) -> Item:
        title, number = place
        answers = list(dict.fromkeys(each["text"] for each in question.get("answers", ())))
        known: dict[str, Any] = {"unanswerable": True}
        if answers and not question.get("is_impossible"):
            known = {"answer": answers[0], "answers": answers[1:], "citations": [str(number + 1)]}
        written = {"question": question["question"].strip(), "contexts": contexts, "system": self.system, **known}
        about = {"id": str(question["id"]), "tags": {"article": title}, "group": f"{title}-{number + 1}"}
        return made({"type": "grounded_qa", **about, **written}, (path, 1))

    def _shown(self, place: int, count: int) -> list[int]:
        """The paragraph's place and those of the paragraphs that follow it, around the end, in the article's order."""
        return sorted({(place + step) % count for step in range(min(count, self.distractors + 1))})
