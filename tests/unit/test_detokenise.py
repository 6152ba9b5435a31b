"""Incremental text: whole characters, stop strings across token borders, nothing lost."""

from __future__ import annotations

import pytest

from tunesmith.engine.detokenise import Detokeniser
from tunesmith.testing.echo import ByteCodec


def feed(text: str | bytes, stop: tuple[str, ...] = ()) -> tuple[list[str], str, bool]:
    """Texts of all pushes, the rest at the end, and whether a stop string was met."""
    stream, pieces = Detokeniser(ByteCodec(), stop), []
    for byte in text.encode() if isinstance(text, str) else text:
        piece = stream.push(byte)
        pieces.append(piece.text)
        if piece.stopped:
            return pieces, "", True
    rest = stream.finish()
    return pieces, rest.text, rest.stopped


def test_characters_come_whole() -> None:
    pieces, rest, _ = feed("aé€😀क्")
    assert "".join(pieces) + rest == "aé€😀क्"
    assert pieces[:3] == ["a", "", "é"]
    assert not any("\ufffd" in piece for piece in pieces)


def test_incomplete_character_is_shown_at_the_end() -> None:
    pieces, rest, _ = feed(b"ab" + "😀".encode()[:2])
    assert "".join(pieces) == "ab"
    assert set(rest) == {"\ufffd"}


def test_invalid_bytes_in_the_middle_are_kept() -> None:
    pieces, rest, _ = feed(b"a\xffb")
    assert "".join(pieces) + rest == "a\ufffdb"


@pytest.mark.parametrize(
    ("text", "stop", "expected", "stopped"),
    [
        ("one two three", ("two",), "one ", True),
        ("one two three", ("three", "two"), "one ", True),  # the earliest in the text wins
        ("one tw", ("two",), "one tw", False),  # a beginning that never completes is given at the end
        ("aab", ("ab",), "a", True),  # the second a may begin the stop string, the first turns out not to
        ("aaab", ("aab",), "a", True),
        ("xENDx", ("END",), "x", True),
        ("END", ("END",), "", True),
        ("préfix", ("é",), "pr", True),
        ("plain", ("",), "plain", False),  # an empty stop string never stops
        ("one two", (), "one two", False),
    ],
)
def test_stop_strings(text: str, stop: tuple[str, ...], expected: str, stopped: bool) -> None:
    pieces, rest, found = feed(text, stop)
    assert ("".join(pieces) + rest, found) == (expected, stopped)


def test_beginning_of_a_stop_string_is_withheld() -> None:
    pieces, _, _ = feed("a##b", ("###",))
    assert pieces == ["a", "", "", "##b"]


def test_leading_space_decoders_keep_their_spaces() -> None:
    class Words:
        stop_ids: frozenset[int] = frozenset()

        def decode(self, ids: object, /) -> str:
            # As SentencePiece decoders: a space before each word but the first of the text.
            return " ".join(f"w{token}" for token in ids)  # type: ignore[attr-defined]

    stream = Detokeniser(Words())
    assert [stream.push(token).text for token in (1, 2, 3)] == ["w1", " w2", " w3"]
