"""Settings of the machine (not of an experiment): where things lie. Made once, at the command line or server."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Read from `TUNESMITH_*` environment variables.

    `home` holds converted base models, datasets, runs and the release registry:

        home/models/<name>/          base weights as safetensors, tokenizer, chat template
        home/datasets/<digest>/      manifest.json, one .jsonl for each split, dropped rows and findings
        home/runs/<name>-<digest>/   recipe, environment, metrics, checkpoints, adapter, evaluation, report
        home/answers/<digest>.jsonl  what models and judges answered to suites, kept by content
        home/files/<digest>          uploaded files
        home/uploads/<digest>        parts of files that are on their way
        home/jobs/<id>/              data, recipe and trainer's log of a fine-tuning job that has not ended
        home/workers/<name>.lock     held by the worker of that name as long as it lives
        home/workflows.db            how far each job's workflow is (with PostgreSQL: there)
        home/registry.db             releases, aliases, files, jobs, keys (SQLite)
        home/signing.key             signs the waivers of gate rules

    `database_url` (`postgresql://user@host/name`) takes PostgreSQL in the place of that SQLite file, for several
    servers and workers that share one home.

    `admin_key` opens the server as its administrator without being stored; for servers that another program starts.

    `threads` is the number of processor threads for training and the engine (None: every core this process may use).

    Fine-tuning jobs train in a process of their own with `trainer_threads` (None: as `threads`, else one core less than
    there are, so that the server stays quick) and at most `trainer_megabytes` of memory (None: four fifths of the
    machine's). `jobs_per_project` is how many jobs of one project run at the same time, over all workers.
    """

    model_config = SettingsConfigDict(env_prefix="TUNESMITH_", frozen=True)

    home: Path = Path("~/.tunesmith").expanduser()
    threads: int | None = None
    database_url: str | None = None
    admin_key: SecretStr | None = Field(default=None, min_length=16)
    trainer_threads: int | None = Field(default=None, ge=1)
    trainer_megabytes: int | None = Field(default=None, ge=64)
    jobs_per_project: int = Field(default=2, ge=1)

    @property
    def rows(self) -> Path:
        """Under which prepared rows lie: `datasets`, `refused` and, while they are made, `scratch`."""
        return self.home

    @property
    def sqlite_url(self) -> str:
        """Address of the SQLite file of `home`."""
        return f"sqlite:///{self.home / 'registry.db'}"

    @property
    def database(self) -> str:
        """Address of the database that is used."""
        return self.database_url or self.sqlite_url

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()
