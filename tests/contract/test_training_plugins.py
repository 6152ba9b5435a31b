"""Every method, objective and tracker, found by listing its folder, keeps its contract."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.errors import ModelError
from tunesmith.models.adapter import (
    Adapter,
    AdapterIdentity,
    adapter_digest,
    adapter_state,
    load_adapter_state,
    save_adapter,
)
from tunesmith.models.attach import attach
from tunesmith.models.method import Method
from tunesmith.models.methods.freeze import Freeze
from tunesmith.models.methods.lora import Lora
from tunesmith.models.parameters import trainable_share
from tunesmith.models.weights import load_base
from tunesmith.train.objective import Group, Objective, Scored
from tunesmith.train.optimizer import make_optimizer
from tunesmith.train.tracker import Tracker
from tunesmith.types.conversation import Rendered

CONTRACTS = {
    "tunesmith.models.methods": Method,
    "tunesmith.train.objectives": Objective,
    "tunesmith.train.trackers": Tracker,
}
# What has no default: a distillation needs to be told from whom to learn.
REQUIRED: dict[str, dict[str, object]] = {"distill": {"teacher": "a-folder"}}
PLUGINS = [(folder, name) for folder in CONTRACTS for name in plugins.names(folder)]
METHODS = plugins.names("tunesmith.models.methods")
IDENTITY = AdapterIdentity(base="b", base_digest="1", template_digest="2", tokenizer_digest="3")
IDS = torch.tensor([[5, 6, 7, 8, 40, 41, 42, 43]])
ROWS = tuple(Rendered(token_ids=(5, 6, 7 + i, 8), loss_weights=(0.0, 0.0, 1.0, 1.0), spans=()) for i in range(8))


def test_no_folder_is_empty() -> None:
    assert {folder for folder, _ in PLUGINS} == set(CONTRACTS)


@pytest.mark.parametrize(("folder", "name"), PLUGINS)
def test_it_is_a_frozen_value_of_its_contract_that_round_trips(folder: str, name: str) -> None:
    kind = plugins.load(folder, name)
    assert issubclass(kind, CONTRACTS[folder])
    plugin = kind.model_validate(REQUIRED.get(name, {}))
    assert kind.model_validate_json(plugin.model_dump_json()) == plugin
    with pytest.raises(ValidationError):
        kind.model_validate({"no_such_option": 1})
    for field in kind.model_fields:
        with pytest.raises(ValidationError):
            setattr(plugin, field, None)


def wrapped(name: str, base: Path, seed: int = 3) -> tuple[Method, Any]:
    """The method with its default options, and the tiny model wrapped by it."""
    method = plugins.load("tunesmith.models.methods", name)()
    assert isinstance(method, Method)
    model = method.wrap(load_base(base, "float32"), seed)
    method.start_from_rows(model, ROWS)
    return method, model


def logits(method: Method, model: Any) -> torch.Tensor:
    """[1, T, V] of `IDS` behind the method's virtual tokens."""
    ids = torch.tensor([[*method.virtual_ids(), *IDS[0].tolist()]])
    found: torch.Tensor = model(ids).logits[:, -IDS.shape[1] :]
    return found


