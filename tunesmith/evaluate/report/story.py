"""What the figures say, in plain language: the verdict at the top of every report."""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.evaluate.report import wording
from tunesmith.evaluate.report.facts import ReportFacts
from tunesmith.types.report import Comparison, Contestant, EvaluationReport, Score
from tunesmith.types.run import RunRecord

__all__ = ["Story", "comparison_between", "learning", "main_metric", "model_name", "rival", "story", "subject"]


class Story(NamedTuple):
    """`tone` is pass, fail, inconclusive or none; `badge` names the outcome; `headline` and `details` explain it."""

    tone: str
    badge: str
    headline: str
    details: tuple[str, ...]


def subject(evaluation: EvaluationReport) -> Contestant:
    """The contestant the report is about: tuned, or else the last."""
    return next((each for each in evaluation.contestants if each.name == "tuned"), evaluation.contestants[-1])


def rival(evaluation: EvaluationReport) -> Contestant | None:
    """Whom the subject has to beat: prompt_only, or else the first other contestant."""
    others = [each for each in evaluation.contestants if each.name != subject(evaluation).name]
    return next((each for each in others if each.name == "prompt_only"), others[0] if others else None)


def main_metric(contestant: Contestant) -> Score | None:
    """The score a reader looks at first: accuracy, else exact match, else the first one with a value."""
    order = dict.fromkeys(("accuracy", "exact_match", *contestant.scores))
    scored = (contestant.scores[name] for name in order if name in contestant.scores)
    return next((score for score in scored if score.value is not None), None)


def comparison_between(evaluation: EvaluationReport, metric: str, model: str, baseline: str) -> Comparison | None:
    """The stored comparison of `model` minus `baseline`, if there is one."""
    for found in evaluation.comparisons:
        if (found.metric, found.model, found.baseline) == (metric, model, baseline):
            return found
    return None


def story(facts: ReportFacts) -> Story:
    """The verdict on the run."""
    tone, badge = _badge(facts)
    ours = subject(facts.evaluation)
    score = main_metric(ours)
    if score is None or score.value is None:
        return Story(tone, badge, "No row could be scored.", ())
    value, spread = wording.amount(score.value, score.scale), wording.plus_minus(score)
    if spread:
        value += f" {spread}" if spread.startswith("\u00b1") else f" ({score.confidence:.0%} interval {spread})"
    phrases = {
        "accuracy": f"answers {value} of {score.n} held-out rows with the right label",
        "exact_match": f"answers {value} of {score.n} held-out rows exactly as expected",
    }
    phrase = phrases.get(score.metric, f"reaches {value} in {wording.name(score.metric)} on {score.n} held-out rows")
    headline = f"The {model_name(ours)} {phrase}."
    details = [_against(facts.evaluation, score)] if rival(facts.evaluation) else []
    details.append(_invalid(ours))
    return Story(tone, badge, headline, tuple(filter(None, details)))


def learning(run: RunRecord) -> str:
    """What the loss on unseen rows did, or that it was not watched."""
    start, best = run.start_validation_loss, run.best_validation_loss
    if start is None or best is None:
        return "There were no validation rows, so the loss on unseen rows was not watched."
    return f"The loss on validation rows, which are not trained on, went from {start:.3f} to {best:.3f}."


def _badge(facts: ReportFacts) -> tuple[str, str]:
    if facts.decision is None:
        return "none", "Measured, not judged"
    badges = {
        "pass": "Passed every gate",
        "pass (waived)": "Passed with waivers",
        "fail": "Did not pass the gate",
        "inconclusive": "Inconclusive: more rows are needed",
    }
    outcome = facts.decision.outcome
    # Somebody answers for what did not pass: a warning, not a success.
    return "inconclusive" if outcome == "pass (waived)" else outcome, badges[outcome]


def model_name(contestant: Contestant) -> str:
    """The contestant in a sentence: 'tuned model'."""
    names = {"tuned": "tuned model", "base": "base model", "prompt_only": "base model with a prompt"}
    return names.get(contestant.name, f"model {contestant.name}")


def _against(evaluation: EvaluationReport, score: Score) -> str:
    """How the subject stands against its rival in the main metric."""
    ours, other = subject(evaluation), rival(evaluation)
    found = other and comparison_between(evaluation, score.metric, ours.name, other.name)
    if not found or other is None:
        return ""
    theirs = wording.amount(other.scores[score.metric].value, score.scale)
    gain = found.difference if found.better == "higher" else -found.difference
    low, high = (found.low, found.high) if found.better == "higher" else (-found.high, -found.low)
    ends = f"{wording.change(low, score.scale)} to {wording.change(high, score.scale)}"
    start = f"The {model_name(other)} reaches {theirs}"
    if gain == 0:
        return f"{start}: no difference on the same {found.n} rows ({found.confidence:.0%} interval {ends})."
    direction = "better" if gain > 0 else "worse"
    sure = (
        "more than chance explains"
        if found.rows_for_decision is None
        else f"which chance could explain; about {wording.about(found.rows_for_decision)} more rows would settle it"
    )
    distance = f"{wording.points(gain, score.scale)} {direction}"
    return f"{start}. Tuning is {distance} on the same rows ({found.confidence:.0%} interval {ends}), {sure}."


def _invalid(ours: Contestant) -> str:
    score = ours.scores.get("invalid_rate")
    if score is None or score.value is None:
        return ""
    count = round(score.value * score.n)
    if count == 0:
        return f"Every one of the {model_name(ours)}'s {score.n} answers is a known label."
    return f"Of the {model_name(ours)}'s {score.n} answers, {count} {'is' if count == 1 else 'are'} no known label."
