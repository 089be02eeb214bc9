"""Made-up personal data, look-alikes, and what the screen finds: `python -m tests.unit.screening.personal_examples`.

Every address, number and id is drawn from a fixed seed; none belongs to anybody but by chance.
"""

from __future__ import annotations

import hashlib
import random
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import phonenumbers
import polars as pl
from stdnum import iban, luhn

from secure_ml.screening.personal_data import PersonalKind, personal_rows

DOCUMENT = Path(__file__).parents[3] / "docs" / "personal_data.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end -->\n"
TRUE_ROWS, OTHER_ROWS = 200, 500
REGIONS = ("US", "GB", "DE")
SENTENCES = ("{}", "please reach me at {} before noon", "({})", "contact: {}.", "{} (work), none at home")
Draw = random.Random


def digits(draw: Draw, count: int) -> str:
    return "".join(draw.choice("0123456789") for _ in range(count))


def email(draw: Draw) -> str:
    first, last = (
        draw.choice(["ana", "bob", "chen", "Dörte", "e", "f.g"]),
        draw.choice(["lee", "o'neil", "smith-x", "π"]),
    )
    local = draw.choice(["{0}.{1}", "{0}{1}", "{0}+{1}", "{0}_{1}99"]).format(first, last)
    host = draw.choice(["example.com", "mail.example.org", "uni-x.example.ac.uk", "EXAMPLE.NET", "müller.example.de"])
    at = " (at) " if draw.random() < 0.03 else "@"  # people who hide it are not found
    return f"{local}{at}{host}"


def phone(draw: Draw, form: int, regions: tuple[str, ...] | None = None) -> str:
    region = draw.choice(regions or sorted(phonenumbers.SUPPORTED_REGIONS))
    kind = draw.choice([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE])
    example = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    if example is None:
        return phone(draw, form, regions)
    for _ in range(50):
        text = str(example.national_number)
        other = phonenumbers.PhoneNumber(example.country_code, int(text[:-4] + digits(draw, 4)))
        if phonenumbers.is_valid_number(other):
            return phonenumbers.format_number(other, form)
    return phonenumbers.format_number(example, form)


