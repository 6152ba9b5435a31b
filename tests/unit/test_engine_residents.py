"""Which adapter is given up when memory for adapters is limited."""

from __future__ import annotations

import pytest

from tunesmith.engine.residents import Resident, Residents
from tunesmith.errors import EngineError, ModelError


def residents(limit: int | None, **sizes: int) -> Residents:
    found = Residents(limit)
    for digest, size in sizes.items():
        found.add(digest, Resident(size, 0))
    return found


def test_the_least_recently_used_goes_first() -> None:
    held = residents(30, a=10, b=10, c=10)
    assert held.surplus(1) == "a"
    with held.use("a"):
        pass
    assert held.surplus(1) == "b"
    held.remove("b")
    assert held.surplus(10) is None
    assert held.surplus(11) == "c"


def test_what_is_in_use_or_to_be_kept_never_goes() -> None:
    held = residents(20, a=10, b=10)
    with held.use("a"), held.use("a"):
        assert held.surplus(5) == "b"
        assert held.surplus(5, keep="b") is None
    assert held.surplus(5) == "b"
    assert held.surplus(5, keep="b") == "a"


def test_without_a_limit_nothing_goes() -> None:
    held = residents(None, a=10**15)
    assert held.surplus(10**15) is None
    held.require_room("b", 10**15)


def test_an_adapter_larger_than_the_limit_is_refused() -> None:
    with pytest.raises(ModelError, match="takes 11 bytes; the limit for all adapters is 10"):
        residents(10).require_room("a", 11)


def test_only_what_is_loaded_can_be_used() -> None:
    held = residents(10, a=1)
    with pytest.raises(EngineError, match="not loaded"), held.use("b"):
        pass
    with held.use(None):
        pass
    assert "a" in held
    assert held.nbytes == {"a": 1}
    assert held.virtual == {"a": 0}


def test_unloading_while_used_leaves_the_count_to_the_user() -> None:
    held = residents(10, a=1)
    with held.use("a"):
        held.remove("a")
        held.add("a", Resident(20, 0))
        assert held.surplus() is None
    assert held.surplus() == "a"
