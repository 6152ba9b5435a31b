"""LoRA's options: what they change, that a changed base comes back as plain LoRA, that none is ignored silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.engine.backends._lora import read_lora
from tunesmith.errors import ModelError
from tunesmith.models.adapter import AdapterIdentity, adapter_state, save_adapter
from tunesmith.models.methods.adalora import Adalora
from tunesmith.models.methods.lora import Lora
from tunesmith.models.weights import load_base
from tunesmith.types.conversation import Rendered

IDENTITY = AdapterIdentity(base="b", base_digest="1", template_digest="2", tokenizer_digest="3")
IDS = torch.tensor([[5, 6, 7, 8, 40, 41, 42, 43]])
ROWS = tuple(Rendered(token_ids=(5, 6 + i, 7, 8 + i), loss_weights=(0.0, 0.0, 1.0, 1.0), spans=()) for i in range(8))


def layer(model: Any, name: str = "model.layers.1.mlp.down_proj") -> Any:
    return model.get_base_model().get_submodule(name)


def disturb(model: Any) -> None:
    """Move every trained parameter, as training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)


@pytest.mark.parametrize(
    "options",
    [
        {"init": "pissa"},
        {"init": "olora"},
        {"init": "pissa", "rslora": True},
        {"init": "pissa", "rank_pattern": {"down_proj": 6}, "alpha_pattern": {"layers.1.self_attn.q_proj": 3.0}},
        {"init": "eva"},
        {"rslora": True, "alpha": 6.0, "rank_pattern": {"layers.0.*": 3}},
        {"last_layers": 1, "targets": ("q_proj", "up_proj")},
    ],
    ids=str,
)
def test_what_is_saved_is_the_change_to_the_base_as_the_engine_reads_it(
    options: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    """Base weight plus the served factors equals the trained layer's weight, layer by layer."""
    method = Lora.model_validate({"rank": 4, **options})
    model = method.wrap(load_base(tiny, "float32"), 0)
    method.start_from_rows(model, ROWS)
    start = method.start(model)
    disturb(model)
    save_adapter(method.export(model, adapter_state(model), start), IDENTITY, tmp_path)
    base = load_base(tiny, "float32")
    served = read_lora(tmp_path, base)
    adapted = {name for name, module in model.get_base_model().named_modules() if hasattr(module, "lora_A")}
    assert set(served) == adapted
    for name, factors in served.items():
        trained = layer(model, name)
        expected = trained.get_base_layer().weight + trained.get_delta_weight("default")
        got = base.get_submodule(name).weight + (factors.down @ factors.up).T
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_pissa_takes_the_largest_singular_directions_out_of_the_weight(tiny: Path) -> None:
    """Meng et al. 2024, eq. 2: the factors' product is the best rank-r approximation of W."""
    weight = load_base(tiny, "float32").get_submodule("model.layers.1.mlp.down_proj").weight
    module = layer(Lora(rank=4, init="pissa").wrap(load_base(tiny, "float32"), 0))
    u, s, v = torch.linalg.svd(weight)
    best = u[:, :4] @ torch.diag(s[:4]) @ v[:4]
    torch.testing.assert_close(module.get_delta_weight("default"), best, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module.get_base_layer().weight, weight - best, rtol=1e-4, atol=1e-5)


def test_eva_spans_the_main_directions_of_a_layers_inputs(tiny: Path) -> None:
    """Against an exact decomposition of the centred inputs of the first layer's projections."""
    method = Lora(rank=3, init="eva")
    model = method.wrap(load_base(tiny, "float32"), 0)
    seen: list[torch.Tensor] = []
    base = load_base(tiny, "float32")
    base.get_submodule("model.layers.0.self_attn.q_proj").register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].reshape(-1, inputs[0].shape[-1]))
    )
    with torch.no_grad():
        base(torch.tensor([row.token_ids for row in ROWS]))
    method.start_from_rows(model, ROWS)
    a = layer(model, "model.layers.0.self_attn.q_proj").lora_A["default"].weight
    inputs = seen[0] - seen[0].mean(0)
    directions = torch.linalg.svd(inputs, full_matrices=False).Vh[:3]
    torch.testing.assert_close((a @ directions.T).abs(), torch.eye(3), atol=2e-3, rtol=0)


def test_eva_refuses_rows_with_fewer_tokens_than_ranks(tiny: Path) -> None:
    method = Lora(rank=16, init="eva")
    model = method.wrap(load_base(tiny, "float32"), 0)
    with pytest.raises(ModelError, match="at least as many tokens as the rank 16; the rows have 4"):
        method.start_from_rows(model, ROWS[:1])


