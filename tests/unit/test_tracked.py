"""A tracked spec is the spec, and knows what was read of it."""

from __future__ import annotations

import pytest

from tunesmith.types.recipe import GateSpec, PrepareSpec, SplitSpec, TrainSpec
from tunesmith.types.tracked import track, unread


def test_a_tracked_value_is_the_value():
    spec = track(TrainSpec(epochs=3))
    assert isinstance(spec, TrainSpec)
    assert spec.content_digest() == TrainSpec(epochs=3).content_digest()
    assert spec.model_fields_set == {"epochs"}
    assert spec.epochs == 3


def test_reading_is_remembered_field_by_field():
    spec = track(SplitSpec())
    assert unread(spec) == ("by", "seed", "stratify", "test", "time", "validation")
    assert (spec.seed, spec.test) == (0, 0.1)
    assert unread(spec) == ("by", "stratify", "time", "validation")


def test_dumping_and_digesting_are_not_reading():
    spec = track(SplitSpec())
    spec.model_dump()
    spec.content_digest()
    assert len(unread(spec)) == 6


def test_inner_values_and_items_are_followed():
    spec = track(PrepareSpec.model_validate({"sources": [{"path": "a"}, {"path": "b"}]}))
    assert "split" in unread(spec)
    assert [source.path for source in spec.sources] == ["a", "b"]
    assert spec.split.seed == 0
    missing = unread(spec)
    assert "split" not in missing
    assert "split.test" in missing
    assert {"sources.0.format", "sources.1.format"} <= set(missing)
    assert "sources.0.path" not in missing


def test_options_of_a_plugin_count_as_read_together():
    spec = track(GateSpec())
    assert [rule.name for rule in spec.rules] == ["beats", "max_invalid"]
    assert "rules.0.metric" in unread(spec)
    assert all(rule.options for rule in spec.rules)
    assert unread(spec) == ()


def test_two_tracked_values_do_not_share_their_memory():
    first, second = track(SplitSpec()), track(SplitSpec())
    assert first.seed == 0
    assert "seed" in unread(second)


def test_an_untracked_value_is_refused():
    with pytest.raises(TypeError, match="not tracked"):
        unread(SplitSpec())
