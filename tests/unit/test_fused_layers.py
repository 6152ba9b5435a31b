"""The fused layers against plain autograd, in wide and narrow types, and on whom they are used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from tunesmith.models.fused_attention import attention_inputs, fused_attention
from tunesmith.models.fused_lora import Joined, LoraWeights
from tunesmith.models.methods.lora import Lora
from tunesmith.models.weights import load_base


def layers(dtype: torch.dtype) -> tuple[Joined, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for outputs, rank, scaling in ((6, 2, 0.5), (3, 4, 2.0)):
        weight, a, b = (torch.randn(s, generator=generator) for s in ((outputs, 5), (rank, 5), (outputs, rank)))
        made.append(LoraWeights(weight.to(dtype), a.to(dtype), b.to(dtype), scaling))
    return Joined(tuple(made)), [tensor for layer in made for tensor in (layer.a, layer.b)]


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_joined_layers_have_the_gradients_of_autograd(dtype: torch.dtype, limit: float) -> None:
    joined, trained = layers(dtype)
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    wide_x = x.double().clone().requires_grad_()
    wide = [tensor.double().clone().requires_grad_() for tensor in trained]
    pairs = zip(wide[::2], wide[1::2], joined.layers, strict=True)
    expected = torch.cat([wide_x @ (w.weight.double() + w.scaling * b @ a).t() for a, b, w in pairs], dim=1)
    dy = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected.backward(dy.double())
    dx, gradients = joined.backward(x, dy)
    assert dx is not None
    for got, want in zip(
        [joined.forward(x), dx, *gradients], [expected.detach(), wide_x.grad, *(w.grad for w in wide)], strict=True
    ):
        assert want is not None
        assert float((got.double() - want).norm()) <= limit * float(want.norm())
    assert joined.backward(x, dy, wants_dx=False)[0] is None


def test_a_narrow_type_keeps_updates_that_its_rounding_would_swallow() -> None:
    """W + sBA would round to W: 1 + 2^-10 has no bfloat16."""
    one = torch.ones(1, 1, dtype=torch.bfloat16)
    joined = Joined((LoraWeights(one, one, one * 2**-10, 1.0),))
    assert float(joined.forward(one * 2**8)) == 2**8
    assert float(joined.backward(one * 2**8, one)[1][1]) == 2**8
    accumulated = Joined((LoraWeights(one * 0, one, one * 2**-10, 1.0),)).forward(one * 2**8)
    assert float(accumulated) == 0.25


def test_attention_is_fused_on_llama_with_plain_lora_only(tiny: Path) -> None:
    wrapped = Lora(rank=2).wrap(load_base(tiny, "float32"), seed=0)
    fused = [
        m for m in wrapped.modules() if m.__class__.__name__ == "LlamaAttention" and m.forward.__name__ == "attention"
    ]
    assert len(fused) == 2
    only_q = Lora(rank=2, targets=("q_proj",)).wrap(load_base(tiny, "float32"), seed=0)
    assert all(fused_attention(module) is None for module in only_q.modules())


def test_attention_with_a_sliding_window_keeps_its_own_forward() -> None:
    options = {
        "vocab_size": 8,
        "hidden_size": 16,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    for config, model, is_llama in ((MistralConfig, MistralForCausalLM, False), (LlamaConfig, LlamaForCausalLM, True)):
        base = model(config(**options, num_key_value_heads=1))
        wrapped = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear"))
        attention = wrapped.base_model.model.model.layers[0].self_attn
        assert (fused_attention(attention) is not None) == is_llama
        assert attention_inputs(attention, torch.zeros(1, 3, 16))["position_embeddings"][0].shape == (1, 3, 8)
