"""Stored evals, runs and items as the API shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tunesmith.serve.api.evals.protocol import (
    CriterionCounts,
    EvalObject,
    ItemObject,
    ResultCounts,
    RunObject,
    UsageOfModel,
)
from tunesmith.serve.pages import Page
from tunesmith.store.windows import Slice
from tunesmith.types.evals import Eval, EvalItem, EvalRun

__all__ = ["eval_object", "item_object", "page", "run_object"]

Stored = TypeVar("Stored")
Shown = TypeVar("Shown", EvalObject, RunObject, ItemObject)


def eval_object(found: Eval) -> EvalObject:
    """An eval; how its criteria are spelled inside is nobody's business."""
    criteria = ({name: value for name, value in one.items() if name != "spec"} for one in found.testing_criteria)
    return EvalObject(
        id=found.id,
        created_at=found.created_at,
        name=found.name,
        metadata=found.metadata,
        data_source_config=found.data_source_config,
        testing_criteria=tuple(criteria),
    )


def run_object(run: EvalRun, address: str) -> RunObject:
    """A run; `address` is the server's, as the caller knows it."""
    usage = run.usage.model_dump() if run.model else None
    return RunObject(
        id=run.id,
        eval_id=run.eval_id,
        created_at=run.created_at,
        name=run.name,
        metadata=run.metadata,
        model=run.model,
        status=run.status,
        data_source=run.data_source,
        report_url=f"{address}v1/evals/{run.eval_id}/runs/{run.id}",
        result_counts=ResultCounts(**run.counts.model_dump()),
        per_testing_criteria_results=tuple(
            CriterionCounts(testing_criteria=name, **counts.model_dump(exclude={"total"}))
            for name, counts in run.criteria.items()
        ),
        per_model_usage=() if usage is None else (UsageOfModel(model_name=run.model, **usage),),
        error=run.error,
    )


def item_object(item: EvalItem) -> ItemObject:
    """A tested row."""
    return ItemObject(
        id=item.id,
        eval_id=item.eval_id,
        run_id=item.run_id,
        created_at=item.created_at,
        status=item.status,
        datasource_item=item.row,
        datasource_item_id=item.place,
        results=item.results,
        sample=item.sample,
    )


def page(found: Slice[Stored], show: Callable[[Stored], Shown]) -> Page[Shown]:
    """A part of a list."""
    data = tuple(map(show, found.items))
    ends = (data[0].id, data[-1].id) if data else (None, None)
    return Page[Shown](data=data, has_more=found.has_more, first_id=ends[0], last_id=ends[1])
