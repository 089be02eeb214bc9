"""Personal data is found among its look-alikes, counted by row, and never shown."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pandera.pandas
import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.contracts.engine.declared_profiles import profile_as_declared, profile_frame
from secure_ml.contracts.findings import Report
from secure_ml.contracts.rules import compile_rules
from secure_ml.contracts.validate import validate
from secure_ml.errors import PreconditionError
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model as heart_disease
from secure_ml.profiles.document import render as document_of
from secure_ml.screening import personal_data
from secure_ml.screening.personal_data import (
    known_personal,
    no_personal_data,
    personal_rows,
    screen_table,
    with_personal,
)
from secure_ml.screening.personal_kinds import NATIONAL_IDS
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.validated_dataset import validate_batch
from secure_ml.tables.data_files import open_table, table_of
from secure_ml.tables.opened_table import Limits
from tests.unit.screening.personal_examples import BEGIN, CASES, DOCUMENT, END, Case, examples, measure, render

CARD = "4111 1111 1111 1111"  # the networks' own test number


def rows(texts: list[Any], kind: personal_data.PersonalKind, **options: Any) -> list[bool]:
    return personal_rows(pl.Series(texts), kind, **options).to_list()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_recall_and_precision_on_made_up_examples(case: Case) -> None:
    figures = measure(case)
    assert figures.recall >= 0.95
    assert figures.mixed_recall >= 0.95
    assert figures.mixed_precision >= 0.9
    assert figures.false_alarms <= 0.005


def test_the_documented_figures_are_the_measured_ones() -> None:
    table = DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]
    assert table == render([measure(case) for case in CASES])


def test_the_documents_say_of_how_many_countries_ids_are_known() -> None:
    countries = {name.split(".")[0] for name in NATIONAL_IDS}
    assert f"national ids of {len(countries)} countries" in DOCUMENT.read_text().replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mail bob.o'neil+x@example.co.uk now", "email"),
        ("<ana@example.com>", "email"),
        ("+49 (30) 901820", "phone"),
        ("tel:+16502530000", "phone"),
        (CARD, "card"),
        ("paid with 378282246310005.", "card"),
        ("DE89 3704 0044 0532 0130 00 AND MORE", "iban"),
        ("nl91abna0417164300", "iban"),
        ("SSN 536-90-4399", "national_id"),
        ("RSSMRA85T10A562S", "national_id"),
    ],
)
def test_one_cell_is_enough(text: str, kind: personal_data.PersonalKind) -> None:
    assert rows([None, "nothing", text], kind) == [False, False, True]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("user@host", "email"),
        ("logo@2x.png", "email"),
        ("pkg@1.2.3", "email"),
        ("git@github.com:a/b.git", "email"),
        ("+1 2", "phone"),
        ("4111 1111 1111 1112", "card"),
        ("0000 0000 0000 0000", "card"),
        ("a4111111111111111", "card"),
        ("0.4111111111111111", "card"),
        ("DE88 3704 0044 0532 0130 00", "iban"),
        ("000-05-1120", "national_id"),
        ("123456782", "national_id"),
    ],
)
def test_a_look_alike_is_not_taken_for_one(text: str, kind: personal_data.PersonalKind) -> None:
    assert rows([text], kind) == [False]


def test_numbers_stored_as_numbers_are_looked_at() -> None:
    assert rows([4111111111111111, 1700000000000, 12], "card") == [True, False, False]
    assert rows([4111111111111111.0, 0.5, None, float("nan"), float("inf")], "card") == [True] + [False] * 4
    assert rows([True, False], "card") == [False, False]


def test_what_chance_explains_is_not_reported_and_what_it_does_not_is() -> None:
    from stdnum import luhn

    numbers = [str(4_000_000_000_000_000 + 7_919 * index) for index in range(1000)]
    assert 80 < sum(map(luhn.is_valid, numbers)) < 120
    assert not any(rows(numbers, "card"))
    cards = [number[:-1] + luhn.calc_check_digit(number[:-1]) for number in numbers[:300]]
    assert sum(rows(numbers + cards, "card")) > 300


def test_bare_national_phone_numbers_are_told_by_the_whole_column_only() -> None:
    assert rows(["6502530000"], "phone", regions=("US",)) == [False]
    assert rows(["(650) 253-0000"], "phone", regions=("US",)) == [True]
    assert rows(["(650) 253-0000"], "phone") == [False]
    assert all(rows([f"650253{number:04}" for number in range(50)], "phone", regions=("US",)))


def test_more_candidates_than_the_bound_give_a_lower_bound() -> None:
    texts = [f"user{index}@example.com" for index in range(1000)]
    assert sum(rows(texts, "email", candidates=100)) == 100
    assert rows(texts, "email", candidates=100) == rows(texts, "email", candidates=100)


def test_a_long_cell_costs_little_and_only_its_beginning_is_looked_at() -> None:
    long = "a" * personal_data.MAX_CHARACTERS
    assert rows([long + " bob@example.com", "bob@example.com " + long, "@" * 200_000, "1 " * 100_000], "email") == [
        *(False, True, False, False)
    ]


def contract(**settings: Any) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({"note": pa.Column(pl.String, no_personal_data(**settings), nullable=True)})


def test_the_checks_are_ordinary_pandera_checks() -> None:
    contract().validate(pl.DataFrame({"note": ["fine", None]}), lazy=True)
    with pytest.raises(pa.errors.SchemaErrors) as caught:
        contract().validate(pl.DataFrame({"note": [CARD, None, "bob@example.com"]}), lazy=True)
    rules = {str(getattr(error.check, "name", "")) for error in caught.value.schema_errors}
    assert rules == {"no_personal_data(card)", "no_personal_data(email)"}


def test_the_compiled_pass_hands_them_to_pandera_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(f"note\nfine\nbob@example.com\n{CARD}\n{CARD}\n")
    report = validate(open_table(tmp_path / "f.csv"), contract())
    assert [(item.sentence, item.code, item.tier) for item in report.findings] == [
        ("note: 2 of 4 rows hold a payment card number", "personal", "block"),
        ("note: 1 of 4 rows hold an e-mail address", "personal", "block"),
    ]
    assert len(report.fallbacks) == 5


def test_a_file_against_a_model_is_screened_as_the_gate_screens_it() -> None:
    schema = pa.DataFrameSchema({"note": pa.Column(pl.String)})
    frame = pl.DataFrame({"note": [CARD, "fine"]})
    clean = Report(2, (), frame, frame.clear())
    assert [item.sentence for item in with_personal(clean, schema).findings] == [
        "note: 1 of 2 rows hold a payment card number"
    ]
    untyped = replace(clean, frame=None)
    assert with_personal(untyped, schema) is untyped


def test_the_checks_work_on_pandas_too() -> None:
    schema = pandera.pandas.DataFrameSchema({"note": pandera.pandas.Column(str, no_personal_data())})
    schema.validate(pd.DataFrame({"note": ["fine"]}))
    with pytest.raises(pandera.errors.SchemaError, match=r"no_personal_data\(email\)"):
        schema.validate(pd.DataFrame({"note": ["fine", "bob@example.com"]}))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(PreconditionError, match="expected some of email, phone"):
        no_personal_data("mail")  # type: ignore[arg-type]


def test_the_screen_names_column_kind_and_count_and_no_value() -> None:
    frame = pl.DataFrame(
        {
            "note": ["bob@example.com", "ana@example.com", "fine"],
            "paid": [4111111111111111, 5555555555554444, 1],
            "mail": ["eve@example.com"] * 3,
        }
    )
    schema = pa.DataFrameSchema(
        {
            "note": pa.Column(pl.String),
            "paid": pa.Column(pl.Int64),
            "mail": pa.Column(pl.String, metadata={"secure_ml": {"personal": True}}),
        }
    )
    found = screen_table(table_of(frame), known=known_personal(compile_rules(schema), frame.columns))
    assert [(item.sentence, item.tier, item.code) for item in found] == [
        ("note: 2 of 3 rows hold an e-mail address", "warn", "personal"),
        ("paid: 2 of 3 rows hold a payment card number", "warn", "personal"),
    ]
    said = str([asdict(item) for item in found])
    assert "example.com" not in said
    assert "4111" not in said
    assert known_personal(compile_rules(contract()), frame.columns) == {"note"}


@pytest.mark.parametrize("pattern", ["[[:alpha:]_]+_mail", r"\p{L}+_mail", "^home_m|l$", "^home_mail$"])
def test_a_pattern_that_declares_a_column_as_personal_keeps_its_values_out_of_everything(pattern: str) -> None:
    schema = pa.DataFrameSchema({pattern: pa.Column(pl.String, regex=True, metadata={"secure_ml": {"personal": True}})})
    frame = pl.DataFrame({"home_mail": ["ada@example.com"] * 40, "contact": ["bob@example.org"] * 40})
    declared = frame.select("home_mail")
    for document in (profile_frame(declared, schema), profile_as_declared(table_of(declared), schema)):
        assert b"ada@" not in document_of(document)
    assert b"bob@" in document_of(profile_frame(frame, pa.DataFrameSchema({"contact": pa.Column(pl.String)})))
    known = known_personal(compile_rules(schema), frame.columns)
    assert known == {"home_mail"}
    assert {item.column for item in screen_table(table_of(frame), known=known)} == {"contact"}
    with pytest.raises(PreconditionError, match="the column is personal"):
        validate(table_of(declared), schema, slices=["home_mail"])


def test_a_users_own_check_is_not_taken_for_one_of_personal_data_by_its_name() -> None:
    own = pa.Check(lambda given: given.lazyframe.select(pl.lit(True)), name="no_personal_data(mine)")
    rules = compile_rules(pa.DataFrameSchema({"note": pa.Column(pl.String, own)}))
    assert {rule.code for rule in rules.of("note")} >= {"check"}
    assert known_personal(rules, ["note"]) == frozenset()


@pytest.mark.parametrize("case", [case for case in CASES if not case.regions], ids=lambda case: case.title)
def test_the_screen_of_a_table_finds_what_the_checks_of_a_column_find(case: Case) -> None:
    texts = examples(case)
    frame = pl.DataFrame({"note": texts})
    counts = {item.rule: item.failed for item in screen_table(table_of(frame))}
    kinds = get_args(personal_data.PersonalKind)
    expected = {f"no_personal_data({kind})": sum(rows(texts, kind)) for kind in kinds}
    assert counts == {rule: count for rule, count in expected.items() if count}
    assert counts[f"no_personal_data({case.kind})"] >= 180


def test_the_screen_says_where_it_looked_at_a_part_only() -> None:
    table = table_of(pl.DataFrame({"mail": [f"user{index}@example.com" for index in range(1000)]}))
    assert [item.sentence for item in screen_table(table, most_rows=300)] == [
        "mail: 300 of the first 300 rows hold an e-mail address"
    ]
    few = replace(table, limits=Limits(candidates=100))
    assert [item.sentence for item in screen_table(few, tier="block")] == [
        "mail: at least 100 of 1000 rows hold an e-mail address"
    ]


def test_the_screen_of_a_table_looks_at_numbers_and_at_columns_of_any_name() -> None:
    numbers = [4111111111111111, 5555555555554444, None, 12]
    floats = [4111111111111111.0, float("nan"), float("inf"), -1e300]
    frame = pl.DataFrame({'"; drop table batch; --': numbers, "x": floats, "l": [[1]] * 4, "b": [True] * 4})
    assert [(item.column, item.failed) for item in screen_table(table_of(frame))] == [
        ('"; drop table batch; --', 2),
        ("x", 1),
    ]
    assert screen_table(table_of(frame.clear())) == ()


def test_the_data_gate_warns_of_personal_data_in_a_column_that_is_not_meant_to_hold_any(
    installation: Installation, tmp_path: Path
) -> None:
    lines = heart_disease.batches.files["cleveland"].read_text().splitlines()
    (tmp_path / "noted.csv").write_text("".join(f"{line},{CARD if i < 7 else 'ok'}\n" for i, line in enumerate(lines)))
    columns = {**heart_disease.schema.columns, "note": pa.Column(pl.String)}
    model = replace(
        heart_disease,
        name="noted",
        batches=replace(
            heart_disease.batches,
            files={"noted": tmp_path / "noted.csv"},
            columns=(*heart_disease.batches.columns, "note"),
        ),
        contract=pa.DataFrameSchema(columns, strict=True),
    )
    ingest_batch(installation, model, "noted")
    evidence = validate_batch(installation, model, "noted")
    findings: Any = evidence.facts["findings"]
    (finding,) = [item for item in findings if item["code"] == "personal"]
    assert finding["sentence"] == "note: 7 of 303 rows hold a payment card number"
    assert CARD not in evidence.path.read_text()
