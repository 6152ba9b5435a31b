"""Where an answer comes from, in its headers."""

from __future__ import annotations

from urllib.parse import quote

from tunesmith.serve.catalogue import BaseIdentity
from tunesmith.serve.trail import Trail

__all__ = ["provenance"]


def provenance(trail: Trail, base: BaseIdentity) -> dict[str, str]:
    """The headers of an answer that a model gave; none for another. Names are percent-encoded where they must be.

    x-tunesmith-release            the release, name@version (`base`: none)
    x-tunesmith-release-digest     its id
    x-tunesmith-adapter-digest     of its weights
    x-tunesmith-dataset-digest     of the data it was trained on
    x-tunesmith-base               the base model's name
    x-tunesmith-base-digest        of its weights
    x-tunesmith-template-digest    of the chat template that made the prompt
    """
    if not trail.asked_a_model:
        return {}
    release = trail.release
    found = {
        "release": release.reference if release else "base",
        "release-digest": release.identity() if release else None,
        "adapter-digest": release.adapter_digest if release else None,
        "dataset-digest": release.dataset_digest if release else None,
        "base": base.name,
        "base-digest": base.digest,
        "template-digest": base.template_digest,
    }
    return {f"x-tunesmith-{name}": quote(text, safe="@:/ ") for name, text in found.items() if text is not None}
