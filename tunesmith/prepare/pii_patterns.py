"""Personal data that has a form of its own, found by patterns whose hits are checked.

email; card (13 to 19 digits of a known issuer, Luhn's checksum of ISO/IEC 7812); iban (country's length and ISO 7064
mod 97-10); ssn (ranges that the US Social Security Administration issues); ip (v4 and v6, not loopback); phone (a form
that only phone numbers have, or digits after a word such as "call"). Names and addresses have
no form: they need a model.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from tunesmith.prepare.redaction import Place, apart

__all__ = ["KINDS", "find_pii"]

_EMAIL = re.compile(r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}\b")
_CARD = re.compile(r"(?<![\w.-])[2-6]\d{3}(?:[ -]?\d{2,7}){2,5}(?![\w-]|\.\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){3,8}\b", re.IGNORECASE)
_SSN = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\d-])")
_BARE_SSN = re.compile(
    r"\b(?:ssn|social security)\b[^\d\n]{0,30}((?!000|666|9)\d{3}(?!00)\d{2}(?!0000)\d{4})(?!\d)", re.I
)
_IP4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IP6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_VERSION = re.compile(r"(?:version|release|build|\bv)\W{0,3}$", re.IGNORECASE)

_EXTENSION = r"(?: ?(?:x|ext\.?|extension) ?\d{1,6})?"
_PHONE_FORM = re.compile(
    r"(?<![\w+./-])(?:"
    r"(?:\+|00)[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){2,5}"  # international
    r"|(?:1[ .-])?\(\d{2,5}\)[ .-]?\d{3,4}[ .-]?\d{3,4}"  # area code in brackets
    r"|(?:1[ .-])?[2-9]\d{2}([ .-])\d{3}\1\d{4}"  # North American
    r"|0\d{1,4}(?:[ .-]\d{2,4}){2,4}"  # national, with the trunk prefix
    rf"){_EXTENSION}(?![\w-]|\.\d)",
    re.IGNORECASE,
)
_PHONE_WORD = re.compile(
    r"\b(?:phone|mobile|cell|tel|telephone|fax|call(?: me| us| someone)?(?: on| at)?|text me|whatsapp"
    r"|reach me(?: on| at)?|contact number|my number|desk|office)\b(?: (?:number|no\.?|is|on|at))*[ :.#]{0,3}"
    rf"((?:\+|\(|\d)\d?(?:[ .()-]{{0,2}}\d){{6,13}}{_EXTENSION})(?![\w-]|\.\d)",
    re.IGNORECASE,
)
_DATE = re.compile(r"(?:\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{4})$")
# Total length by country: SWIFT's IBAN registry.
_IBAN_LENGTHS: Mapping[str, int] = MappingProxyType(
    dict(
        pair
        for length, countries in {
            15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
            21: "CH CR HR LI LV", 22: "BG BH DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
            24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
            28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU",
            31: "MT SC", 32: "LC", 33: "RU",
        }.items()
        for pair in ((country, length) for country in countries.split())
    )
)  # fmt: skip


def find_pii(text: str, kinds: tuple[str, ...]) -> list[Place]:
    """The places of `kinds` in `text`, in order and without overlaps."""
    return apart(place for kind, find in _FINDERS.items() if kind in kinds for place in find(text))


def _emails(text: str) -> Iterator[Place]:
    if "@" in text:
        yield from (Place(*hit.span(), "email") for hit in _EMAIL.finditer(text))


def _cards(text: str) -> Iterator[Place]:
    for hit in _CARD.finditer(text):
        digits = _digits(hit.group())
        if 13 <= len(digits) <= 19 and _luhn(digits):
            yield Place(*hit.span(), "card")


def _luhn(digits: str) -> bool:
    """True when the digits, every second from the end doubled and nines cast out, sum to a multiple of ten."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def _ibans(text: str) -> Iterator[Place]:
    for hit in _IBAN.finditer(text):
        wanted = _IBAN_LENGTHS.get(hit.group()[:2].upper(), 0)
        ends = [end for end, character in enumerate(hit.group(), start=1) if character != " "]
        if wanted and len(ends) >= wanted:
            taken = hit.group()[: ends[wanted - 1]]
            if _mod_97(taken.replace(" ", "").upper()):
                yield Place(hit.start(), hit.start() + len(taken), "iban")


def _mod_97(iban: str) -> bool:
    """Whether the remainder is one, with the first four characters moved to the end and letters as 10 to 35."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def _ssns(text: str) -> Iterator[Place]:
    yield from (Place(*hit.span(), "ssn") for hit in _SSN.finditer(text))
    yield from (Place(*hit.span(1), "ssn") for hit in _BARE_SSN.finditer(text))


def _ips(text: str) -> Iterator[Place]:
    for pattern in (_IP4, _IP6):
        for hit in pattern.finditer(text):
            try:
                address = ipaddress.ip_address(hit.group())
            except ValueError:
                continue
            says_version = _VERSION.search(text[max(0, hit.start() - 12) : hit.start()])
            if not (address.is_loopback or address.is_unspecified or says_version):
                yield Place(*hit.span(), "ip")


def _phones(text: str) -> Iterator[Place]:
    for pattern, group in ((_PHONE_FORM, 0), (_PHONE_WORD, 1)):
        for hit in pattern.finditer(text):
            number = re.split(r"(?i)x|ext", hit.group(group))[0]
            if 7 <= len(_digits(number)) <= 15 and not _DATE.match(number.strip()):
                yield Place(*hit.span(group), "phone")


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


# In the order in which they claim their places: a card number is no phone number.
_FINDERS: Mapping[str, Callable[[str], Iterator[Place]]] = MappingProxyType(
    {"email": _emails, "iban": _ibans, "card": _cards, "ssn": _ssns, "ip": _ips, "phone": _phones}
)
KINDS = tuple(_FINDERS)
