"""Each technical term of a report with its plain meaning in one line."""

from __future__ import annotations

from tunesmith.evaluate.metric import load_metric
from tunesmith.evaluate.report import wording
from tunesmith.types.report import EvaluationReport

__all__ = ["glossary"]

TERMS = (
    ("Base", "the model as it was before tuning, asked without any instructions"),
    ("Prompt only", "the same untuned model, told what to do by the system prompt"),
    ("Tuned", "the model with the trained adapter, asked in the same way"),
    ("Adapter", "the small set of trained numbers that is added to the base model; the base stays as it is"),
    ("Held-out rows", "examples kept aside, never trained on, so that they test rather than repeat"),
    ("\u00b1 (standard error)", "how far a figure would typically move if other rows of the same kind had been drawn"),
    ("Interval", "the range that holds the true figure with the stated confidence"),
    ("Paired comparison", "two models judged row by row on the same rows, which shows smaller differences reliably"),
    ("p", "how often chance alone would show a difference this large; below 0.05 is the usual border"),
    ("Holm p", "p raised for the number of metrics compared, since among many tries one succeeds by chance"),
    ("Detectable", "the true difference that these rows would show as real in four of five repetitions"),
    ("Groups", "rows of one conversation or passage are not independent; the figures count them as one group"),
    ("McNemar exact", "the test for right-or-wrong answers: are won and lost rows as even as coin flips?"),
    ("Paired permutation", "the test for other figures: swap the two models' answers at random and compare"),
    ("Inconclusive", "the rows at hand can tell neither yes nor no; the report says about how many more are needed"),
    ("Known label", "one of the answers that the dataset uses; anything else is an invalid answer"),
    ("Loss", "how surprised the model is by the right answers while training; lower is better"),
    ("Validation loss", "the same on rows that are not trained on; when it rises again, the model memorises"),
    ("Step", "one update of the adapter from one batch of rows"),
    ("Token", "a piece of a word; the unit in which models read and write"),
    ("Digest", "a fingerprint of content: two things with one digest are the same"),
)


def glossary(evaluation: EvaluationReport) -> tuple[tuple[str, str], ...]:
    """The terms, and the metrics that this evaluation measured."""
    measured = {title: score.metric for each in evaluation.contestants for title, score in each.scores.items()}
    metrics = tuple((wording.name(title), load_metric(name).meaning) for title, name in measured.items())
    return (*metrics, *TERMS)
