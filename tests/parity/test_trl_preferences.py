"""TRL is the oracle of every preference objective: on the very batch its trainer collates, with the adapter moved away
from its start, our loss and gradients equal its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from tests.parity.measured import TRL_ON_A_PROCESSOR
from tests.parity.test_trl import adapted, gradients
from tunesmith import plugins
from tunesmith.models.methods.lora import Lora
from tunesmith.models.score_head import add_score_head
from tunesmith.models.weights import load_base
from tunesmith.train import attention
from tunesmith.train.forward import score
from tunesmith.train.groups import OBJECTIVES
from tunesmith.train.objective import Group, Objective, rows_of
from tunesmith.train.reference import sequence_logprobs
from tunesmith.types.conversation import Rendered

PAIRS = [
    {"prompt": "hello there", "chosen": " hi", "rejected": " go away now"},
    {"prompt": "who?", "chosen": " it is me", "rejected": " no"},
    {"prompt": "what is it", "chosen": " a pen", "rejected": " a pan, or so"},
]
HEAD = 0.05

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # TRL's and datasets' own warnings


class Oracle(NamedTuple):
    loss: float
    gradients: dict[str, torch.Tensor]
    groups: list[Group]


def trainer(kind: str, place: Path, tiny: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Any:
    """A TRL trainer on the adapted tiny model; `kind` is `dpo.DPO` for trl.DPOTrainer and trl.DPOConfig."""
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoTokenizer

    module = trl if "." not in kind else pytest.importorskip(f"trl.experimental.{kind.split('.')[0]}")
    name = kind.split(".")[-1]
    config = getattr(module, f"{name}Config")(
        output_dir=str(place),
        per_device_train_batch_size=len(rows),
        use_cpu=True,
        **TRL_ON_A_PROCESSOR,
        **options,
    )
    made = getattr(module, f"{name}Trainer")(
        model=Lora(rank=4).wrap(load_base(tiny, "float32"), seed=0).train(),
        args=config,
        train_dataset=datasets.Dataset.from_list(list(rows)),
        processing_class=AutoTokenizer.from_pretrained(tiny),
    )
    # Only now: TRL keeps a copy of the adapter that it was given as the reference.
    where = dict(made.model.named_parameters())
    with torch.no_grad():
        for key, parameter in adapted(load_base(tiny, "float32")).named_parameters():
            if "lora_" in key:
                where[key].copy_(parameter)
    return made


def sequences(ids: torch.Tensor, visible: torch.Tensor, trained: torch.Tensor) -> list[Rendered]:
    """The rows of a padded batch."""
    rows = []
    for row in range(len(ids)):
        kept = visible[row].bool()
        weights = tuple(trained[row][kept].float().tolist())
        rows.append(Rendered(token_ids=tuple(ids[row][kept].tolist()), loss_weights=weights, spans=()))
    return rows


def paired(chosen: Sequence[Rendered], rejected: Sequence[Rendered], margins: Sequence[float] = ()) -> list[Group]:
    return [
        Group(rows=(left, right), margin=margins[index] if margins else 0.0)
        for index, (left, right) in enumerate(zip(chosen, rejected, strict=True))
    ]


def assert_equals(oracle: Oracle, tiny: Path, name: str, batching: Any = "tree", **options: Any) -> None:
    """Our loss and gradients on the oracle's groups, with references by switching the adapter off."""
    attention.register()
    objective = plugins.load(OBJECTIVES, name).model_validate(options)
    assert isinstance(objective, Objective)
    model = adapted(load_base(tiny, "float32", attention=attention.ATTENTION if batching == "tree" else "sdpa"))
    if objective.needs.values:
        torch.nn.init.constant_(add_score_head(model).weight, HEAD)
    groups = oracle.groups
    if objective.needs.reference:
        with model.disable_adapter():
            groups = [
                group._replace(reference=tuple(sequence_logprobs(model, [*group.rows, *group.unpaired], batching)))
                for group in groups
            ]
    complete = objective.complete(groups, lambda rows: sequence_logprobs(model, rows, batching))
    scored = score(model, rows_of(complete), batching, needs=objective.needs)
    loss = objective.loss(scored, complete, objective.amount(complete))
    loss.backward()
    assert loss.item() == pytest.approx(oracle.loss, rel=1e-5)
    got = gradients(model)
    assert set(oracle.gradients) <= set(got)
    assert any(bool(gradient.abs().max() > 1e-4) for gradient in oracle.gradients.values())
    for key, gradient in oracle.gradients.items():
        torch.testing.assert_close(got[key], gradient, rtol=1e-3, atol=1e-5)


def measured(model: Any, loss: torch.Tensor, groups: list[Group]) -> Oracle:
    model.zero_grad()
    loss.backward()
    found = {name: gradient for name, gradient in gradients(model).items() if "lora_" in name}
    return Oracle(loss.item(), found, groups)


@pytest.fixture(scope="module")
def dpo(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Oracle]:
    """TRL's DPO on PAIRS with any of its losses."""
    made = trainer("DPO", tmp_path_factory.mktemp("dpo"), tiny, PAIRS)
    batch = next(iter(made.get_train_dataloader()))
    rows = sequences(batch["input_ids"], batch["attention_mask"], batch["completion_mask"])
    groups = paired(rows[: len(PAIRS)], rows[len(PAIRS) :])

    def oracle(loss: str, beta: float, label_smoothing: float) -> Oracle:
        made.loss_types, made.loss_weights, made.beta, made.label_smoothing = [loss], [1.0], beta, label_smoothing
        return measured(made.model, made.compute_loss(made.model, dict(batch)), groups)

    return oracle


