"""Lines on disk with random access: of each line only its offset is kept in memory (8 bytes)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["RowFile"]


class RowFile:
    """A file of lines that grows at its end and can be read anywhere. Each line ends with a line break."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets = array("q", [0])
        self._stream = path.open("w+b")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def extend(self, lines: Iterable[bytes]) -> None:
        """Write lines at the end."""
        self._stream.seek(0, 2)
        end = self._offsets[-1]
        for line in lines:
            end += self._stream.write(line)
            self._offsets.append(end)

    def line(self, index: int) -> bytes:
        """The line `index`."""
        start, end = self._offsets[index], self._offsets[index + 1]
        self._stream.seek(start)
        return self._stream.read(end - start)

    def lines(self, indices: Iterable[int]) -> Iterator[bytes]:
        """The lines at `indices`, in that order."""
        return map(self.line, indices)

    def remove(self) -> None:
        """Close and delete the file."""
        self._stream.close()
        self.path.unlink(missing_ok=True)
