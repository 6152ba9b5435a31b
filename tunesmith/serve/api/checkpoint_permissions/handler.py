"""Letting other projects use a fine-tuned model. Everything here waits for the database: call it in a thread."""

from __future__ import annotations

import secrets
import time

from tunesmith.serve.api.checkpoint_permissions.protocol import PermissionCreate, PermissionObject
from tunesmith.serve.failures import ApiError
from tunesmith.serve.pages import Page
from tunesmith.serve.service import Service
from tunesmith.store.permissions import PermissionQuery, Permissions, PermissionSlice
from tunesmith.store.tuned import TunedModels
from tunesmith.types.permissions import CheckpointPermission

__all__ = ["create", "delete", "permissions"]


def create(service: Service, project: str, checkpoint: str, request: PermissionCreate) -> Page[PermissionObject]:
    """Raises ApiError 404 when `project` has no such checkpoint."""
    _check_owner(service, project, checkpoint)
    now = int(time.time())
    wanted = [
        CheckpointPermission(
            id=f"cp_{secrets.token_hex(12)}", project=project, checkpoint=checkpoint, grantee=grantee, created_at=now
        )
        for grantee in dict.fromkeys(request.project_ids)
    ]
    made = Permissions(service.platform.database).add(wanted)
    return _page(PermissionSlice(made, has_more=False))


def permissions(service: Service, project: str, checkpoint: str, query: PermissionQuery) -> Page[PermissionObject]:
    """Raises ApiError 404 when `project` has no such checkpoint."""
    _check_owner(service, project, checkpoint)
    return _page(Permissions(service.platform.database).list(project, checkpoint, query))


def delete(service: Service, project: str, checkpoint: str, identity: str) -> None:
    """Raises ApiError 404 when `project` has no such checkpoint, NotFound for an unknown permission."""
    _check_owner(service, project, checkpoint)
    Permissions(service.platform.database).delete(project, checkpoint, identity)


def _check_owner(service: Service, project: str, checkpoint: str) -> None:
    model = TunedModels(service.platform.database).find(project, checkpoint)
    if model is None or model.project != project:
        message = f"The checkpoint '{checkpoint}' does not exist, or is not this project's."
        raise ApiError(404, message, param="fine_tuned_model_checkpoint", code="model_not_found")


def _page(found: PermissionSlice) -> Page[PermissionObject]:
    data = tuple(PermissionObject(id=one.id, created_at=one.created_at, project_id=one.grantee) for one in found.items)
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return Page[PermissionObject](data=data, has_more=found.has_more, first_id=first, last_id=last)