def test_scaling_of_plain_and_rank_stabilised_lora_and_of_patterns(tiny: Path) -> None:
    """alpha / r = 2 for any rank; 16 / sqrt(r); a layer's own rank keeps alpha / r, its own alpha is divided by it."""
    plain = Lora(rank=4, rank_pattern={"down_proj": 8}, alpha_pattern={"layers.0.self_attn.q_proj": 1.0})
    model = plain.wrap(load_base(tiny, "float32"), 0)
    scalings = {
        name: layer(model, f"model.layers.0.{name}").scaling["default"] for name in ("mlp.down_proj", "mlp.up_proj")
    }
    assert scalings == {"mlp.down_proj": 2.0, "mlp.up_proj": 2.0}
    assert layer(model, "model.layers.0.self_attn.q_proj").scaling["default"] == 0.25
    assert layer(model).lora_A["default"].weight.shape[0] == 8
    stable = Lora(rank=4, rslora=True).wrap(load_base(tiny, "float32"), 0)
    assert layer(stable).scaling["default"] == 8.0


@pytest.mark.parametrize("field", ["rank_pattern", "alpha_pattern"])
def test_a_pattern_that_matches_no_layer_is_refused(field: str, tiny: Path) -> None:
    method = Lora.model_validate({field: {"down_prj": 4}})
    with pytest.raises(ModelError, match=f"{field}: 'down_prj' matches no adapted layer"):
        method.wrap(load_base(tiny, "float32"), 0)


def test_lora_plus_gives_b_its_own_rate(tiny: Path) -> None:
    method = Lora(rank=2, plus_ratio=16.0)
    model = method.wrap(load_base(tiny, "float32"), 0)
    a, b = method.parameter_groups(model)
    assert (a.ratio, b.ratio) == (1.0, 16.0)
    assert {parameter.shape[0] for parameter in a.parameters} == {2}
    assert {parameter.shape[1] for parameter in b.parameters} == {2}


def test_adalora_ends_with_its_budget_and_is_saved_as_plain_lora(tiny: Path, tmp_path: Path) -> None:
    """14 layers x target 2 = 28 directions stay after the last pruning; what is served equals what was trained."""
    method = Adalora(rank=5, target_rank=2, warmup=0.1, final=0.3)
    model = method.wrap(load_base(tiny, "float32"), 0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    for step in range(1, 11):
        optimizer.zero_grad()
        model(IDS, labels=IDS).loss.backward()
        optimizer.step()
        method.after_step(model, step, 10)
    adapter = method.export(model, adapter_state(model), {})
    ranks = {name: tensor.shape[0] for name, tensor in adapter.tensors.items() if "lora_A" in name}
    assert len(ranks) == 14
    zero = sum(1 for name in ranks if ranks[name] == 1 and not bool(adapter.tensors[name].any()))
    assert sum(ranks.values()) - zero == 28
    assert len(set(ranks.values())) > 1
    save_adapter(adapter, IDENTITY, tmp_path)
    base = load_base(tiny, "float32")
    for name, factors in read_lora(tmp_path, base).items():
        torch.testing.assert_close((factors.down @ factors.up).T, layer(model, name).get_delta_weight("default"))


def test_adalora_by_hand(tiny: Path) -> None:
    """A = [[2, 0]], B = [[3], [4]]: |A A^T - 1| = 3, |B^T B - 1| = 24, so the mean is 13.5."""
    method = Adalora(rank=2, target_rank=1, orthogonality=0.5, targets=("q_proj",), last_layers=1)
    model = method.wrap(load_base(tiny, "float32"), 0)
    module = layer(model, "model.layers.1.self_attn.q_proj")
    with torch.no_grad():
        for parts, values in ((module.lora_A, [[2.0, 0.0]]), (module.lora_B, [[3.0], [4.0]])):
            parts["default"].data = torch.tensor(values)
    penalty = method.penalty(model)
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.5 * 13.5)
    assert method.model_copy(update={"orthogonality": 0.0}).penalty(model) is None


def test_adalora_refuses_what_cannot_prune(tiny: Path) -> None:
    for options, message in (
        ({"rank": 4, "target_rank": 4}, "target_rank .4. must be below rank .4."),
        ({"warmup": 0.5, "final": 0.5}, "must be below 1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            Adalora.model_validate(options)
    model = Adalora().wrap(load_base(tiny, "float32"), 0)
    with pytest.raises(ModelError, match="cannot move ranks in 2 step"):
        Adalora().after_step(model, 1, 2)
