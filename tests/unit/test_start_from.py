"""Starting from an adapter: what is refused before a weight is loaded, what is taken over, what a run is known by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.invariant.test_preference_runs import PAIRS, given
from tunesmith.errors import RecipeError
from tunesmith.jobs.folder import JobFolder
from tunesmith.models.adapter import Adapter, AdapterIdentity, adapter_digest, adapter_state, plain_config, save_adapter
from tunesmith.models.methods.adalora import Adalora
from tunesmith.models.methods.lora import Lora
from tunesmith.models.peft_library import LoraConfig, PrefixTuningConfig
from tunesmith.models.score_head import HEAD_FILE
from tunesmith.models.weights import load_base
from tunesmith.parents import find_parent
from tunesmith.recipes import effective, load_recipe
from tunesmith.settings import Settings
from tunesmith.train.finish import TrainingInput, identity_of
from tunesmith.train.parent import inherited, read_parent
from tunesmith.train.run_folder import begun, run_folder
from tunesmith.types.recipe import TrainSpec

IDENTITY = AdapterIdentity(base="b", base_digest="1" * 64, template_digest="2" * 64, tokenizer_digest="3")


def saved(folder: Path, identity: AdapterIdentity = IDENTITY, **options: Any) -> Path:
    """A LoRA adapter of one tensor with these options of peft."""
    config = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": ["up_proj", "q_proj"], **options}
    save_adapter(Adapter(plain_config(LoraConfig(**config)), {"a": torch.ones(2)}), identity, folder)
    return folder


def found(folder: Path, **train: Any) -> Any:
    spec = TrainSpec.model_validate({"start_from": "it", **train})
    return inherited(spec, read_parent(folder, "it")).method.options


def refused(field: str, message: str) -> Any:
    return pytest.raises(RecipeError, match=rf"(?s){field}: .*{message}")


def test_the_method_is_taken_over(tmp_path: Path) -> None:
    here = saved(tmp_path, use_rslora=True, rank_pattern={"q_proj": 2}, layers_to_transform=[2, 3])
    options = found(here)
    known = {"rank": 4, "alpha": 8.0, "dropout": 0.1, "targets": ["q_proj", "up_proj"], "last_layers": 2}
    assert {name: options[name] for name in known} == known
    assert (options["rslora"], options["rank_pattern"], options["init"]) == (True, {"q_proj": 2}, "default")
    assert inherited(TrainSpec(start_from="it"), read_parent(here, "it")).method.name == "lora"
    assert inherited(
        TrainSpec(start_from="it"), read_parent(saved(tmp_path / "d", use_dora=True), "it")
    ).method.name == ("dora")


def test_what_only_says_how_training_goes_may_change(tmp_path: Path) -> None:
    options = found(saved(tmp_path), method={"name": "lora", "dropout": 0.0, "plus_ratio": 4.0, "rank": 4})
    assert (options["dropout"], options["plus_ratio"], options["alpha"]) == (0.0, 4.0, 8.0)
    assert found(tmp_path, method={"name": "lora", "targets": ["q_proj", "up_proj"], "alpha": None}) == found(tmp_path)
    spec = TrainSpec.model_validate({"start_from": "it"})
    once = inherited(spec, read_parent(tmp_path, "it"))
    assert inherited(once, read_parent(tmp_path, "it")) == once


@pytest.mark.parametrize(
    ("method", "field", "message"),
    [
        ({"rank": 8}, "rank", "is 8 here, and 4 in it"),
        ({"alpha": 9.0}, "alpha", "is 9.0 here, and 8.0 in it"),
        ({"rslora": True}, "rslora", "is True here, and False in it"),
        ({"init": "eva"}, "init", "is 'eva' here, and 'default' in it"),
        ({"last_layers": 1}, "last_layers", "is 1 here, and 0 in it"),
        ({"targets": ["q_proj"]}, "targets", r"is \['q_proj'\] here, and \['q_proj', 'up_proj'\] in it"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern", "is {'q_proj': 2} here, and {} in it"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
)
def test_a_contradiction_names_both(tmp_path: Path, method: dict[str, Any], field: str, message: str) -> None:
    with refused(rf"train\.method\.{field}", message):
        found(saved(tmp_path), method={"name": "lora", **method})


def test_all_contradictions_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        found(saved(tmp_path), method={"name": "lora", "rank": 8, "rslora": True})
    assert [problem.field for problem in caught.value.problems] == ["train.method.rank", "train.method.rslora"]


def test_another_method_is_refused(tmp_path: Path) -> None:
    with refused(r"train\.method\.name", "'dora' cannot go on from it, an adapter of the method 'lora'"):
        found(saved(tmp_path), method={"name": "dora"})
    virtual = plain_config(PrefixTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    save_adapter(Adapter(virtual, {"a": torch.ones(2)}), IDENTITY, tmp_path / "prefix")
    with refused(r"train\.start_from", "cannot go on from it, an adapter of type PREFIX_TUNING -> adapters of lora"):
        found(tmp_path / "prefix")


def test_what_is_no_adapter_to_start_from_is_refused(tmp_path: Path) -> None:
    home = Settings(home=tmp_path / "home")

    def find(named: str) -> Any:
        return find_parent(TrainSpec(start_from=named), tmp_path, home)

    with refused(r"train\.start_from", "'support' is no folder beside the recipe, and no release with its version"):
        find("support")
    with refused(r"train\.start_from", "There is no release 'support@v3'"):
        find("support@v3")
    (tmp_path / "empty").mkdir()
    with refused(r"train\.start_from", r"is not an adapter folder: adapter_model\.safetensors is missing"):
        find("empty")
    saved(tmp_path / "foreign")
    (tmp_path / "foreign" / "tunesmith.json").unlink()
    with refused(r"train\.start_from", "foreign does not say which base it belongs to"):
        find("foreign")
    saved(tmp_path / "judge")
    save_file({"score.weight": torch.ones(1, 2)}, tmp_path / "judge" / HEAD_FILE)
    with refused(r"train\.start_from", "judge is a reward model"):
        find("judge")
    saved(tmp_path / "run" / "adapter")
    assert find("run") == find("run/adapter")._replace(reference="run")
    assert find_parent(TrainSpec(), tmp_path, home) is None


@pytest.fixture(scope="module")
def there(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingInput:
    return given(tmp_path_factory.mktemp("there"), tiny, PAIRS)


def test_an_adapter_of_another_base_or_template_is_refused(tmp_path: Path, there: TrainingInput) -> None:
    spec, own = TrainSpec(start_from="it"), identity_of(there)
    other = saved(tmp_path / "base", own.model_copy(update={"base_digest": "1" * 64}))
    with refused(
        r"train\.start_from", rf"trained on the base .*\(1{{12}}\), and model\.base is .*{own.base_digest[:12]}"
    ):
        begun(spec, there._replace(parent=read_parent(other, "it")))
    other = saved(tmp_path / "template", own.model_copy(update={"template_digest": "2" * 64}))
    with refused(r"train\.start_from", r"another chat template \(2{12}\) than"):
        run_folder(spec, there._replace(parent=read_parent(other, "it")))


def test_a_run_is_known_by_what_it_starts_from_not_by_its_name(tmp_path: Path, there: TrainingInput) -> None:
    own = identity_of(there)
    parents = [read_parent(saved(tmp_path / name, own), name) for name in ("one", "same")]
    parents.append(read_parent(saved(tmp_path / "other", own, lora_dropout=0.2), "other"))
    method = {"name": "lora", "rank": 4, "dropout": 0.1}
    specs = [TrainSpec.model_validate({"start_from": each.reference, "method": method}) for each in parents]
    pairs = zip(specs, parents, strict=True)
    one, same, other = (run_folder(spec, there._replace(parent=parent))[1] for spec, parent in pairs)
    assert one == same != other
    plain = begun(specs[0], there._replace(parent=parents[0])).model_copy(update={"start_from": None})
    assert run_folder(plain, there)[1] != one
    named = identity_of(there._replace(parent=parents[0]))
    assert named.parent == adapter_digest(tmp_path / "one")
    assert saved(tmp_path / "child", named).joinpath("tunesmith.json").read_text().count(named.parent or "") == 1
    assert "parent" not in json.loads((tmp_path / "one" / "tunesmith.json").read_text())
    assert adapter_digest(tmp_path / "child") != adapter_digest(tmp_path / "one") == adapter_digest(tmp_path / "same")


def test_layers_that_are_named_in_full_are_found_again(tmp_path: Path, tiny: Path) -> None:
    """AdaLoRA saves plain LoRA with a rank for each layer; LoRA goes on from it with the same tensors."""
    method = Adalora(rank=6, target_rank=2, last_layers=1)
    model = method.wrap(load_base(tiny, "float32"), 0)
    start = method.start(model)
    save_adapter(method.export(model, adapter_state(model), start), IDENTITY, tmp_path)
    options = found(tmp_path)
    assert options["last_layers"] == 1
    again = Lora.model_validate(options).wrap(load_base(tiny, "float32"), 0)
    shapes = {name: tensor.shape for name, tensor in adapter_state(again).items()}
    assert shapes == {name: t.shape for name, t in method.export(model, adapter_state(model), start).tensors.items()}


def test_a_recipe_leaves_open_what_it_does_not_write(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    recipe = {"name": "a", "prepare": {"sources": [{"path": "rows.jsonl"}]}, "release": {"name": "a"}}

    def loaded(**train: Any) -> Any:
        (tmp_path / "recipe.yaml").write_text(json.dumps({**recipe, "train": train}))
        return load_recipe(tmp_path / "recipe.yaml")

    assert "method" not in loaded(start_from="a@v1").train.model_fields_set
    assert loaded(start_from="a@v1", method={"name": "lora", "rank": 8}).train.method.options == {"rank": 8}
    assert loaded(method={"name": "lora", "rank": 8}).train.method.options["dropout"] == 0.0
    (tmp_path / "again.yaml").write_text(effective(loaded(start_from="a@v1")))
    assert "method" not in load_recipe(tmp_path / "again.yaml").train.model_fields_set


def test_a_job_keeps_the_adapter_that_it_starts_from(tmp_path: Path) -> None:
    source = saved(tmp_path / "release")
    folder = JobFolder(tmp_path, "ftjob-1")
    assert not folder.has_parent
    folder.take_parent(source)
    digest = adapter_digest(source)
    for file in source.iterdir():
        file.unlink()
    assert folder.has_parent
    assert adapter_digest(folder.path / folder.PARENT) == digest
