"""Every method, objective and tracker, found by listing its folder, keeps its contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.errors import ModelError
from tunesmith.models.adapter import AdapterIdentity, adapter_digest, adapter_state, load_adapter_state, save_adapter
from tunesmith.models.method import Method
from tunesmith.models.methods.lora import Lora
from tunesmith.models.weights import load_base
from tunesmith.train.objective import Group, Objective, Scored
from tunesmith.train.tracker import Tracker
from tunesmith.types.conversation import Rendered

CONTRACTS = {
    "tunesmith.models.methods": Method,
    "tunesmith.train.objectives": Objective,
    "tunesmith.train.trackers": Tracker,
}
PLUGINS = [(folder, name) for folder in CONTRACTS for name in plugins.names(folder)]
METHODS = plugins.names("tunesmith.models.methods")
IDENTITY = AdapterIdentity(base="b", base_digest="1", template_digest="2", tokenizer_digest="3")


def test_no_folder_is_empty() -> None:
    assert {folder for folder, _ in PLUGINS} == set(CONTRACTS)


@pytest.mark.parametrize(("folder", "name"), PLUGINS)
def test_it_is_a_frozen_value_of_its_contract_that_round_trips(folder: str, name: str) -> None:
    kind = plugins.load(folder, name)
    assert issubclass(kind, CONTRACTS[folder])
    plugin = kind()
    assert kind.model_validate_json(plugin.model_dump_json()) == plugin
    with pytest.raises(ValidationError):
        kind.model_validate({"no_such_option": 1})
    for field in kind.model_fields:
        with pytest.raises(ValidationError):
            setattr(plugin, field, None)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_starts_from_its_seed_trains_saves_and_loads(name: str, tiny: Path, tmp_path: Path) -> None:
    method = plugins.load("tunesmith.models.methods", name)()
    assert isinstance(method, Method)
    model = method.wrap(load_base(tiny, "float32"), seed=3)
    start = {key: tensor.clone() for key, tensor in adapter_state(model).items()}
    twin = adapter_state(method.wrap(load_base(tiny, "float32"), seed=3))
    assert all(torch.equal(start[key], twin[key]) for key in start)
    ids = torch.tensor([[5, 6, 7, 8]])
    before = model(ids).logits
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.05)
    for _ in range(2):
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = model(ids).logits
    assert not torch.allclose(before, after)
    digest = save_adapter(model, adapter_state(model), IDENTITY, tmp_path / "adapter")
    assert digest == adapter_digest(tmp_path / "adapter")
    again = method.wrap(load_base(tiny, "float32"), seed=0)
    load_adapter_state(again, adapter_state(model))
    torch.testing.assert_close(again(ids).logits, after)
    assert save_adapter(again, adapter_state(again), IDENTITY, tmp_path / "copy") == digest


def test_an_adapter_that_does_not_fit_is_refused(tiny: Path) -> None:
    small = Lora(rank=2, targets=("q_proj",)).wrap(load_base(tiny, "float32"), seed=0)
    large = Lora(rank=2).wrap(load_base(tiny, "float32"), seed=0)
    with pytest.raises(ModelError, match="does not fit the model: missing"):
        load_adapter_state(large, adapter_state(small))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ("q_prj",)}, "Did you mean 'q_proj'"),
        ({"last_layers": 9}, "last_layers is 9, but the model has 2 layers"),
    ],
)
def test_lora_options_that_do_not_fit_the_model(tiny: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Lora.model_validate(options).wrap(load_base(tiny, "float32"), seed=0)


def test_a_folder_that_is_no_adapter_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors is missing"):
        adapter_digest(tmp_path)


def test_sft_by_hand() -> None:
    """(1 + 2 * 3) / 3, and the same in two pieces that share the step's normaliser."""
    objective = plugins.load("tunesmith.train.objectives", "sft")()
    assert isinstance(objective, Objective)
    rows = [Rendered(token_ids=(1, 2), loss_weights=(0.0, weight), spans=()) for weight in (1.0, 2.0)]
    groups = [Group(rows=(row,)) for row in rows]
    whole = objective.loss(scored([-1.0, -3.0], [1.0, 2.0]), groups, objective.amount(groups))
    pieces = [
        objective.loss(scored([logprob], [weight]), [group], objective.amount(groups))
        for logprob, weight, group in zip((-1.0, -3.0), (1.0, 2.0), groups, strict=True)
    ]
    assert whole.item() == pytest.approx(7 / 3)
    assert sum(piece.item() for piece in pieces) == pytest.approx(7 / 3)


def scored(logprobs: list[float], weights: list[float]) -> Scored:
    """One token per sequence."""
    every = torch.arange(len(logprobs))
    given = torch.tensor(weights)
    return Scored(torch.tensor(logprobs), given, len(logprobs), every, every, given, len(logprobs))
