"""JUnit XML and SARIF of a report: their structure, and names that try to break out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree as Tree

import polars as pl
import pytest

from secure_ml.contracts.ci_reports import render_junit, render_sarif
from secure_ml.contracts.findings import Finding, ReasonCode, Report

HOSTILE = [
    "]]><testcase/>",
    '" message="x',
    "<!ENTITY x SYSTEM 'file:///etc/passwd'>",
    "&lt;&amp;",
    "a\x00b\x1b[2J\ufffe",
    "lone \ud800 surrogate",
    '"},{"ruleId":"x"',
    "line\nbreak\r\t",
    "\u202eright to left",
    "",
]

JUNIT_ATTRIBUTES = {
    "testsuites": ({"tests", "failures", "errors", "name"}, set()),
    "testsuite": ({"name", "tests", "failures", "errors"}, {"skipped"}),
    "testcase": ({"name"}, {"classname"}),
    "failure": (set(), {"type", "message"}),
    "system-out": (set(), set()),
}
"""Element to required and optional attributes, from the junit-10.xsd of Jenkins' xUnit plugin."""

JUNIT_CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "system-out"},
    "failure": set(),
    "system-out": set(),
}


def report(*findings: Finding) -> Report:
    accepted = all(finding.tier == "warn" for finding in findings)
    return Report(10, findings, pl.DataFrame({"a": [1]}) if accepted else None, pl.DataFrame())


def finding(column: str | None = "chol", tier: Any = "block", code: ReasonCode = "out_of_range") -> Finding:
    return Finding(column, "greater_than_or_equal_to(50)", 3, 10, tier, f"{column}: 3 of 10 rows below 50", code)


def check_junit(content: bytes) -> Tree.Element:
    root = Tree.fromstring(content)
    assert root.tag == "testsuites"
    for element in root.iter():
        required, optional = JUNIT_ATTRIBUTES[element.tag]
        assert required <= set(element.keys()) <= required | optional
        assert {child.tag for child in element} <= JUNIT_CHILDREN[element.tag]
    (suite,) = root
    for level in (root, suite):
        assert int(level.attrib["tests"]) == len(list(root.iter("testcase")))
        assert int(level.attrib["failures"]) == len(list(root.iter("failure")))
        assert level.attrib["errors"] == "0"
    return root


def check_sarif(content: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(content)
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "secure-ml"
    rules = [rule["id"] for rule in driver["rules"]]
    assert len(set(rules)) == len(rules)
    assert set(rules) <= set(get_args(ReasonCode))
    assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning")
        assert result["message"]["text"]
        (location,) = result["locations"]
        artifact = location["physicalLocation"]["artifactLocation"]
        assert run["artifacts"][artifact["index"]]["location"]["uri"] == artifact["uri"]
        assert location["physicalLocation"]["region"]["startLine"] >= 1
    return document


def test_junit_has_a_case_for_the_contract_and_one_for_each_finding() -> None:
    root = check_junit(render_junit(report(finding(), finding("age", "warn")), "heart"))
    names = [case.attrib["name"] for case in root.iter("testcase")]
    assert names == ["contract", "chol: greater_than_or_equal_to(50)", "age: greater_than_or_equal_to(50)"]
    failures = [case.find("failure") for case in root.iter("testcase")]
    assert [failure is not None for failure in failures] == [True, True, False]
    assert failures[1] is not None
    assert failures[1].attrib == {"type": "out_of_range", "message": "chol: 3 of 10 rows below 50"}


def test_junit_of_an_accepted_batch_has_no_failure_and_still_says_what_was_warned_about() -> None:
    root = check_junit(render_junit(report(finding("age", "warn")), "heart"))
    assert root.attrib["failures"] == "0"
    said = [out.text for out in root.iter("system-out")]
    assert said == ["10 rows, 1 findings", "warn: out_of_range: age: 3 of 10 rows below 50"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_column_stays_text_in_junit(hostile: str) -> None:
    root = check_junit(render_junit(report(finding(hostile)), hostile))
    assert len(list(root.iter("testcase"))) == 2
    shown = root.findall(".//testcase")[1].attrib["name"]
    escaped = hostile.replace("\x00", "\\x00").replace("\x1b", "\\x1b").replace("\ufffe", "\\ufffe")
    escaped = escaped.replace("\ud800", "\\ud800")
    assert shown == f"{escaped}: greater_than_or_equal_to(50)"


def test_what_xml_cannot_hold_breaks_the_document_where_it_is_not_escaped() -> None:
    case = Tree.tostring(Tree.Element("testcase", {"name": HOSTILE[4]}))
    with pytest.raises(Tree.ParseError):
        Tree.fromstring(case)


def test_sarif_has_a_rule_for_each_reason_code_and_a_result_for_each_finding() -> None:
    given = report(finding(), finding("age", "warn"), finding(None, code="row_count"))
    run = check_sarif(render_sarif(given, "heart", "batches/a b.csv"))["runs"][0]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["out_of_range", "row_count"]
    assert [result["level"] for result in run["results"]] == ["error", "warning", "error"]
    places = [result["locations"][0] for result in run["results"]]
    assert {place["physicalLocation"]["artifactLocation"]["uri"] for place in places} == {"batches/a%20b.csv"}
    assert [place["logicalLocations"][0]["name"] for place in places] == ["chol", "age", "table"]


def test_sarif_of_a_clean_report_is_an_empty_list_of_results() -> None:
    run = check_sarif(render_sarif(report(), "heart", "a.csv"))["runs"][0]
    assert run["results"] == []
    assert run["properties"] == {"accepted": True, "rows": 10}


def test_every_reason_code_can_be_a_sarif_rule() -> None:
    given = report(*(finding(code=code) for code in get_args(ReasonCode)))
    run = check_sarif(render_sarif(given, "heart", "a.csv"))["runs"][0]
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == set(get_args(ReasonCode))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_column_stays_text_in_sarif(hostile: str) -> None:
    run = check_sarif(render_sarif(report(finding(hostile)), hostile, hostile.replace("\ud800", "")))["runs"][0]
    (result,) = run["results"]
    assert result["locations"][0]["logicalLocations"][0]["name"] == hostile.replace("\ud800", "\\ud800")
    assert set(run["artifacts"][0]["location"]["uri"]) <= set(map(chr, range(33, 127))) - set('"<>\\^`{|}')


def test_the_same_finding_has_the_same_fingerprint_in_every_batch() -> None:
    first = check_sarif(render_sarif(report(finding()), "heart", "a.csv"))["runs"][0]["results"][0]
    second = check_sarif(render_sarif(report(finding("age"), finding()), "heart", "b.csv"))["runs"][0]["results"]
    assert second[1]["partialFingerprints"] == first["partialFingerprints"]
    assert second[0]["partialFingerprints"] != first["partialFingerprints"]


def test_the_documents_name_every_reason_code_and_no_other() -> None:
    text = (Path(__file__).parents[3] / "docs/reason_codes.md").read_text()
    table = text.split("\n## ")[0]
    documented = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert documented == list(get_args(ReasonCode))
