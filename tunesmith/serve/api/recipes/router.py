"""POST /v1/tunesmith/recipes/validate; GET /v1/tunesmith/recipes and /{run}."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from tunesmith.serve.api.recipes import handler
from tunesmith.serve.api.recipes.protocol import RecipeCheck, RecipeEntry, RecipeRequest
from tunesmith.serve.caller import admin_of
from tunesmith.serve.pages import After, Limit, Page
from tunesmith.serve.service import Service

__all__ = ["build_router"]


def build_router(service: Service) -> APIRouter:
    """The routes over `service`: anybody may have a recipe checked; the runs are for administrators."""
    router = APIRouter(prefix="/v1/tunesmith/recipes")
    platform = service.platform

    @router.post("/validate")
    def validate_recipe(body: RecipeRequest) -> RecipeCheck:
        return handler.validate(body.recipe)

    @router.get("", dependencies=[Depends(admin_of)])
    def recipes(limit: Limit = 20, after: After = None) -> Page[RecipeEntry]:
        return handler.recipes(platform, limit, after)

    @router.get("/{run}", dependencies=[Depends(admin_of)])
    def recipe(run: str) -> RecipeEntry:
        return handler.recipe(platform, run)

    return router
