"""When two computations of the same answers agree: worked by hand."""

from __future__ import annotations

import pytest

from tunesmith.engine.parity import BOUNDS, agree, bound_of, fixed_prompts
from tunesmith.errors import ModelError
from tunesmith.types.parity import Candidate, Reading

BOUND = 0.1


def reading(*steps: dict[int, float], prompt: tuple[int, ...] = (1, 2), chosen: tuple[int, ...] = ()) -> Reading:
    """Each step's candidates as token -> log-probability; the best is chosen unless told."""
    ranked = [sorted(step.items(), key=lambda one: -one[1]) for step in steps]
    return Reading(
        prompt_ids=prompt,
        token_ids=chosen or tuple(step[0][0] for step in ranked),
        steps=tuple(tuple(Candidate(token_id=token, logprob=one) for token, one in step) for step in ranked),
    )


FIRST = {7: -0.5, 8: -1.5, 9: -3.0}
SECOND = {4: -0.1, 5: -4.0, 6: -5.0}


def test_equal_readings_agree_in_everything() -> None:
    found = agree("server", [reading(FIRST, SECOND)], [reading(FIRST, SECOND)], BOUND)
    assert (found.prompts, found.tokens, found.logprobs, found.largest_difference) == (1, 2, 6, 0.0)


def test_the_largest_difference_is_told() -> None:
    moved = {7: -0.55, 8: -1.42, 9: -3.0}
    found = agree("server", [reading(FIRST)], [reading(moved)], BOUND)
    assert found.largest_difference == pytest.approx(0.08)


def test_a_difference_beyond_the_bound_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"The server does not compute .* prompt 1 of 1, at answer token 2.*0\.2"):
        agree("server", [reading(FIRST, SECOND)], [reading(FIRST, SECOND | {5: -4.2})], BOUND)


def test_a_decided_token_must_be_equal() -> None:
    with pytest.raises(ModelError, match="answer token 1 is 8 and the trainer's is 7"):
        agree("server", [reading(FIRST, SECOND)], [reading(FIRST, SECOND, chosen=(8, 4))], BOUND)


def test_nothing_is_compared_after_a_step_that_the_bound_leaves_open() -> None:
    close = {7: -0.5, 8: -0.6, 9: -3.0}
    other = reading({7: -0.58, 8: -0.52, 9: -3.0}, {1: -9.0})
    found = agree("server", [reading(close, SECOND)], [other], BOUND)
    assert (found.tokens, found.logprobs) == (0, 3)
    with pytest.raises(ModelError):  # a smaller bound decides the step
        agree("server", [reading(close, SECOND)], [other], 0.04)


def test_a_candidate_that_the_other_does_not_name_counts_as_its_least() -> None:
    found = agree("server", [reading(FIRST)], [reading({7: -0.5, 8: -1.5, 3: -2.95})], BOUND)
    assert found.largest_difference == 0.0  # 9 may well be at -3.0, just below what is named
    with pytest.raises(ModelError, match=r"differs by 1\.5"):
        agree("server", [reading(FIRST)], [reading({7: -0.5, 3: -3.0})], BOUND)


def test_an_answer_that_is_missing_or_ends_early_agrees_with_nothing() -> None:
    with pytest.raises(ModelError, match="at answer token 1"):
        agree("server", [reading(FIRST)], [reading()], BOUND)
    with pytest.raises(ModelError, match="at answer token 2"):
        agree("server", [reading(FIRST, SECOND)], [reading(FIRST)], BOUND)


def test_other_prompt_ids_are_refused() -> None:
    with pytest.raises(ModelError, match="other token ids"):
        agree("evaluator", [reading(FIRST)], [reading(FIRST, prompt=(1, 3))], BOUND)


def test_the_bound_is_that_of_the_coarsest_precision() -> None:
    assert bound_of("float32") < bound_of("float16") < bound_of("bfloat16")
    assert bound_of("float32", "bfloat16") == BOUNDS["bfloat16"]
    assert bound_of("float32", None) == BOUNDS["bfloat16"]


def test_prompts_carry_the_system_prompt_of_the_release() -> None:
    assert all(prompt[0].role == "user" for prompt in fixed_prompts(None))
    assert all(prompt[0].content == "Sort." for prompt in fixed_prompts("Sort."))
