"""The audit log's entries: who asked for what, and what answered. No prompt and no answer is in them."""

from __future__ import annotations

from tunesmith.types.base import Value, digest_json

__all__ = ["GENESIS", "AuditEntry", "AuditReport", "AuditRow"]

GENESIS = "0" * 64
"""What stands before the first row."""


class AuditEntry(Value):
    """One request. `at` is in Unix seconds; `status` is the HTTP status, 499 when the client left before the end.

    Of a request that a model answered: the id it was asked by, the release (None: the base) and its digest, the digests
    of base and template, the SHA-256 of the prompt's token ids (of the JSON list of those, when there were several
    prompts), and how many tokens went in and came out.
    """

    at: int
    request: str
    project: str
    key: str | None
    role: str
    method: str
    path: str
    status: int
    model: str | None = None
    release: str | None = None
    release_digest: str | None = None
    base_digest: str | None = None
    template_digest: str | None = None
    prompt_digest: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class AuditRow(Value):
    """An entry in its place: `digest` is that of the entry, its number and the digest of the row before."""

    number: int
    entry: AuditEntry
    previous: str
    digest: str

    @staticmethod
    def after(number: int, previous: str, entry: AuditEntry) -> AuditRow:
        """The row of `entry` as `number`, after the row whose digest is `previous`."""
        content = {"number": number, "previous": previous, "entry": entry.model_dump(mode="json")}
        return AuditRow(number=number, entry=entry, previous=previous, digest=digest_json(content))

    def fits(self, before: AuditRow | None) -> bool:
        """Whether it is what was written, and follows `before` (None: it is the first)."""
        number, previous = (before.number, before.digest) if before else (0, GENESIS)
        return self == AuditRow.after(number + 1, previous, self.entry)


class AuditReport(Value):
    """What a check of the log found: how many rows hold, the digest of the last, the number of the first that does not
    and why.
    """

    rows: int
    head: str
    broken: int | None = None
    reason: str | None = None
