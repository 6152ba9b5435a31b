"""Tables of embeddings are read in the precision they were stored in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from tunesmith.prepare.static_embeddings import load_embeddings


def test_a_bfloat16_table_is_read_as_it_is(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"red": 0, "blue": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    table = torch.tensor([[3.0, 4.0], [-1.5, 0.0], [0.1, 0.1]])
    for kind in (torch.bfloat16, torch.float16, torch.float32):
        other = torch.ones(3, 1, dtype=torch.float32)
        save_file({"a.weight": other, "model.embed_tokens.weight": table.to(kind)}, tmp_path / "model.safetensors")
        model = load_embeddings(tmp_path)
        np.testing.assert_allclose(model.embed("red"), [0.6, 0.8], rtol=1e-6)
        np.testing.assert_allclose(model.embed("blue"), [-1.0, 0.0], rtol=1e-6)
