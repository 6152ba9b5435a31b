"""Releases of random LoRAs, so that a server has several to serve at once."""

from __future__ import annotations

from pathlib import Path

from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles
from tunesmith.release.registry import open_registry
from tunesmith.settings import Settings
from tunesmith.testing.adapters import make_adapter
from tunesmith.types.release import Release

__all__ = ["register_adapters"]


def register_adapters(base: BaseFiles, home: Path, count: int, rank: int = 16) -> tuple[str, ...]:
    """Register `count` LoRAs of `base` in `home`; their references."""
    registry, made = open_registry(Settings(home=home)), []
    template = Renderer(base.path).template_digest
    for number in range(count):
        folder = home / "made" / str(number)
        digest = make_adapter(base.path, folder, rank=rank, seed=number)
        texts = dict.fromkeys(("dataset_digest", "report_digest", "decision_digest", "outcome", "run"), "bench")
        release = Release.model_validate(
            {**texts, "name": f"adapter-{number}", "base": base.name, "base_digest": base.digest}
            | {"adapter_digest": digest, "template_digest": template, "created": "2026-01-01T00:00:00+00:00"}
        )
        made.append(registry.register(release, folder)[0].reference)
    registry.close()
    return tuple(made)
