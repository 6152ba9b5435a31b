"""Making, changing and asking for evals and their runs. Everything here waits for the database: call it in a thread."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from tunesmith.grade.placeholders import check
from tunesmith.serve.api.evals.data_sources import AskingSource, DataSource, KeptChats, KeptResponses, Template
from tunesmith.serve.api.evals.item_schema import ItemSchema
from tunesmith.serve.api.evals.kept_rows import picked
from tunesmith.serve.api.evals.protocol import CustomConfig, EvalCreate, EvalUpdate, KeptConfig, RunCreate
from tunesmith.serve.api.evals.sources import checked_rows, rows_of
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

_KEPT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"item": {"type": "object"}, "sample": {"type": "object"}},
    "required": ["item", "sample"],
}


def store_of(service: Service) -> EvalStore:
    """The evals of the platform."""
    return EvalStore(service.platform.database)


def create_eval(service: Service, caller: Caller, request: EvalCreate) -> Eval:
    """Raises ApiError 400 for a schema or a criterion that cannot be used."""
    config = _config(request.data_source_config)
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
        data_source_config=config,
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
    asked = source.model if isinstance(source, AskingSource) else None
    if isinstance(source, AskingSource) and asked is not None:
        service.catalogue.find(asked, caller.project)
        _check_templates(source)
    picks = _picks(service, caller, found, source)
    specs = json.dumps([criterion["spec"] for criterion in found.testing_criteria])
    schema = ItemSchema(found.data_source_config["schema"]["properties"]["item"])
    needs_sample = asked is None and bool(_READS_SAMPLE.search(specs))
    rows = rows_of(source, service.platform, caller.project, picks)
    of_kept = bool(picks) and found.data_source_config["type"] != "custom"  # which fit whatever they are
    total = len(picks) if of_kept else checked_rows(rows, schema, needs_sample=needs_sample)
    identity = f"evalrun_{secrets.token_hex(12)}"
    run = EvalRun(
        id=identity,
        eval_id=eval_id,
        project=caller.project,
        key=caller.key,
        created_at=int(time.time()),
        name=request.name or identity,
        metadata=request.metadata,
        model=asked or "",
        data_source=source.model_dump(mode="json", by_alias=True, exclude_none=True),
        counts=Counts(total=total),
        criteria={str(criterion["id"]): Counts(total=total) for criterion in found.testing_criteria},
    )
    store_of(service).add_run(run, picks)
    return run


def cancel_run(service: Service, caller: Caller, eval_id: str, identity: str) -> EvalRun:
    """Raises ApiError 400 when the run is finished already."""
    run, canceled = store_of(service).cancel_run(caller.project, eval_id, identity)
    if not canceled:
        raise invalid(f"The run {identity} is {run.status} and cannot be canceled.", None)
    return run


def _config(given: CustomConfig | KeptConfig) -> dict[str, Any]:
    """What an eval's rows look like, as the API shows it."""
    if isinstance(given, KeptConfig):
        return {"type": given.type, "metadata": given.metadata or {}, "schema": _KEPT_SCHEMA}
    ItemSchema(given.item_schema)
    return {"type": "custom", "schema": _whole_schema(given.item_schema, given.include_sample_schema)}


def _whole_schema(item: dict[str, Any], with_sample: bool | None) -> dict[str, Any]:
    properties = {"item": item} | ({"sample": dict(_SAMPLE_SCHEMA)} if with_sample else {})
    return {"type": "object", "properties": properties, "required": list(properties)}


def _picks(service: Service, caller: Caller, found: Eval, source: DataSource) -> tuple[str, ...]:
    """Ids of the stored answers that the run is of, where it is of such."""
    if not isinstance(source.source, KeptChats | KeptResponses):
        return ()
    metadata = found.data_source_config.get("metadata") or {}
    return picked(service.platform.database, caller.project, source.source, metadata)


def _check_templates(source: AskingSource) -> None:
    if not isinstance(source.input_messages, Template):
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
