"""The subset of regular expressions on which the engines agree: what is in it means the same, the rest is refused."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest

from secure_ml.contracts.regex_subset import portable
from secure_ml.errors import PreconditionError

INSIDE = (
    "a", "^a$", r"\d", r"\D+", r"\s", r"\S$", "a|b", "[^a]", "a.b", "^.$", "[a-c]+$", "(?:abc)+", r"\.", r"\\", "é",
    r"[^\s]", "a{2}", "^(?:a|é)$", "b|^a", r"^[A-Z]{2}$", r"^[a-z0-9.]+@[a-z0-9]+\.[a-z.]+$",
    "a+?b", r"[\d.,-]", "[-a]",
)  # fmt: skip
OUTSIDE = (
    "(?i)a", r"\w", r"\b", "(?=a)", r"(a)\1", "a++", "a**", "(?P<n>a)", "[[:alpha:]]", "[a&&b]", "a{,2}", "", "a|", "(",
    ")", "a{2000}", r"\x41", r"\pL", r"\Z", r"\A", "(a+)+b", "(a|a)*b", "^*", "a" * 1001, "[b-a]", "[a", "\x00", "x{1",
    "(a?){30}a{30}", "(a|b){2}",
)  # fmt: skip
TEXT = (
    "", "a", "b", "ab", "aab", "abcabc", "a\nb", "a\n", "\n", "é", "e\u0301", "A", "AB", "ab\r", "1", "١", "²", " ",
    "\u00a0", "\u2028", "x\u0085y", "a.b", "a@b.de", "👩‍👩‍👧", "\\", ".", "abc", "a\u2028b", "1.2",
    "-", "\ud7ff", "\U0010ffff",
)  # fmt: skip


@pytest.mark.parametrize("pattern", INSIDE)
def test_what_is_inside_finds_in_duckdb_what_the_pattern_as_written_finds_in_polars(pattern: str) -> None:
    text = pl.DataFrame({"x": TEXT})
    connection = duckdb.connect()
    connection.register("given", text.to_arrow())
    found = connection.execute("SELECT x FROM given WHERE regexp_matches(x, ?)", [portable(pattern)]).fetchall()
    expected = text.filter(pl.col("x").str.contains(pattern))["x"].to_list()
    assert sorted(row[0] for row in found) == sorted(expected)


SPELLED = [("a$", r"a\z"), (".", r"[^\n]"), ("(a)", "(?:a)"), ("a+?", "a+"), (r"\/-", "/-"), (r"[\-]", r"[\-]")]


@pytest.mark.parametrize(("pattern", "rewritten"), SPELLED)
def test_what_engines_read_in_two_ways_is_written_in_the_one_that_all_read_alike(pattern: str, rewritten: str) -> None:
    assert portable(pattern) == rewritten


@pytest.mark.parametrize("pattern", OUTSIDE)
def test_what_is_outside_is_refused_with_a_reason_that_does_not_quote_it(pattern: str) -> None:
    with pytest.raises(PreconditionError, match="the pattern") as caught:
        portable(pattern)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("shorthand", [r"\d", r"\s", r"\D", r"\S", "."])
def test_shorthands_hold_the_same_characters_in_duckdb_and_polars_over_all_of_unicode(shorthand: str) -> None:
    every = pl.DataFrame({"x": [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]})
    connection = duckdb.connect()
    connection.register("given", every.to_arrow())
    found = connection.execute(
        "SELECT count(*), sum(unicode(x)) FROM given WHERE regexp_matches(x, ?)", [portable(f"^{shorthand}$")]
    ).fetchall()
    expected = every.filter(pl.col("x").str.contains(f"^{shorthand}$"))["x"]
    assert found == [(len(expected), sum(ord(sign) for sign in expected))]
