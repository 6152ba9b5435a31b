"""Models: listed, retrieved and deleted with the official client, each project by itself."""

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
from tunesmith.store.tuned import TunedModels
from tunesmith.testing.adapters import make_adapter
from tunesmith.types.recipe import ModelSpec
from tunesmith.types.release import Release
from tunesmith.types.tuned import JOB_PREFIX, TunedModel

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def server(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with start_server(tmp_path_factory.mktemp("models"), tiny_base, "--backend", "echo") as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as found:
        yield found


@pytest.fixture
def neighbour(server: Running, client: openai.OpenAI) -> Iterator[openai.OpenAI]:
    made = client.post("/tunesmith/keys", body={"project": "neighbour"}, cast_to=dict[str, Any])
    with server.client(api_key=made["key"]) as found:
        yield found


def put(server: Running, tiny_base: Path, folder: Path, name: str, tuned: str | None = None) -> None:
    """A release as `tunesmith run` makes it, or (with `tuned`) the model of a job of the default project."""
    base = resolve_base(ModelSpec(base=str(tiny_base)), server.home)
    registry = Registry(server.home)
    fields = {
        "name": name,
        "base": base.name,
        "base_digest": base.digest,
        "adapter_digest": make_adapter(base.path, folder),
        "template_digest": Renderer(base.path).template_digest,
        "dataset_digest": "d",
        "report_digest": "r",
        "decision_digest": "e",
        "outcome": "pass",
        "run": "run",
        "max_new_tokens": 4,
        "created": "2026-01-02T03:04:05+00:00",
    }
    release, _ = registry.register(Release.model_validate(fields), folder)
    registry.close()
    if tuned is not None:
        from tunesmith.settings import Settings
        from tunesmith.store.database import Database

        database = Database(Settings(home=server.home).database)
        model = TunedModel(name=tuned, project="default", release=release.identity(), job="ftjob-1", created_at=1_700)
        TunedModels(database).add(model)
        database.close()


def say(client: openai.OpenAI, model: str, **options: Any) -> Any:
    return client.chat.completions.create(model=model, messages=HELLO, **options)


def test_the_base_is_listed_retrieved_and_stays(client: openai.OpenAI) -> None:
    base = next(model for model in client.models.list() if model.id == "base")
    assert (base.object, base.owned_by) == ("model", "tunesmith")
    assert client.models.retrieve("base") == base
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.models.delete("base")
    assert caught.value.param == "model"
    assert say(client, "base").choices


@pytest.mark.parametrize("model", ["nobody", "ft:nobody:acme::1", "a/b/c", "../base", "münster", "%2e%2e"])
def test_unknown_models_are_not_found_whatever_their_name(client: openai.OpenAI, model: str) -> None:
    for ask in (client.models.retrieve, client.models.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            ask(model)
        assert caught.value.code == "model_not_found"


def test_a_model_of_a_job_is_deleted_whole_and_only_by_its_project(
    server: Running, client: openai.OpenAI, neighbour: openai.OpenAI, tiny_base: Path, tmp_path: Path
) -> None:
    model = "ft:acme/tiny-1:default:sfx:f00"  # with a slash, as names of bases have
    put(server, tiny_base, tmp_path / "adapter", f"{JOB_PREFIX}f00", model)
    assert model in [one.id for one in client.models.list()]
    found = client.models.retrieve(model)
    assert (found.id, found.created) == (model, 1_700)
    assert say(client, model).model == model
    assert model not in [one.id for one in neighbour.models.list()]
    for ask in (
        lambda: neighbour.models.retrieve(model),
        lambda: neighbour.models.delete(model),
        lambda: say(neighbour, model),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found"
    gone = client.models.delete(model)
    assert (gone.id, gone.object, gone.deleted) == (model, "model", True)
    assert model not in [one.id for one in client.models.list()]
    for ask in (
        lambda: client.models.retrieve(model),
        lambda: say(client, model),
        lambda: say(client, model, stream=True),
        lambda: client.models.delete(model),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found"


def test_a_release_of_the_machine_is_everybodys_and_not_deleted_here(
    server: Running, client: openai.OpenAI, neighbour: openai.OpenAI, tiny_base: Path, tmp_path: Path
) -> None:
    put(server, tiny_base, tmp_path / "adapter", "disputes")
    for one in (client, neighbour):
        assert say(one, "disputes@v1").model == "disputes@v1"
        with pytest.raises(openai.PermissionDeniedError):
            one.models.delete("disputes@v1")
