"""Personal data in a column: e-mail addresses, phone and card numbers, IBANs, national ids: counted, never shown.

`no_personal_data()` gives ready pandera checks for a column; `screen_personal` looks at every column of a table that
the contract does not mark as personal. Both work alike, one column and one kind at a time:

1. *Candidates*: the engine filters with one regular expression, so a column without any costs one scan. Of more than
   `MAX_CANDIDATES` distinct ones a fixed sample is looked at; the count of rows is then a lower bound.
2. *Proof*: each candidate is held against the library of its kind (phonenumbers, python-stdnum: checksum, issuer,
   structure). Only what passes counts. Of a long text the first `MAX_CHARACTERS` are looked at.
3. *Chance*: one in ten order numbers passes the Luhn checksum. A form with a checksum that chance passes is counted
   only where more candidates pass than chance explains, from ten candidates on; bare digits that are a national id or
   a national phone number by chance alone are not counted below ten.

Numbers that are stored as integers, or as floats without a fraction, are looked at as their digits.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from secure_ml.contracts.findings import Finding, Report
from secure_ml.errors import PreconditionError

if TYPE_CHECKING:
    import pandera.polars as pa
    import polars as pl

__all__ = [
    "MAX_CANDIDATES",
    "MAX_CHARACTERS",
    "PersonalKind",
    "known_personal",
    "no_personal_data",
    "personal_rows",
    "screen_personal",
    "with_personal",
]

PersonalKind = Literal["email", "phone", "card", "iban", "national_id"]
MAX_CANDIDATES = 5_000
MAX_CHARACTERS = 4_096
_ENOUGH = 10  # candidates of one form, from which on chance can be told from proof
_BARE_CHANCE = 0.02  # at least, of any digits to be a national id
_SIGMAS = 3.1  # one in a thousand, one-sided
_EXACT = 2**53  # a float holds each whole number below this


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
_NATIONAL = {
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
_EDGES = r"(?<![\w.+-])(?:{})(?![\w-]|\.\d)"

# What the engine filters with: in the common part of Rust's regex and RE2, and never stricter than the proof.
_CANDIDATES: dict[PersonalKind, str] = {
    "email": r"\w@[^\s@]+\.[^\s@]{2}",
    "phone": r"\+\s?\(?\d",
    "card": r"\d(?:[ -]?\d){12}",
    "iban": r"[A-Za-z]{2}\d{2} ?[A-Za-z0-9]{4} ?[A-Za-z0-9]{4}",
    "national_id": r"\d{9}|\d{2}[ .]\d{2,3}[ .]\d{2,3}|\d{3}[ .-]\d{2,3}[ .-]\d{3}|\d{6}[-+A-FU-Y]\d{3}|\d{8}-?[A-Z]"
    r"|[XYZ]-?\d{7}|\d{4} \d{4} \d{4}|756\.|\d \d\d \d\d|[A-Z]{4}\d{6}[HM]|[A-Z]{6}\d\d[A-Z]",
}
_DIGITS = r"\d(?:[\s().\-/]{0,2}\d){6}"  # a national phone number
_SAID: dict[PersonalKind, str] = {
    "email": "hold an e-mail address",
    "phone": "hold a phone number",
    "card": "hold a payment card number",
    "iban": "hold an IBAN",
    "national_id": "hold a national id",
}


def no_personal_data(*kinds: PersonalKind, regions: Sequence[str] = (), warn: bool = False) -> list[pa.Check]:
    """Return one check for each kind: no cell of a column holds such personal data.

    Args:
        kinds: Which kinds; all where none is given.
        regions: Countries (`US`, `DE`) whose national way of writing phone numbers counts too; without, `+...` only.
        warn: Findings warn instead of block.

    Raises:
        PreconditionError: There is no such kind.
    """
    import pandera.polars as pa

    for kind in kinds:
        if kind not in _SAID:
            raise PreconditionError(f"no_personal_data: expected some of {', '.join(_SAID)}")

    def check_of(kind: PersonalKind) -> pa.Check:
        def check(given: Any) -> Any:
            import polars as pl

            if isinstance(given, pa.PolarsData):
                column = given.lazyframe.select(given.key).collect().to_series()
                return pl.LazyFrame({"check_output": ~personal_rows(column, kind, regions)})
            values = (~personal_rows(pl.from_pandas(given), kind, regions)).to_numpy()
            return type(given)(values, index=given.index)  # a schema for pandas

        name = f"no_personal_data({kind})"
        return pa.Check(check, name=name, description=_SAID[kind], raise_warning=warn, ignore_na=False)

    return [check_of(kind) for kind in kinds or get_args(PersonalKind)]


def screen_personal(
    frame: pl.DataFrame, *, known: Collection[str] = (), regions: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """Look for personal data in all columns but the `known` ones; the findings warn.

    Args:
        frame: Typed; columns of text and of numbers are looked at.
        known: Columns that are meant to hold personal data, or are checked already.
        regions: As in `no_personal_data`.
    """
    found: list[Finding] = []
    for column in frame.iter_columns():
        if column.name in known:
            continue
        for kind in get_args(PersonalKind):
            count = int(personal_rows(column, kind, regions).sum())
            if count:
                sentence = f"{column.name}: {count} of {frame.height} rows {_SAID[kind]}"
                rule = f"no_personal_data({kind})"
                found.append(Finding(column.name, rule, count, frame.height, "warn", sentence, "personal", "screen"))
    return tuple(found)


def with_personal(report: Report, schema: Any) -> Report:
    """Add what looks like personal data in a column that the contract, a pandera schema, does not say it of."""
    if report.frame is None:
        return report
    found = screen_personal(report.frame, known=known_personal(schema))
    return replace(report, findings=(*report.findings, *found))


def known_personal(schema: Any) -> frozenset[str]:
    """Return the columns of a pandera schema that say `personal`, or have checks of `no_personal_data`."""
    return frozenset(
        name
        for name, column in schema.columns.items()
        if (column.metadata or {}).get("secure_ml", {}).get("personal")
        or any(str(check.name).startswith("no_personal_data(") for check in column.checks)
    )


def personal_rows(column: pl.Series, kind: PersonalKind, regions: Sequence[str] = ()) -> pl.Series:
    """Tell which cells hold personal data of one kind; a missing cell holds none.

    Where there are more than `MAX_CANDIDATES` distinct candidates, only cells among the sample are told.
    """
    import polars as pl

    texts = _texts(column, kind)
    none = pl.repeat(value=False, n=len(column), dtype=pl.Boolean, eager=True)
    if texts is None:
        return none
    pattern = f"{_CANDIDATES[kind]}|{_DIGITS}" if kind == "phone" and regions else _CANDIDATES[kind]
    candidates = texts.filter(texts.str.contains(pattern).fill_null(value=False)).unique()
    if len(candidates) > MAX_CANDIDATES:
        candidates = candidates.gather(candidates.hash(seed=0).arg_sort().head(MAX_CANDIDATES))
    proved = _proved(candidates.to_list(), _find(kind, regions))
    if not proved:
        return none
    return texts.is_in(pl.Series(sorted(proved), dtype=pl.String).implode()).fill_null(value=False)


def _texts(column: pl.Series, kind: PersonalKind) -> pl.Series | None:
    """Return a column as text; None where it cannot hold such data."""
    import polars as pl

    dtype = column.dtype
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if kind in ("email", "iban") or not dtype.is_numeric() or dtype.is_decimal():
        return None
    if dtype.is_float():
        whole = column.is_finite() & (column == column.floor()) & (column.abs() < _EXACT)
        column = column.set(~whole.fill_null(value=False), None).cast(pl.Int64)
    return column.set((column < 10_000_000).fill_null(value=False), None).cast(pl.String)


def _proved(candidates: list[str], find: Callable[[str], Iterator[Seen]]) -> set[str]:
    """Return the candidates with a match that passed, of a form of which more passed than chance explains."""
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
        for name, (pattern, chance) in _NATIONAL.items()
    )


def _find_national_ids(text: str) -> Iterator[Seen]:
    for name, chance, pattern, is_valid in _national():
        for match in pattern.finditer(text):
            bare = match[0].isdigit()
            form = _Form(f"{name} bare", max(chance, _BARE_CHANCE), True) if bare else _Form(name, chance)
            yield form, bool(is_valid(match[0]))
