"""Which model ids exist, and which adapters stay loaded."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import ModelError
from tunesmith.serve.catalogue import BaseIdentity, Catalogue
from tunesmith.serve.failures import ApiError
from tunesmith.serve.shelf import AdapterShelf
from tunesmith.store.database import Database
from tunesmith.store.tuned import TunedModels
from tunesmith.types.release import Release
from tunesmith.types.tuned import JOB_PREFIX, TunedModel

BASE = BaseIdentity(name="tiny", digest="b" * 64, template_digest="t", created=5)


def release(name: str, version: int, **changes: Any) -> Release:
    fields = {
        "name": name,
        "version": version,
        "base": "tiny",
        "base_digest": BASE.digest,
        "adapter_digest": f"{name}{version}",
        "adapter_path": "/nowhere",
        "template_digest": "t",
        "dataset_digest": "d",
        "report_digest": "r",
        "decision_digest": "e",
        "outcome": "pass",
        "run": "run",
        "created": "1970-01-01T00:00:07+00:00",
    }
    return Release.model_validate(fields | changes)


class Registry:
    def __init__(self, releases: list[Release], aliases: dict[str, dict[str, int]]) -> None:
        self.releases, self.moved = releases, aliases

    def list(self) -> tuple[Release, ...]:
        return tuple(self.releases)

    def named(self, name: str, /) -> tuple[Release, ...]:
        return tuple(one for one in self.releases if one.name == name)

    def aliases(self, name: str, /) -> dict[str, int]:
        return self.moved.get(name, {})

    def by_id(self, identity: str, /) -> Release | None:
        return next((one for one in self.releases if one.identity() == identity), None)


def test_ids_and_what_they_mean() -> None:
    registry = Registry(
        [release("a", 1), release("a", 2), release("b", 1), release("b", 2)], {"a": {"stable": 1, "new": 2}}
    )
    catalogue = Catalogue(registry, BASE)
    meaning = {one.id: one.release.reference if one.release else None for one in catalogue.list()}
    assert meaning == {
        "base": None,
        "a@v1": "a@v1",
        "a@v2": "a@v2",
        "a:new": "a@v2",
        "a:stable": "a@v1",
        "a": "a@v1",
        "b@v1": "b@v1",
        "b@v2": "b@v2",
        "b": "b@v2",
    }
    assert (catalogue.find("a").created, catalogue.find("base").created) == (7, 5)
    registry.moved = {"a": {"stable": 2}}
    assert catalogue.find("a").release == registry.releases[1]


def test_what_a_job_made_is_there_for_its_project_alone(tmp_path: Path) -> None:
    tuned = TunedModels(Database(f"sqlite:///{tmp_path / 'registry.db'}"))
    made = release(f"{JOB_PREFIX}1", 1)
    catalogue = Catalogue(Registry([release("a", 1), made], {}), BASE, tuned)
    name = "ft:tiny:acme::1"
    tuned.add(TunedModel(name=name, project="acme", release=made.identity(), job=made.name, created_at=9))
    assert [one.id for one in catalogue.list("acme")] == ["base", "a@v1", "a", name]
    assert [one.id for one in catalogue.list("other")] == ["base", "a@v1", "a"]
    assert catalogue.find(name, "acme").release == made
    for model, project in ((name, "other"), (made.name, "acme"), (made.reference, "other")):
        with pytest.raises(ApiError, match="does not exist") as caught:
            catalogue.find(model, project)
        assert caught.value.code == "model_not_found"
    assert not tuned.delete("other", name)
    assert tuned.delete("acme", name)
    with pytest.raises(ApiError, match="does not exist"):
        catalogue.find(name, "acme")


@pytest.mark.parametrize(
    ("model", "message"),
    [("a:stabel", "Did you mean 'a:stable'"), ("zzz", "There are: base, a@v1"), ("other", "was tuned on tiny")],
)
def test_unknown_ids_say_what_there_is(model: str, message: str) -> None:
    releases = [release("a", 1), release("other", 1, base_digest="0" * 64)]
    with pytest.raises(ApiError, match=message) as caught:
        Catalogue(Registry(releases, {"a": {"stable": 1}}), BASE).find(model)
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


def test_alias_to_a_release_of_another_base_is_left_out() -> None:
    releases = [release("a", 1), release("a", 2, template_digest="other")]
    served = Catalogue(Registry(releases, {"a": {"stable": 2}}), BASE).list()
    assert [one.id for one in served] == ["base", "a@v1", "a"]


class FakeEngine:
    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.places: list[Path] = []
        self.loads = 0

    def adapters(self) -> tuple[str, ...]:
        return tuple(self.loaded)

    async def load_adapter(self, digest: str, path: Path) -> None:
        self.loads += 1
        self.places.append(path)
        await asyncio.sleep(0)
        if digest == "broken1":
            raise ModelError("broken")
        self.loaded.append(digest)

    async def unload_adapter(self, digest: str) -> None:
        self.loaded.remove(digest)

    def hold(self, digest: str) -> Any:
        assert digest in self.loaded
        return nullcontext()


def test_shelf_loads_once_keeps_what_is_used_and_gives_up_the_oldest() -> None:
    async def run() -> None:
        engine: Any = FakeEngine()
        shelf = AdapterShelf(engine, capacity=2)

        async def brief(name: str) -> None:
            async with shelf.use(release(name, 1)) as digest:
                assert digest in engine.loaded
                await asyncio.sleep(0.001)

        async with shelf.use(None) as none:
            assert none is None
        await asyncio.gather(*(brief("a") for _ in range(5)))
        assert engine.loads == 1
        await brief("b")
        await brief("a")
        await brief("c")
        assert engine.loaded == ["a1", "c1"]
        async with shelf.use(release("a", 1)), shelf.use(release("c", 1)):
            await brief("d")  # both others are in use, so it is one more for a while
            assert engine.loaded == ["a1", "c1", "d1"]
        with pytest.raises(ModelError):
            await brief("broken")
        await brief("e")
        assert len(engine.loaded) == 2
        assert "e1" in engine.loaded
        engine.loaded.remove("e1")  # the engine needed the memory
        await brief("f")
        await brief("e")
        assert engine.loaded[-1] == "e1"
        assert len(engine.loaded) == 2

    asyncio.run(run())


def test_an_adapter_whose_folder_is_gone_is_loaded_from_that_of_the_release_that_has_it_too(tmp_path: Path) -> None:
    first, second = tmp_path / "first" / "adapter", tmp_path / "second" / "adapter"
    for place in (first, second):
        place.mkdir(parents=True)
    one = release("a", 1, adapter_digest="same", adapter_path=str(first))
    other = release("b", 1, adapter_digest="same", adapter_path=str(second))

    async def run() -> None:
        engine: Any = FakeEngine()
        shelf = AdapterShelf(engine, capacity=2)
        async with shelf.use(one), shelf.use(other):
            pass
        assert engine.places == [first]
        async with shelf.use(one):
            first.rmdir()
            async with shelf.use(other):  # an answer with it is under way
                assert engine.places == [first]
        for _ in range(2):
            async with shelf.use(other):
                assert engine.loaded == ["same"]
        assert engine.places == [first, second]

    asyncio.run(run())


def test_a_name_that_is_found_does_not_read_the_other_releases() -> None:
    class Large(Registry):
        def list(self) -> tuple[Release, ...]:
            raise AssertionError("every release was read for one name")

    catalogue = Catalogue(Large([release("a", 1), release("b", 1)], {"a": {"canary": 1}}), BASE)
    assert catalogue.find("base").release is None
    for model in ("a", "a@v1", "a:canary"):
        found = catalogue.find(model).release
        assert found is not None
        assert found.reference == "a@v1"
