"""Where the trials of searches are kept: SQLite under home, or the PostgreSQL of TUNESMITH_DATABASE_URL."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.errors import DatabaseError, MissingDependency
from tunesmith.settings import Settings
from tunesmith.types.base import digest_json

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage

__all__ = ["close_storage", "open_storage", "open_study", "require_optuna", "sampler_of", "storage_url"]

FILE = "search.db"
STARTUP = 8
REDUCTION = 2


def require_optuna() -> None:
    """Raises MissingDependency when Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise MissingDependency("tunesmith search needs the package 'optuna'.", hint="pip install 'tunesmith[search]'")


def storage_url(settings: Settings) -> str:
    """The database's address as SQLAlchemy reads it."""
    if settings.database_url is None:
        return f"sqlite:///{settings.home / FILE}"
    scheme, sign, rest = settings.database_url.partition("://")
    return f"postgresql+psycopg{sign}{rest}" if scheme in ("postgresql", "postgres") else settings.database_url


def sampler_of(seed: int, number: int) -> Any:
    """The sampler that draws trial `number`: TPE (Bergstra et al. 2011) with a seed of its own, so that a search that
    was killed goes on with the very values it would have drawn. Trials in flight count as bad (`constant_liar`).
    """
    from optuna.samplers import TPESampler

    own = int(digest_json([seed, number])[:8], 16)
    return TPESampler(seed=own, n_startup_trials=STARTUP, constant_liar=True)


def open_storage(settings: Settings) -> RDBStorage:
    """The database of studies; close it with `close_storage`. Raises DatabaseError when it cannot be used."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings.home.mkdir(parents=True, exist_ok=True)
    url = storage_url(settings)
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        hint = "Start it, or name another with TUNESMITH_DATABASE_URL."
        raise DatabaseError(f"The database of searches cannot be used: {error}", hint=hint) from error


def close_storage(storage: RDBStorage) -> None:
    """Close its connections."""
    storage.remove_session()
    storage.engine.dispose()


def open_study(storage: RDBStorage, name: str, direction: Literal["maximize", "minimize"], pruned: bool) -> Study:
    """The study called `name`, made when it is not there. Trials are pruned by asynchronous successive halving after 1,
    2, 4 ... epochs, the better half going on (Li et al. 2020, arXiv:1810.05934).
    """
    import optuna

    halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
    return optuna.create_study(
        storage=storage,
        pruner=halving if pruned else optuna.pruners.NopPruner(),
        study_name=name,
        direction=direction,
        load_if_exists=True,
    )
