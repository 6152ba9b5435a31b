"""Making, changing and asking for evals and their runs. Everything here waits for the database: call it in a thread."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from tunesmith.grade.placeholders import check
from tunesmith.serve.api.evals.item_schema import ItemSchema
from tunesmith.serve.api.evals.protocol import CompletionsSource, EvalCreate, EvalUpdate, RunCreate
from tunesmith.serve.api.evals.sources import checked_rows
from tunesmith.serve.caller import Caller
from tunesmith.serve.failures import invalid
from tunesmith.serve.graders import as_grader
from tunesmith.serve.service import Service
from tunesmith.store.evals import EvalStore
from tunesmith.types.evals import Counts, Eval, EvalRun

__all__ = ["cancel_run", "create_eval", "create_run", "store_of", "update_eval"]

_READS_SAMPLE = re.compile(r"\{\{\s*sample\.")
_SAMPLE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "output_text": {"type": "string"},
        "output_json": {},
        "output_tools": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["output_text"],
}  # fmt: skip


def store_of(service: Service) -> EvalStore:
    """The evals of the platform."""
    return EvalStore(service.platform.database)


def create_eval(service: Service, caller: Caller, request: EvalCreate) -> Eval:
    """Raises ApiError 400 for a schema or a criterion that cannot be used."""
    config = request.data_source_config
    ItemSchema(config.item_schema)
    criteria = []
    for index, criterion in enumerate(request.testing_criteria):
        as_grader(criterion, f"testing_criteria[{index}]")
        named = {"id": f"{criterion.name}-{secrets.token_hex(8)}", "spec": criterion.spec()}
        criteria.append(criterion.model_dump(mode="json", exclude_none=True) | named)
    now, identity = int(time.time()), f"eval_{secrets.token_hex(12)}"
    made = Eval(
        id=identity,
        project=caller.project,
        created_at=now,
        updated_at=now,
        name=request.name or identity,
        metadata=request.metadata,
        data_source_config={
            "type": "custom",
            "schema": _whole_schema(config.item_schema, config.include_sample_schema),
        },
        testing_criteria=tuple(criteria),
    )
    store_of(service).add(made)
    return made


def update_eval(service: Service, caller: Caller, identity: str, request: EvalUpdate) -> Eval:
    """What is not given stays."""
    changes = request.model_dump(exclude_none=True) | {"updated_at": int(time.time())}
    return store_of(service).update(caller.project, identity, changes)


def create_run(service: Service, caller: Caller, eval_id: str, request: RunCreate) -> EvalRun:
    """Raises ApiError 404 for an unknown model or file, 400 for rows that do not fit the eval."""
    found = store_of(service).get(caller.project, eval_id)
    source = request.data_source
    if isinstance(source, CompletionsSource):
        service.catalogue.find(source.model, caller.project)
        _check_templates(source)
    specs = json.dumps([criterion["spec"] for criterion in found.testing_criteria])
    schema = ItemSchema(found.data_source_config["schema"]["properties"]["item"])
    needs_sample = bool(_READS_SAMPLE.search(specs))
    total = checked_rows(source, service.platform.files, caller.project, schema, needs_sample)
    identity = f"evalrun_{secrets.token_hex(12)}"
    run = EvalRun(
        id=identity,
        eval_id=eval_id,
        project=caller.project,
        key=caller.key,
        created_at=int(time.time()),
        name=request.name or identity,
        metadata=request.metadata,
        model=source.model if isinstance(source, CompletionsSource) else "",
        data_source=source.model_dump(mode="json", exclude_none=True),
        counts=Counts(total=total),
        criteria={str(criterion["id"]): Counts(total=total) for criterion in found.testing_criteria},
    )
    store_of(service).add_run(run)
    return run


def cancel_run(service: Service, caller: Caller, eval_id: str, identity: str) -> EvalRun:
    """Raises ApiError 400 when the run is finished already."""
    run, canceled = store_of(service).cancel_run(caller.project, eval_id, identity)
    if not canceled:
        raise invalid(f"The run {identity} is {run.status} and cannot be canceled.", None)
    return run


def _whole_schema(item: dict[str, Any], with_sample: bool | None) -> dict[str, Any]:
    properties = {"item": item} | ({"sample": dict(_SAMPLE_SCHEMA)} if with_sample else {})
    return {"type": "object", "properties": properties, "required": list(properties)}


def _check_templates(source: CompletionsSource) -> None:
    if source.input_messages.type != "template":
        return
    for index, message in enumerate(source.input_messages.template):
        parts = message.content if isinstance(message.content, list) else [message.content]
        for part in parts:
            text, param = part if isinstance(part, str) else part.text, f"data_source.input_messages.template[{index}]"
            try:
                check(text)
            except ValueError as error:
                raise invalid(f"{error}.", param) from None
            if _READS_SAMPLE.search(text):
                raise invalid("The messages come before the sample, so only {{item.…}} can stand in them.", param)
