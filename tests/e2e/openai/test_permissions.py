"""Permissions for fine-tuned checkpoints through the official client, and what they let another project do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.openai.conftest import Running, start_server
from tunesmith.models.template import Renderer
from tunesmith.models.weights import resolve_base
from tunesmith.release.registry import Registry
from tunesmith.store.database import Database
from tunesmith.store.tuned import TunedModels
from tunesmith.testing.adapters import make_adapter
from tunesmith.types.recipe import ModelSpec
from tunesmith.types.release import Release
from tunesmith.types.tuned import JOB_PREFIX, TunedModel

OURS = "ft:org/tiny:default:mine:1"
CHECKPOINT = f"{OURS}:ckpt-step-2"
THEIRS = "ft:org/tiny:other:theirs:2"
HELLO: Any = [{"role": "user", "content": "hello"}]


def database(home: Path) -> Database:
    return Database(f"sqlite:///{home / 'registry.db'}")


@pytest.fixture(scope="module")
def server(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that has one tuned model of this project, a checkpoint of it, and one model of another project."""
    home, folder = tmp_path_factory.mktemp("permissions"), tmp_path_factory.mktemp("adapter")
    digest = make_adapter(tiny_base, folder, rank=4)
    base = resolve_base(ModelSpec(base=str(tiny_base)), tiny_base)
    fields = {"name": f"{JOB_PREFIX}1", "base": base.name, "base_digest": base.digest, "adapter_digest": digest}
    fields |= {"template_digest": Renderer(base.path).template_digest, "outcome": "pass", "run": "run"}
    fields |= {"created": "2026-01-02T03:04:05+00:00", "max_new_tokens": 4}
    digests = dict.fromkeys(("dataset_digest", "report_digest", "decision_digest"), "0" * 64)
    registry = Registry(home, database(home))
    release, _ = registry.register(Release.model_validate(fields | digests), folder)
    tuned = TunedModels(database(home))
    for name, project in ((OURS, "default"), (CHECKPOINT, "default"), (THEIRS, "other")):
        made = {"project": project, "release": release.identity(), "job": release.name, "created_at": 9}
        tuned.add(TunedModel(name=name, **made))
    with start_server(home, tiny_base) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as found:
        yield found


def test_permissions_are_given_listed_and_taken_back(client: openai.OpenAI) -> None:
    permissions = client.fine_tuning.checkpoints.permissions
    made = list(permissions.create(CHECKPOINT, project_ids=["a", "b", "c"]))
    assert [one.project_id for one in made] == ["a", "b", "c"]
    assert made[0].id.startswith("cp_")
    assert (made[0].object, made[0].created_at > 0) == ("checkpoint.permission", True)
    again = list(permissions.create(CHECKPOINT, project_ids=["b", "d"]))
    assert again[0].id == made[1].id
    newest_first = [one.project_id for one in permissions.list(CHECKPOINT, limit=3)]
    assert newest_first == ["d", "c", "b", "a"]
    oldest_first = permissions.list(CHECKPOINT, limit=1, order="ascending")
    assert [one.project_id for one in oldest_first] == ["a", "b", "c", "d"]
    with pytest.raises(openai.BadRequestError) as unknown:
        permissions.list(CHECKPOINT, after="cp_none")
    assert unknown.value.param == "after"
    (only,) = permissions.list(CHECKPOINT, project_id="c")
    assert only.id == made[2].id
    deleted = permissions.delete(made[0].id, fine_tuned_model_checkpoint=CHECKPOINT)
    assert (deleted.id, deleted.deleted, deleted.object) == (made[0].id, True, "checkpoint.permission")
    with pytest.raises(openai.NotFoundError):
        permissions.delete(made[0].id, fine_tuned_model_checkpoint=CHECKPOINT)
    assert list(permissions.list(OURS)) == []


def test_only_the_owner_can_give_permission(client: openai.OpenAI) -> None:
    for checkpoint in (THEIRS, "ft:org/tiny:default:mine:none", "base"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.fine_tuning.checkpoints.permissions.create(checkpoint, project_ids=["x"])
        assert caught.value.code == "model_not_found"


def test_a_permitted_model_answers_until_the_permission_is_gone(server: Running, client: openai.OpenAI) -> None:
    key = client.post("/tunesmith/keys", body={"project": "other", "role": "admin"}, cast_to=dict[str, Any])["key"]

    def say(model: str) -> str | None:
        return client.chat.completions.create(model=model, messages=HELLO).choices[0].message.content

    with pytest.raises(openai.NotFoundError):
        say(THEIRS)
    with openai.OpenAI(base_url=server.url, api_key=key, max_retries=0) as other:
        (permission,) = other.fine_tuning.checkpoints.permissions.create(THEIRS, project_ids=["default"])
        assert say(THEIRS) == say(OURS)
        assert THEIRS in [model.id for model in client.models.list()]
        with pytest.raises(openai.NotFoundError):  # to use is not to own
            client.fine_tuning.checkpoints.permissions.create(THEIRS, project_ids=["x"])
        other.fine_tuning.checkpoints.permissions.delete(permission.id, fine_tuned_model_checkpoint=THEIRS)
    with pytest.raises(openai.NotFoundError):
        say(THEIRS)


def test_members_may_not_share(server: Running, client: openai.OpenAI) -> None:
    key = client.post("/tunesmith/keys", body={"role": "member"}, cast_to=dict[str, Any])["key"]
    with openai.OpenAI(base_url=server.url, api_key=key, max_retries=0) as member:
        with pytest.raises(openai.PermissionDeniedError):
            member.fine_tuning.checkpoints.permissions.create(OURS, project_ids=["x"])
        with pytest.raises(openai.PermissionDeniedError):
            member.webhooks.create(name="x", url="https://example.org", event_types=["batch.failed"])
