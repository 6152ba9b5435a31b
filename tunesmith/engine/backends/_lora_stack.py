"""Factors of several adapters side by side in one tensor, for products that serve all of them in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tunesmith.engine.backends._lora import Factors, LoraWeights

__all__ = ["FactorStack"]


class FactorStack:
    """Adapters by place, and each module's factors [places, inputs, rank] and [places, rank, outputs].

    Ranks are filled up with zeros to the module's largest, which changes no product. Requests of other adapters come
    and go all the time while copying an adapter costs milliseconds, so one keeps its place until another needs it.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.factors: dict[str, Factors] = {}

    def hold(self, active: Sequence[str], loaded: Mapping[str, LoraWeights]) -> None:
        """Have a place for each adapter of `active`, with as few copies as that takes."""
        missing = [name for name in active if name not in self.names]
        free = [place for place, name in enumerate(self.names) if name not in active]
        fits = all(self._fits(loaded[name]) for name in missing)
        if len(missing) > len(free) or len(self.names) > 2 * len(active) or not fits:
            self._build(active, loaded)
            return
        for name, place in zip(missing, free, strict=False):
            self._put(place, loaded[name])
            self.names[place] = name

    def forget(self, name: str) -> None:
        """Drop all copies when one is of this adapter: it may come back with other weights, and takes no memory now."""
        if name in self.names:
            self.names, self.factors = [], {}

    def _fits(self, weights: LoraWeights) -> bool:
        return all(
            module in self.factors and found.down.shape[1] <= self.factors[module].down.shape[2]
            for module, found in weights.items()
        )

    def _build(self, active: Sequence[str], loaded: Mapping[str, LoraWeights]) -> None:
        self.names = list(active)
        self.factors = {}
        for module in {module for name in active for module in loaded[name]}:
            self.factors[module] = _empty(
                [found for name in active if (found := loaded[name].get(module))], len(active)
            )
        for place, name in enumerate(active):
            self._put(place, loaded[name])

    def _put(self, place: int, weights: LoraWeights) -> None:
        for module, stacked in self.factors.items():
            stacked.down[place] = 0
            stacked.up[place] = 0
            if module in weights:
                down, up = weights[module]
                stacked.down[place, :, : down.shape[1]] = down
                stacked.up[place, : up.shape[0]] = up


def _empty(found: Iterable[Factors], places: int) -> Factors:
    """Room for so many adapters whose factors of a module are among `found`."""
    widest = max(found, key=lambda factors: factors.down.shape[1])
    return Factors(widest.down.new_empty(places, *widest.down.shape), widest.up.new_empty(places, *widest.up.shape))
