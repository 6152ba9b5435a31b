"""P-tuning v2: deep prompts, learned keys and values in every layer (Liu et al. 2022, arXiv:2110.07602)."""

from __future__ import annotations

from tunesmith.models.prompting import DeepPrompts

__all__ = ["PTuning"]


class PTuning(DeepPrompts):
    """`tokens` virtual tokens whose keys and values are trained in every layer (Liu et al. 2022, arXiv:2110.07602).

    Choose it for classification and extraction with a base that must stay as it is. It starts as a prompt, not as the
    base: at the keys and values that the base gives to `text` (repeated or cut to `tokens`) or to random tokens, so
    with a text of `tokens` tokens training begins exactly at that prompt. `reparameterise: true` trains through an MLP
    of width `hidden`, which is prefix tuning; the paper found it better on some tasks and worse on others. Cost:
    `tokens` more positions in each row, computed once for a whole step. Learning rate: 1e-3 to 1e-2.
    """

    reparameterise: bool = False
