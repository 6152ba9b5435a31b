"""What the endpoints of the fine-tuning platform work with: the settings, the database, the files, the keys."""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.serve.keyring import KeyRing
from tunesmith.settings import Settings
from tunesmith.store.batches import BatchStore
from tunesmith.store.database import Database
from tunesmith.store.files import FileStore
from tunesmith.store.uploads import UploadStore

__all__ = ["Platform", "open_platform"]


class Platform(NamedTuple):
    """The stores of one home."""

    settings: Settings
    database: Database
    files: FileStore
    uploads: UploadStore
    batches: BatchStore
    keys: KeyRing

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def open_platform(settings: Settings) -> Platform:
    """The stores that `settings` name; nothing is opened before it is used."""
    database = Database(settings.database)
    admin_key = settings.admin_key.get_secret_value() if settings.admin_key else None
    return Platform(
        settings,
        database,
        files=FileStore(database, settings.home / "files"),
        uploads=UploadStore(database, settings.home / "uploads"),
        batches=BatchStore(database),
        keys=KeyRing(database, admin_key),
    )