@pytest.mark.parametrize("batching", ["tree", "padded"])
@pytest.mark.parametrize(
    ("variant", "loss", "beta", "smoothing"),
    [
        ("sigmoid", "sigmoid", 0.1, 0.0),
        ("ipo", "ipo", 0.3, 0.0),
        ("hinge", "hinge", 0.1, 0.0),
        ("robust", "robust", 0.2, 0.1),
        ("length_normalised", "sigmoid_norm", 5.0, 0.0),
    ],
)
def test_dpo(dpo: Any, tiny: Path, variant: str, loss: str, beta: float, smoothing: float, batching: str) -> None:
    oracle = dpo(loss, beta, smoothing)
    assert_equals(oracle, tiny, "dpo", batching, variant=variant, beta=beta, label_smoothing=smoothing)


def test_kto(tiny: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": row["prompt"], "completion": row[key], "label": key == "chosen"}
        for row in PAIRS
        for key in ("chosen", "rejected")
    ]
    options = {"beta": 0.3, "desirable_weight": 1.5, "undesirable_weight": 0.5}
    made = trainer("KTO", tmp_path, tiny, rows, **options)
    batch = next(iter(made.get_train_dataloader()))
    own = sequences(batch["input_ids"], batch["attention_mask"], batch["completion_mask"])
    other = sequences(batch["KL_input_ids"], batch["KL_attention_mask"], batch["KL_completion_mask"])
    groups = [
        Group(rows=(row,), unpaired=(mismatched,), label=bool(label))
        for row, mismatched, label in zip(own, other, batch["label"], strict=True)
    ]
    assert_equals(measured(made.model, made.compute_loss(made.model, dict(batch)), groups), tiny, "kto", **options)


def answers(batch: Any, side: str) -> list[Rendered]:
    labels = batch[f"{side}_labels"]
    return sequences(batch[f"{side}_input_ids"], batch[f"{side}_attention_mask"], labels != -100)


def test_orpo(tiny: Path, tmp_path: Path) -> None:
    """TRL takes the likelihood term over the prompt too; ours is over the answer, so it is put together here."""
    made = trainer("orpo.ORPO", tmp_path, tiny, PAIRS, beta=0.5)
    batch = next(iter(made.get_train_dataloader()))
    chosen, rejected, *_ = made.concatenated_forward(made.model, batch)
    ratios, *_ = made.odds_ratio_loss(chosen, rejected)
    loss = -chosen.mean() - ratios.mean()
    groups = paired(answers(batch, "chosen"), answers(batch, "rejected"))
    assert_equals(measured(made.model, loss, groups), tiny, "orpo", beta=0.5)


def test_simpo(tiny: Path, tmp_path: Path) -> None:
    options = {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0, "simpo_gamma": 0.7}
    made = trainer("cpo.CPO", tmp_path, tiny, PAIRS, **options)
    batch = next(iter(made.get_train_dataloader()))
    loss, _ = made.get_batch_loss_metrics(made.model, batch)
    groups = paired(answers(batch, "chosen"), answers(batch, "rejected"))
    assert_equals(measured(made.model, loss, groups), tiny, "simpo", beta=2.0, gamma=0.7)


def test_reward(tiny: Path, tmp_path: Path) -> None:
    """TRL's reward trainer, given a classifier whose decoder, adapter and score head are the very same."""
    trl = pytest.importorskip("trl")
    from transformers import AutoTokenizer

    model = adapted(load_base(tiny, "float32"))
    torch.nn.init.constant_(add_score_head(model).weight, HEAD)
    inner = model.get_base_model()

    class Classifier(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> Any:
            states = inner.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            last = attention_mask.sum(1) - 1
            return type("Output", (), {"logits": inner.score(states[torch.arange(len(last)), last])})

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    encoded = [
        {
            "chosen_ids": tokenizer(row["prompt"] + row["chosen"])["input_ids"],
            "rejected_ids": tokenizer(row["prompt"] + row["rejected"])["input_ids"],
            "margin": 0.5 * index,
        }
        for index, row in enumerate(PAIRS)
    ]
    collator = trl.trainer.reward_trainer.DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    batch = collator(encoded)
    mask = batch["attention_mask"]
    rows = sequences(batch["input_ids"], mask, mask)
    groups = paired(rows[: len(PAIRS)], rows[len(PAIRS) :], [row["margin"] for row in encoded])
    oracle = trl.RewardTrainer.__new__(trl.RewardTrainer)
    oracle.model = Classifier().eval()  # only its bookkeeping differs then
    oracle.args = trl.RewardConfig(output_dir=str(tmp_path), center_rewards_coefficient=0.02, bf16=False, use_cpu=True)
    oracle.accelerator = type(
        "One", (), {"gather": staticmethod(lambda it: it), "gather_for_metrics": staticmethod(lambda it: it)}
    )
    oracle._metrics, oracle._total_train_tokens = {"train": defaultdict(list), "eval": defaultdict(list)}, 0
    loss = oracle.compute_loss(oracle.model, dict(batch))
    assert_equals(measured(model, loss, groups), tiny, "reward", centering=0.02)