def card(draw: Draw) -> str:
    prefix, length = draw.choice([("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("3528", 16)])
    body = prefix + digits(draw, length - len(prefix) - 1)
    number = body + luhn.calc_check_digit(body)
    groups = [number[:4], number[4:10], number[10:]] if length == 15 else [number[i : i + 4] for i in range(0, 16, 4)]
    return draw.choice(["", " ", "-"]).join(groups)


def account(draw: Draw) -> str:
    country, letters, count = draw.choice([("DE", 0, 18), ("NL", 4, 10), ("GB", 4, 14), ("AT", 0, 16), ("PL", 0, 24)])
    bban = "".join(draw.choice("ABCDEFGHKLMNPRSTUVWX") for _ in range(letters)) + digits(draw, count)
    number = country + iban.calc_check_digits(f"{country}00{bban}") + bban
    return draw.choice([number, iban.format(number), number.lower()])


def national_id(draw: Draw) -> str:
    day, month, year = f"{draw.randint(1, 28):02}", f"{draw.randint(1, 12):02}", f"{draw.randint(50, 99)}"

    def capital() -> str:
        return draw.choice("ABCDEFGHLMNPRSTVZ")

    forms: dict[str, Callable[[], str]] = {
        "be.nn": lambda: f"{year}.{month}.{day}-{digits(draw, 3)}.{digits(draw, 2)}",
        "br.cpf": lambda: f"{digits(draw, 3)}.{digits(draw, 3)}.{digits(draw, 3)}-{digits(draw, 2)}",
        "ca.sin": lambda: f"{draw.randint(1, 7)}{digits(draw, 2)} {digits(draw, 3)} {digits(draw, 3)}",
        "ch.ssn": lambda: f"756.{digits(draw, 4)}.{digits(draw, 4)}.{digits(draw, 2)}",
        "cn.ric": lambda: f"110105{19}{year}{month}{day}{digits(draw, 3)}{draw.choice('0123456789X')}",
        "de.idnr": lambda: f"{digits(draw, 2)} {digits(draw, 3)} {digits(draw, 3)} {digits(draw, 3)}",
        "es.dni": lambda: f"{digits(draw, 8)}{capital()}",
        "es.nie": lambda: f"{draw.choice('XYZ')}{digits(draw, 7)}{capital()}",
        "fi.hetu": lambda: f"{day}{month}{year}-{digits(draw, 3)}{draw.choice('0123456789ABCDEFHJK')}",
        "fr.nir": lambda: f"1 {year} {month} 75 {digits(draw, 3)} {digits(draw, 3)} {digits(draw, 2)}",
        "gb.nhs": lambda: f"{digits(draw, 3)} {digits(draw, 3)} {digits(draw, 4)}",
        "in_.aadhaar": lambda: f"{draw.randint(2, 9)}{digits(draw, 3)} {digits(draw, 4)} {digits(draw, 4)}",
        "it.codicefiscale": lambda: f"{''.join(capital() for _ in range(6))}{year}A{day}H501{capital()}",
        "kr.rrn": lambda: f"{year}{month}{day}-{draw.randint(1, 4)}{digits(draw, 6)}",
        "mx.curp": lambda: (
            f"{draw.choice('BCD')}A{capital()}{capital()}{year}{month}{day}H{draw.choice(['DF', 'JC', 'NL'])}"
            f"{''.join(draw.choice('BCDFGLMN') for _ in range(3))}0{digits(draw, 1)}"
        ),
        "se.personnummer": lambda: f"{year}{month}{day}-{digits(draw, 4)}",
        "us.ssn": lambda: f"{digits(draw, 3)}-{digits(draw, 2)}-{digits(draw, 4)}",
    }
    return valid(draw.choice(sorted(forms)), forms)


def valid(name: str, forms: Mapping[str, Callable[[], str]]) -> str:
    is_valid = import_module(f"stdnum.{name}").is_valid
    return next(text for text in iter(forms[name], "") if is_valid(text))


def bare_national_id(draw: Draw) -> str:
    """Return one that is written in digits alone: the Netherlands, Poland, South Africa."""
    born = f"{draw.randint(50, 99)}{draw.randint(1, 12):02}{draw.randint(1, 28):02}"
    forms: dict[str, Callable[[], str]] = {
        "nl.bsn": lambda: digits(draw, 9),
        "pl.pesel": lambda: f"{born}{digits(draw, 5)}",
        "za.idnr": lambda: f"{born}{digits(draw, 4)}08{digits(draw, 1)}",
    }
    return valid(draw.choice(sorted(forms)), forms)


LOOK_ALIKES: dict[str, Callable[[Draw], str]] = {
    "order numbers": lambda draw: draw.choice(["ORD-2024-{}", "{}", "#{}", "PO {}"]).format(digits(draw, 8)),
    "ten digits": lambda draw: digits(draw, 10),
    "sixteen digits": lambda draw: digits(draw, 16),
    "sixteen digits from 4": lambda draw: "4" + digits(draw, 15),
    "nine digits in a row": lambda draw: str(100_000_000 + draw.randint(0, 10_000)),
    "dates and times": lambda draw: f"2024-11-{draw.randint(10, 28)} 1{digits(draw, 1)}:22:33.{digits(draw, 6)}",
    "compact times": lambda draw: f"202411{draw.randint(10, 28)}1{digits(draw, 1)}2233",
    "seconds since 1970": lambda draw: str(1_700_000_000 + draw.randint(0, 10**7)),
    "milliseconds since 1970": lambda draw: str(1_700_000_000_000 + draw.randint(0, 10**10)),
    "MD5 and SHA-256": lambda draw: draw.choice([hashlib.md5, hashlib.sha256])(digits(draw, 9).encode()).hexdigest(),
    "UUIDs": lambda draw: str(uuid.UUID(int=draw.getrandbits(128))),
    "versions": lambda draw: f"pkg@{digits(draw, 1)}.{digits(draw, 2)}.{digits(draw, 1)}",
    "addresses of machines": lambda draw: ".".join(str(draw.randint(10, 255)) for _ in range(4)),
    "coordinates": lambda draw: f"{draw.uniform(-90, 90):.14f},{draw.uniform(-180, 180):.14f}",
    "prices": lambda draw: f"{draw.randint(1, 999)},{digits(draw, 3)}.{digits(draw, 2)} EUR",
    "ISBNs": lambda draw: f"978-3-16-{digits(draw, 6)}-{digits(draw, 1)}",
    "handles and files": lambda draw: draw.choice(["@u{}", "logo{}@2x.png", "git@host.com:{}"]).format(digits(draw, 2)),
    "part numbers": lambda draw: f"{digits(draw, 4)}-{digits(draw, 4)}-{digits(draw, 4)}-{digits(draw, 4)}",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    title: str
    kind: PersonalKind
    draw: Callable[[Draw], str]
    regions: tuple[str, ...] = ()


FORMATS = phonenumbers.PhoneNumberFormat
CASES = (
    Case("e-mail address", "email", email),
    Case("phone, `+49 ...`", "phone", lambda draw: phone(draw, draw.choice([FORMATS.INTERNATIONAL, FORMATS.E164]))),
    Case("phone, as written in US, GB, DE", "phone", lambda draw: phone(draw, FORMATS.NATIONAL, REGIONS), REGIONS),
    Case("payment card", "card", card),
    Case("IBAN", "iban", account),
    Case("national id with letters or marks, sixteen countries", "national_id", national_id),
    Case("national id in digits alone, three countries", "national_id", bare_national_id),
)


@dataclass(frozen=True)
class Figures:
    case: Case
    recall: float
    false_alarms: float
    worst: str
    mixed_recall: float
    mixed_precision: float


def examples(case: Case) -> list[str]:
    """Return cells that hold such data, and as many of each look-alike."""
    draw = random.Random(1)
    true = [draw.choice(SENTENCES).format(case.draw(draw)) for _ in range(TRUE_ROWS)]
    return true + [make(draw) for make in LOOK_ALIKES.values() for _ in range(TRUE_ROWS // 10)]


@cache
def measure(case: Case) -> Figures:
    draw = random.Random(0)
    true = [draw.choice(SENTENCES).format(case.draw(draw)) for _ in range(TRUE_ROWS)]
    recall = found(true, case) / TRUE_ROWS
    alarms = {
        name: found([make(draw) for _ in range(OTHER_ROWS)], case) / OTHER_ROWS for name, make in LOOK_ALIKES.items()
    }
    worst = max(alarms, key=lambda name: alarms[name])
    others = [draw.choice(SENTENCES).format(LOOK_ALIKES[draw.choice(list(LOOK_ALIKES))](draw)) for _ in range(1800)]
    flagged = personal_rows(pl.Series(true + others), case.kind, case.regions)
    hits = int(flagged.head(TRUE_ROWS).sum())
    return Figures(
        case,
        recall,
        sum(alarms.values()) / len(alarms),
        f"{worst}: {alarms[worst]:.1%}" if alarms[worst] else "none",
        hits / TRUE_ROWS,
        hits / max(1, int(flagged.sum())),
    )


def found(texts: list[str], case: Case) -> int:
    return int(personal_rows(pl.Series(texts), case.kind, case.regions).sum())


def render(figures: list[Figures]) -> str:
    lines = [
        "| kind | recall | false alarms | the worst look-alike | recall, 1 in 10 | precision, 1 in 10 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {item.case.title} | {item.recall:.1%} | {item.false_alarms:.2%} | {item.worst} | {item.mixed_recall:.1%} "
        f"| {item.mixed_precision:.1%} |"
        for item in figures
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    table = render([measure(case) for case in CASES])
    sys.stdout.write(table)
    if DOCUMENT.exists():
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}{table}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
