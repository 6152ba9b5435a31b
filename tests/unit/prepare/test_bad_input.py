"""Input that is hostile or merely unlucky: each ends in one clear error, or is read as meant."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from tunesmith.errors import DataError, MissingDependency, Problem
from tunesmith.prepare.inputs import Input
from tunesmith.prepare.reader import read_table
from tunesmith.prepare.sources import find_sources
from tunesmith.prepare.table import Row
from tunesmith.types.recipe import SourceSpec

LINE = '{"prompt": "Where is it?", "completion": "On its way"}\n'
ROW = json.loads(LINE)


def rows(path: Path, **spec: str) -> list[Row]:
    return list(read_table(Input(path.name, path, SourceSpec.model_validate({"path": path.name, **spec}))).rows)


def refused(path: Path, **spec: str) -> Problem:
    with pytest.raises(DataError) as caught:
        rows(path, **spec)
    problem = caught.value.problems[0]
    assert problem.fix
    return problem


def written(folder: Path, content: bytes | str, name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as out:
        out.write(LINE.encode() + b'{"prompt": "')
        for _ in range(80):
            out.write(b"x" * (1 << 20))
    problem = refused(path)
    assert (problem.line, problem.message) == (2, "a line that starts here is longer than 64 Mi characters")
    as_array = written(tmp_path, b"[" + path.read_bytes().replace(b"\n", b","), "b.json")
    assert "a row that starts here is longer" in refused(as_array).message


@pytest.mark.parametrize("packed", ["plain", "gz", "zst"])
def test_rows_do_not_stay_in_memory(packed: str, tmp_path: Path) -> None:
    """Reading holds some pieces, whatever the file's length: 40 MiB of rows in less than 12."""
    import tracemalloc

    texts = (f"{number} {os.urandom(200).hex()}" for number in range(90_000))
    content = b"".join(json.dumps({"prompt": text, "completion": "b"}).encode() + b"\n" for text in texts)
    packers = {"plain": lambda data: data, "gz": lambda data: gzip.compress(data, 1), "zst": zstandard.compress}
    path = written(tmp_path, packers[packed](content))
    size = len(content)
    del content
    tracemalloc.start()
    count = sum(1 for _ in read_table(Input("a", path, SourceSpec(path="a"))).rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 90_000
    assert size > 36 << 20
    assert peak < 12 << 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": ' + "[" * 150 + "]" * 150 + "}", "nested too deeply: over 100 levels"),
        ('{"a": ' * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": [1, -Infinity]}', "-Infinity is not JSON"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": "\\udc00"}', "half a character"),
    ],
)
def test_json_that_other_readers_bend(content: str, message: str, tmp_path: Path) -> None:
    problem = refused(written(tmp_path, LINE + content))
    assert problem.line == 2
    assert message in problem.message


def test_ninety_levels_are_read(tmp_path: Path) -> None:
    assert len(rows(written(tmp_path, '{"a": ' + "[" * 90 + "]" * 90 + "}"))) == 1


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_packed_files_that_burst_are_cut_off_or_damaged(pack: object, tmp_path: Path) -> None:
    packed: bytes = pack(LINE.encode() * 1000)  # type: ignore[operator]
    assert [row.line for row in rows(written(tmp_path, packed))] == list(range(1, 1001))
    assert "cut off" in refused(written(tmp_path, packed[:-9])).message
    assert "damaged" in refused(written(tmp_path, packed[:-1] + bytes([packed[-1] ^ 1]))).message
    burst: bytes = pack(b'{"prompt": "' + b" " * (150 << 20))  # type: ignore[operator]
    assert "unpacks to more than 200 times its size" in refused(written(tmp_path, burst)).message


def test_several_packed_parts_in_a_row(tmp_path: Path) -> None:
    for pack in (gzip.compress, zstandard.compress):
        assert len(rows(written(tmp_path, pack(LINE.encode()) + pack(LINE.encode()), "a.csv"))) == 2


def test_bytes_that_are_no_utf8_are_named_by_their_offset_and_read_when_declared(tmp_path: Path) -> None:
    text = LINE * 40_000 + '{"prompt": "café", "completion": "€5"}\n'
    path = written(tmp_path, text.encode("cp1252"))
    problem = refused(path)
    offset = len(LINE) * 40_000 + 15
    assert (problem.line, problem.message) == (40_001, f"byte 0xe9 at column 16 is not UTF-8 (offset {offset})")
    assert "encoding: cp1252" in (problem.fix or "")
    assert rows(path, encoding="cp1252")[-1].fields == {"prompt": "café", "completion": "€5"}
    undefined = written(tmp_path, b'{"prompt": "caf\x81"}')
    assert "byte 0x81 at column 16 is not CP1252" in refused(undefined, encoding="cp1252").message


