"""NEFTune: uniform noise on the embeddings while training (Jain et al. 2023, arXiv:2310.05914)."""

from __future__ import annotations

import torch

from tunesmith.train.tree import Ints

__all__ = ["noisy"]


def noisy(embeddings: torch.Tensor, lengths: Ints, alpha: float) -> torch.Tensor:
    """embeddings [..., H] + uniform(-1, 1) * alpha / sqrt(L * H), with `lengths` [...] the L of each token.

    L is the length of the token's sequence without padding; of the longest one where several share the token, which
    then gets one noise for all of them.
    """
    scale = alpha / (torch.from_numpy(lengths).to(embeddings.device).float() * embeddings.shape[-1]).sqrt()
    noise = torch.rand(embeddings.shape, device=embeddings.device) * 2 - 1
    return embeddings + (noise * scale[..., None]).to(embeddings.dtype)