def a_few_steps(method: Method, model: Any, steps: int = 3) -> None:
    optimizer = make_optimizer(method.parameter_groups(model), 0.02, 0.0)
    for step in range(1, steps + 1):
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(logits(method, model)[0, :-1], IDS[0, 1:]).backward()
        penalty = method.penalty(model)
        if penalty is not None:
            penalty.backward()
        optimizer.step()
        method.after_step(model, step, steps)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_starts_from_its_seed_and_as_the_base(name: str, tiny: Path) -> None:
    method, model = wrapped(name, tiny)
    start, (_, twin) = method.start(model), wrapped(name, tiny)
    assert start
    assert all(torch.equal(tensor, adapter_state(twin)[key]) for key, tensor in start.items())
    base = load_base(tiny, "float32")(IDS).logits
    if method.starts_as_base:
        torch.testing.assert_close(logits(method, model.eval()), base, rtol=1e-4, atol=1e-5)
    else:
        assert not torch.allclose(logits(method, model.eval()), base)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_what_it_says_and_nothing_else(name: str, tiny: Path) -> None:
    method, model = wrapped(name, tiny)
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    grouped = [id(parameter) for group in method.parameter_groups(model) for parameter in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    a_few_steps(method, model)
    changed = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert changed
    assert changed <= trained
    assert re.fullmatch(r"training [\d,]+ of [\d,]+ parameters \(\d+\.\d{3}%\)", trainable_share(model))


@pytest.mark.parametrize("name", METHODS)
def test_without_a_method_the_model_is_what_it_was_at_the_start(name: str, tiny: Path) -> None:
    method, model = wrapped(name, tiny)
    model.eval()
    start = logits(method, model)
    a_few_steps(method, model)
    trained = logits(method, model)
    assert not torch.allclose(trained, start, atol=1e-4)
    with method.without(model):
        expected = load_base(tiny, "float32")(IDS).logits if method.starts_as_base else start
        torch.testing.assert_close(logits(method, model), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits(method, model), trained)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_saves_and_is_attached_again(name: str, tiny: Path, tmp_path: Path) -> None:
    """Equal seeds give equal bytes; what is loaded computes what was trained and shares the base's tensors."""
    digests = []
    for place in ("one", "two"):
        method, model = wrapped(name, tiny)
        start = method.start(model)
        a_few_steps(method, model)
        adapter = method.export(model, adapter_state(model), start)
        digests.append(save_adapter(adapter, IDENTITY, tmp_path / place))
        assert digests[-1] == adapter_digest(tmp_path / place)
    assert digests[0] == digests[1]
    base = load_base(tiny, "float32")
    before = {key: tensor.clone() for key, tensor in base.state_dict().items()}
    tensors = dict(base.state_dict())
    attached = attach(base, tmp_path / "one")
    trained = torch.log_softmax(logits(method, model.eval()), -1)
    torch.testing.assert_close(torch.log_softmax(logits(method, attached), -1), trained, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(tensor, before[key]) for key, tensor in tensors.items())
    assert not any(parameter.requires_grad for parameter in attached.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_attaching_to_a_structural_copy_leaves_the_base_as_it_is(name: str, tiny: Path, tmp_path: Path) -> None:
    """What the engine does: a deep copy that shares parameters and buffers."""
    method, model = wrapped(name, tiny)
    start = method.start(model)
    a_few_steps(method, model)
    save_adapter(method.export(model, adapter_state(model), start), IDENTITY, tmp_path / "adapter")
    base = load_base(tiny, "float32")
    expected = base(IDS).logits
    shared = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
    attached = attach(copy.deepcopy(base, shared), tmp_path / "adapter")
    assert not torch.allclose(logits(method, attached), expected, atol=1e-4)
    assert torch.equal(base(IDS).logits, expected)


@pytest.mark.parametrize("name", METHODS)
def test_an_adapter_with_a_tensor_too_few_or_of_another_shape_is_refused(name: str, tiny: Path, tmp_path: Path) -> None:
    method, model = wrapped(name, tiny)
    adapter = method.export(model, adapter_state(model), method.start(model))
    first = sorted(adapter.tensors)[0]
    wrong = {**adapter.tensors, first: torch.zeros(7, 3)}
    save_adapter(Adapter(adapter.config, wrong), IDENTITY, tmp_path / "wrong")
    with pytest.raises(ModelError, match="does not fit"):
        attach(load_base(tiny, "float32"), tmp_path / "wrong")
    few = {key: tensor for key, tensor in adapter.tensors.items() if key != first}
    for place, tensors in (("few", few), ("many", adapter.tensors | {"no.such.tensor": torch.ones(1)})):
        save_adapter(Adapter(adapter.config, tensors), IDENTITY, tmp_path / place)
        with pytest.raises(ModelError, match="does not fit the model: missing"):
            attach(load_base(tiny, "float32"), tmp_path / place)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_where_it_comes_from_and_what_it_costs(name: str) -> None:
    about = plugins.load("tunesmith.models.methods", name).__doc__ or ""
    assert re.search(r"arXiv:\d{4}\.\d{5}|et al\. \d{4}", about)
    assert re.search(r"[Cc]hoose it", about)
    assert re.search(r"[Cc]ost", about)
    assert re.search(r"no-op|[Ss]tarts? (as|is)", about)


@pytest.mark.parametrize(("name", "options"), [("full", {"embeddings": False}), ("freeze", {"last_layers": 2})])
def test_weights_that_are_not_trained_are_not_saved(name: str, options: dict[str, Any], tiny: Path) -> None:
    method = plugins.load("tunesmith.models.methods", name).model_validate(options)
    assert isinstance(method, Method)
    model = method.wrap(load_base(tiny, "float32"), 0)
    names = set(adapter_state(model))
    assert not any("embed" in key for key in names)
    assert {key.split(".")[2] for key in names if ".layers." in key} == {"0", "1"}
    assert any("norm.weight" in key and ".layers." not in key for key in names) == (name == "full")


def test_freezing_more_layers_than_there_are_is_refused(tiny: Path) -> None:
    with pytest.raises(ModelError, match="last_layers is 9, but the model has 2 layers"):
        Freeze(last_layers=9).wrap(load_base(tiny, "float32"), 0)


def test_an_adapter_of_an_unknown_method_is_refused(tiny: Path, tmp_path: Path) -> None:
    save_adapter(Adapter({"peft_type": "LORAX"}, {"a": torch.ones(1)}), IDENTITY, tmp_path)
    with pytest.raises(ModelError, match="names the method 'LORAX', which is not known here"):
        attach(load_base(tiny, "float32"), tmp_path)


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
