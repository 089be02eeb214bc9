"""What personal data looks like, kind by kind, and the proof that a candidate is one: checksum, issuer, structure.

A candidate is a text that a simple regular expression let through. What it holds is held against the library of its
kind (phonenumbers, python-stdnum), form by form: each way to write a kind has a chance of its own that arbitrary digits
pass, and is counted only where more candidates pass than chance explains.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Literal, NamedTuple

__all__ = ["MAX_CHARACTERS", "NATIONAL_IDS", "PersonalKind", "proved"]

PersonalKind = Literal["email", "phone", "card", "iban", "national_id"]
MAX_CHARACTERS = 4_096
_ENOUGH = 10  # candidates of one form, from which on chance can be told from proof
_BARE_CHANCE = 0.02  # at least, of any digits to be a national id
_SIGMAS = 3.1  # one in a thousand, one-sided


class _Form(NamedTuple):
    """One way to write one kind.

    Attributes:
        name: Such as `nl.bsn`.
        chance: Share of arbitrary digits of this form that pass its checksum; 0 where that is one in 25 or less.
        needs_many: Not counted below `_ENOUGH` candidates.
    """

    name: str
    chance: float
    needs_many: bool = False


Seen = tuple[_Form, bool]  # a candidate of a form, and whether it passed

_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@((?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+)([^\W\d_]{2,24})(?![\w@-])")
_FILES = "png jpg jpeg gif svg webp ico css js ts json html pdf xml yaml yml csv txt log"
_NO_DOMAIN = frozenset(_FILES.split(" "))  # logo@2x.png
_CARD = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|(?:6011|64[4-9]\d|65\d\d)\d{12}|62\d{14,17}"
)
_IBAN = re.compile(r"(?<![\w-])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?(?![\w-])")
_BARE_PHONE = re.compile(r"(?<![\w.+-])\d{7,20}(?![\w-]|\.\d)")
_NO_PHONE = re.compile(r"\d+\.\d+|\d{1,3}(?:\.\d{1,3}){3}|(?:\D*\d){14,}.*")  # a decimal, an IP address, too long
NATIONAL_IDS = {
    "be.nn": (r"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}", 0.0),
    "br.cpf": (r"\d{3}\.?\d{3}\.?\d{3}-?\d{2}", 0.0),
    "ca.sin": (r"\d{3}[ -]?\d{3}[ -]?\d{3}", 0.1),
    "ch.ssn": (r"756\.?\d{4}\.?\d{4}\.?\d{2}", 0.1),
    "cn.ric": (r"\d{17}[\dX]", 0.0),
    "de.idnr": (r"\d{2} ?\d{3} ?\d{3} ?\d{3}", 0.1),
    "es.dni": (r"\d{8}-?[A-Z]", 0.05),
    "es.nie": (r"[XYZ]-?\d{7}-?[A-Z]", 0.05),
    "fi.hetu": (r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", 0.0),
    "fr.nir": (r"[1-478] ?\d\d ?\d\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d", 0.0),
    "gb.nhs": (r"\d{3} ?\d{3} ?\d{4}", 0.1),
    "in_.aadhaar": (r"[2-9]\d{3} ?\d{4} ?\d{4}", 0.1),
    "it.codicefiscale": (r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]", 0.0),
    "kr.rrn": (r"\d{6}-\d{7}", 0.1),
    "mx.curp": (r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", 0.0),
    "nl.bsn": (r"\d{9}", 0.1),
    "pl.pesel": (r"\d{11}", 0.1),
    "se.personnummer": (r"(?:\d{2})?\d{6}[-+]\d{4}", 0.1),
    "us.ssn": (r"\d{3}-\d{2}-\d{4}", 0.0),
    "za.idnr": (r"\d{13}", 0.1),
}
"""Module of python-stdnum, which begins with the country, to how it is written and what chance passes it."""
_EDGES = r"(?<![\w.+-])(?:{})(?![\w-]|\.\d)"


def proved(candidates: Sequence[str], kind: PersonalKind, regions: Sequence[str] = ()) -> set[str]:
    """Return the candidates with a match that passed, of a form of which more passed than chance explains.

    Args:
        candidates: Different texts of one column; of each the first `MAX_CHARACTERS` are looked at.
        kind: Of personal data.
        regions: Countries (`US`, `DE`) whose national way of writing phone numbers counts too.
    """
    find = _find(kind, regions)
    seen = {text: list(find(text[:MAX_CHARACTERS])) for text in candidates}
    looked_at: Counter[_Form] = Counter()
    passed: Counter[_Form] = Counter()
    for matches in seen.values():
        for form in {form for form, _ in matches}:
            looked_at[form] += 1
        for form in {form for form, valid in matches if valid}:
            passed[form] += 1

    def counts(form: _Form) -> bool:
        n = looked_at[form]
        if n < _ENOUGH:
            return not form.needs_many
        return passed[form] > form.chance * n + _SIGMAS * math.sqrt(form.chance * (1 - form.chance) * n)

    counted = {form for form in passed if counts(form)}
    return {text for text, matches in seen.items() if any(valid and form in counted for form, valid in matches)}


def _find(kind: PersonalKind, regions: Sequence[str]) -> Callable[[str], Iterator[Seen]]:
    if kind == "phone":
        return lambda text: _find_phones(text, regions)
    return {"email": _find_emails, "card": _find_cards, "iban": _find_ibans, "national_id": _find_national_ids}[kind]


def _find_emails(text: str) -> Iterator[Seen]:
    for match in _EMAIL.finditer(text):
        local, ending = match[0].partition("@")[0], match[2].lower()
        yield _Form("email", 0.0), ending not in _NO_DOMAIN and local != "git" and ".." not in local


def _find_phones(text: str, regions: Sequence[str]) -> Iterator[Seen]:
    from phonenumbers import Leniency, PhoneNumberMatcher

    for region in (None, *regions):
        bare, written = _Form(f"bare {region}", 0.5, True), _Form(f"written {region}", 0.0)
        matches = PhoneNumberMatcher(text, region, leniency=Leniency.VALID)
        found = {match.raw_string for match in matches if text[max(0, match.start - 1) : match.start] != "."}
        for raw in found:
            if raw.startswith("+") or not _NO_PHONE.fullmatch(raw):
                yield bare if raw.isdigit() else written, True
        if region and any(match[0] not in found for match in _BARE_PHONE.finditer(text)):
            yield bare, False


def _find_cards(text: str) -> Iterator[Seen]:
    from stdnum import luhn

    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if _ISSUER.fullmatch(digits):
            yield _Form("card", 0.1), bool(luhn.is_valid(digits))


def _find_ibans(text: str) -> Iterator[Seen]:
    from stdnum import iban

    for match in _IBAN.finditer(text):
        compact = match[0].replace(" ", "").upper()
        # A word of capitals may follow the number; its length is fixed for each country, so at most one length passes.
        yield _Form("iban", 0.0), any(iban.is_valid(compact[:end]) for end in range(len(compact), 14, -1))


@cache
def _national() -> tuple[tuple[str, float, re.Pattern[str], Callable[[str], bool]], ...]:
    return tuple(
        (name, chance, re.compile(_EDGES.format(pattern)), import_module(f"stdnum.{name}").is_valid)
        for name, (pattern, chance) in NATIONAL_IDS.items()
    )


def _find_national_ids(text: str) -> Iterator[Seen]:
    for name, chance, pattern, is_valid in _national():
        for match in pattern.finditer(text):
            bare = match[0].isdigit()
            form = _Form(f"{name} bare", max(chance, _BARE_CHANCE), True) if bare else _Form(name, chance)
            yield form, bool(is_valid(match[0]))