@pytest.mark.parametrize(
    ("content", "encoding", "message", "fix"),
    [
        (LINE.encode(), "cp1253x", "'cp1253x' is no encoding", "did you mean 'cp125"),
        (LINE.encode(), "hex", "'hex' is no encoding", "write one of utf-8"),
        (
            LINE.encode("utf-8-sig"),
            "cp1252",
            "mark of UTF-8, not of cp1252",
            "remove encoding",
        ),
        (b"PAR1\x00", "cp1252", "a parquet file has no encoding", "remove encoding"),
    ],
)
def test_encodings_that_cannot_be_meant(content: bytes, encoding: str, message: str, fix: str, tmp_path: Path) -> None:
    problem = refused(written(tmp_path, content), encoding=encoding)
    assert problem.field == "encoding"
    assert message in problem.message
    assert fix in (problem.fix or "")


def test_a_character_over_the_border_of_two_pieces(tmp_path: Path) -> None:
    """Pieces are read in MiB; characters, line ends and rows lie across their borders."""
    filler = "x" * ((1 << 20) - 30)
    for shift in range(4):
        text = json.dumps({"a": filler + "y" * shift + "é" * 20}, ensure_ascii=False) + "\r\n" + json.dumps({"b": 1})
        found = rows(written(tmp_path, text))
        assert [(row.line, len(row.fields)) for row in found] == [(1, 1), (2, 1)]
        assert found[0].fields["a"].endswith("é" * 20)
        found = rows(written(tmp_path, f"[{text.replace(chr(13), ',')}]"))
        assert [row.line for row in found] == [1, 2]


def test_the_place_of_a_fault_far_into_one_long_line(tmp_path: Path) -> None:
    before = "[" + ", ".join(['{"a": "' + "x" * 1000 + '"}'] * 4000)
    problem = refused(written(tmp_path, before + ', {"a": nul}]', "a.json"))
    assert (problem.line, problem.field) == (1, "a")
    assert f"(column {len(before) + 9})" in problem.message


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_no_permission(readable: Path) -> None:
    path = written(readable, LINE)
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # nobody
    try:
        problem = refused(path)
    finally:
        if root:
            os.seteuid(0)
    assert (problem.field, problem.message) == ("path", "may not be read: no permission")


def find(folder: Path, path: str) -> list[str]:
    return [file.name for file in find_sources((SourceSpec(path=path),), folder)]


def test_folders_globs_and_addresses(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.csv.gz", "deep/c.json", ".hidden.jsonl", "deep/LICENSE", "deep/_temporary/d.jsonl"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(LINE)
    assert find(tmp_path, "data") == ["data/a.csv.gz", "data/b.jsonl", "data/deep/c.json"]
    assert find(tmp_path, "data/**/[bc].json*") == ["data/b.jsonl", "data/deep/c.json"]
    address = f"file://{tmp_path}/data/b.jsonl"
    (remote,) = find_sources((SourceSpec(path=address),), tmp_path)
    assert [row.fields for row in read_table(remote).rows] == [ROW]
    assert remote.digest() == find_sources((SourceSpec(path="data/b.jsonl"),), tmp_path)[0].digest()
    assert len(find(tmp_path, f"file://{tmp_path}/data/*.jsonl")) == 1


def test_addresses_that_lead_nowhere(tmp_path: Path) -> None:
    missing = f"file://{tmp_path}/no.jsonl"
    for address, message in (
        (missing, "no such file"),
        ("nosuch://x/a.jsonl", "cannot be opened"),
    ):
        (remote,) = find_sources((SourceSpec(path=address),), tmp_path)
        with pytest.raises((DataError, MissingDependency), match=message):
            read_table(remote)


def test_a_folder_that_contains_itself(tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "a.jsonl").write_text(LINE)
    (tmp_path / "data" / "deep" / "up").symlink_to(tmp_path / "data")
    with pytest.raises(DataError, match="the folder loops"):
        find(tmp_path, "data")


def test_links_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    os.mkfifo(tmp_path / "pipe")
    for path, message in (("gone.jsonl", "is a link to"), ("pipe", "is a pipe, which can be read only once")):
        with pytest.raises(DataError, match=message):
            find(tmp_path, path)
