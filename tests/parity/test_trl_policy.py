"""TRL is the oracle of grpo and rloo: its loss and gradients equal ours.

Given are the same weights, completions, advantages, and log-probabilities when sampled and under the start policy.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.models.weights import load_base
from tunesmith.train import attention
from tunesmith.train.forward import attention_for, score
from tunesmith.train.objective import Group, rows_of
from tunesmith.train.objectives.grpo import Grpo
from tunesmith.train.objectives.rloo import Rloo
from tunesmith.train.policy import PolicyObjective
from tunesmith.train.rollouts import Completion, completed_row

PROMPT = (40, 41, 42, 43)
ANSWERS = ((50, 51, 2), (50, 52, 53, 54, 2), (60, 2), (50, 51, 70, 2))
REWARDS = (1.0, 0.0, 0.25, 2.0)


def group(tiny: Path) -> Group:
    """Four completions that share their prompt and partly their beginning, with policies that differ a little."""
    rows = tuple(completed_row(PROMPT, Completion(ids, (0.0,) * len(ids), True)) for ids in ANSWERS)
    attention.register()
    with torch.no_grad():
        said = score(load_base(tiny, "float32", attention=attention_for("tree")), rows, "tree")
    now = said.logprobs[said.token]
    noise = torch.Generator().manual_seed(3)
    sampled, start = (now + 0.3 * torch.randn(len(now), generator=noise) for _ in range(2))
    return Group(rows=rows, rewards=REWARDS, sampled=tuple(sampled.tolist()), start=tuple(start.tolist()))


def padded(values: Any) -> torch.Tensor:
    """One row per completion of what stands there token after token, padded with zeros."""
    flat = list(values)
    rows = [torch.tensor([flat.pop(0) for _ in answer]) for answer in ANSWERS]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def ours(objective: PolicyObjective, groups: list[Group], tiny: Path) -> tuple[float, dict[str, torch.Tensor]]:
    model = load_base(tiny, "float32", attention=attention_for("tree"))
    model.requires_grad_(True)
    loss = objective.loss(score(model, rows_of(groups), "tree"), groups, objective.amount(groups))
    loss.backward()
    return loss.item(), gradients(model)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def theirs(
    kind: str, options: dict[str, Any], inputs: dict[str, torch.Tensor], tiny: Path, folder: Path
) -> tuple[float, dict[str, torch.Tensor]]:
    os.environ["WANDB_DISABLED"] = "true"
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = getattr(trl, f"{kind}Config")(
        output_dir=str(folder),
        per_device_train_batch_size=len(ANSWERS),
        num_generations=len(ANSWERS),
        report_to="none",
        bf16=False,
        use_cpu=True,
        **options,
    )
    trainer = getattr(trl, f"{kind}Trainer")(
        model=AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=datasets.Dataset.from_list([{"prompt": "a"}]),
        processing_class=AutoTokenizer.from_pretrained(tiny),
    )
    trainer.current_gradient_accumulation_steps = 1
    ids = padded(token for answer in ANSWERS for token in answer)
    mask = padded(1 for answer in ANSWERS for _ in answer)
    prompt = torch.tensor([PROMPT] * len(ANSWERS))
    fixed = {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "completion_ids": ids,
        "completion_mask": mask,
        "num_items_in_batch": mask.sum(),
    }
    trainer.model.train()
    loss = trainer._compute_loss(trainer.model, {**fixed, **inputs})
    loss.backward()
    return loss.item(), gradients(trainer.model)


def assert_same(mine: tuple[float, dict[str, torch.Tensor]], oracle: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert mine[0] == pytest.approx(oracle[0], rel=1e-5, abs=1e-6)
    assert set(mine[1]) == set(oracle[1])
    total = torch.cat([value.flatten() for value in oracle[1].values()]).norm()
    difference = torch.cat([(mine[1][name] - value).flatten() for name, value in oracle[1].items()]).norm()
    assert float(difference / total) < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # TRL's and datasets' own warnings
@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo"])
@pytest.mark.parametrize(("beta", "unbiased"), [(0.0, True), (0.2, True), (0.2, False)])
def test_grpo(loss_type: str, beta: float, unbiased: bool, tiny: Path, tmp_path: Path) -> None:
    chosen = {"loss_type": loss_type, "beta": beta, "epsilon_high": 0.28, "max_tokens": 16, "unbiased_kl": unbiased}
    objective = Grpo.model_validate(chosen)
    (given,) = objective.complete([group(tiny)], lambda rows: torch.zeros(0))
    inputs = {
        "advantages": torch.tensor(given.advantages),
        "old_per_token_logps": padded(given.sampled),
        "ref_per_token_logps": padded(given.start),
    }
    corrected = {"use_bias_correction_kl": unbiased}
    options = {"loss_type": loss_type, "beta": beta, "epsilon_high": 0.28, "max_completion_length": 16, **corrected}
    assert_same(ours(objective, [given], tiny), theirs("GRPO", options, inputs, tiny, tmp_path))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # TRL's and datasets' own warnings
def test_rloo(tiny: Path, tmp_path: Path) -> None:
    objective = Rloo(beta=0.2)
    (given,) = objective.complete([group(tiny)], lambda rows: torch.zeros(0))
    inputs = {"advantages": torch.tensor(given.advantages), "old_logps": padded(given.sampled).sum(1)}
    options = {"beta": 0.2, "max_completion_length": 16}
    assert_same(ours(objective, [given], tiny), theirs("RLOO", options, inputs, tiny, tmp_path))
