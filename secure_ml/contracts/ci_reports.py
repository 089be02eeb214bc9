"""A report for a build: JUnit XML and SARIF 2.1.0. Both name column, rule and count, and never a cell's value.

JUnit has no warnings: a finding that only warns is a test case that passes and says so on its standard output.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from typing import get_args
from urllib.parse import quote
from xml.etree import ElementTree as Tree

from secure_ml.contracts.findings import Finding, ReasonCode, Report
from secure_ml.digests import digest_of

__all__ = ["render_junit", "render_sarif"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_MEANINGS: dict[ReasonCode, str] = {
    "missing_column": "A column of the contract is missing.",
    "new_column": "A column is not in the contract, or is there where the environment forbids it.",
    "column_order": "Columns do not stand in the contract's order.",
    "wrong_type": "Cells are not of the column's type.",
    "missing_values": "Values are missing.",
    "valency": "A cell holds too few or too many values.",
    "unexpected_value": "Values are outside the allowed ones.",
    "out_of_range": "Numbers or times are out of range.",
    "pattern": "Text does not have the form that the contract demands.",
    "length": "Text is too short or too long.",
    "duplicates": "Values or rows occur more than once.",
    "low_uniqueness": "There are fewer distinct values than the contract demands.",
    "high_uniqueness": "There are more distinct values than the contract allows.",
    "row_rule": "Rows break a rule across columns.",
    "aggregate": "A figure of the whole column or table is not as the contract demands.",
    "row_count": "There are too few or too many rows.",
    "freshness": "The newest row is too old.",
    "vocabulary": "Too much text is outside the vocabulary.",
    "drift": "The distribution is too far from the previous batch's.",
    "skew": "The distribution is too far from the training data's.",
    "personal": "Personal data where the contract allows none.",
    "poisoning": "A screen for poisoned data raised an alarm.",
    "provenance": "The batch's origin could not be proved.",
    "unreadable": "The file could not be read.",
    "check": "A check of the contract's author failed.",
}


def render_junit(report: Report, name: str) -> bytes:
    """Render one test suite: a test case for the contract as a whole, one for each finding and each rule that passed.

    Args:
        report: What the contract found.
        name: The contract's or model's name.

    Returns:
        UTF-8 XML that satisfies the schema of Jenkins' xUnit plugin (junit-10.xsd).
    """
    said = f"{report.rows} rows, {len(report.findings)} findings"
    said += f", {len(report.unjudged)} slices not judged" if report.unjudged else ""
    cases = [_case("contract", name, not report.accepted, said, "rejected")]
    cases += [
        _case(_subject(finding.column, finding.rule), name, finding.tier == "block", finding.sentence, finding.code)
        for finding in report.findings
    ]
    cases += [
        Tree.Element("testcase", {"name": _xml(_subject(*rule)), "classname": _xml(name)}) for rule in report.passed
    ]
    failures = sum(case.find("failure") is not None for case in cases)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0"}
    suites = Tree.Element("testsuites", {"name": "secure-ml validate", **counts})
    suite = Tree.SubElement(suites, "testsuite", {"name": _xml(name), **counts, "skipped": "0"})
    suite.extend(cases)
    Tree.indent(suites)
    rendered: bytes = Tree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return rendered + b"\n"


def _case(subject: str, name: str, failed: bool, sentence: str, kind: str) -> Tree.Element:
    case = Tree.Element("testcase", {"name": _xml(subject), "classname": _xml(name)})
    if failed:
        failure = Tree.SubElement(case, "failure", {"type": kind, "message": _xml(sentence)})
        failure.text = _xml(sentence)
    else:
        out = Tree.SubElement(case, "system-out")
        out.text = _xml(sentence if kind == "rejected" else f"warn: {kind}: {sentence}")
    return case


def _subject(column: str | None, rule: str) -> str:
    return f"{column}: {rule}" if column is not None else rule


def _xml(text: str) -> str:
    """Write what XML 1.0 cannot hold at all (most control characters, lone surrogates) as an escape."""
    return _NOT_XML.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def render_sarif(report: Report, name: str, file: str) -> bytes:
    """Render one SARIF run: a rule for each reason code that occurs, a result for each finding.

    Args:
        report: What the contract found.
        name: The contract's or model's name.
        file: Path of the file that was checked, relative where a code-scanning service shall find it.

    Returns:
        UTF-8 JSON after SARIF 2.1.0. A result's place is the file's first line, where a CSV file names its columns,
        and the column as a logical location.
    """
    codes = [code for code in get_args(ReasonCode) if any(finding.code == code for finding in report.findings)]
    uri = quote(file.replace("\\", "/").encode("utf-8", "surrogateescape"))
    place = {"artifactLocation": {"uri": uri, "index": 0}, "region": {"startLine": 1}}
    run = {
        "tool": {
            "driver": {
                "name": "secure-ml",
                "version": version("secure-ml"),
                "rules": [{"id": code, "shortDescription": {"text": _MEANINGS[code]}} for code in codes],
            }
        },
        "automationDetails": {"id": f"secure-ml/{quote(_xml(name), safe='')}/"},
        "artifacts": [{"location": {"uri": uri}}],
        "properties": {"accepted": report.accepted, "rows": report.rows},
        "columnKind": "unicodeCodePoints",
        "results": [
            {
                "ruleId": finding.code,
                "ruleIndex": codes.index(finding.code),
                "level": "error" if finding.tier == "block" else "warning",
                "message": {"text": _json(finding.sentence)},
                "locations": [{"physicalLocation": place, "logicalLocations": [_logical(finding)]}],
                "partialFingerprints": {
                    "columnAndRule/v1": digest_of([_json(finding.column or ""), _json(finding.rule)])
                },
                "properties": {
                    "rule": _json(finding.rule),
                    "failed": finding.failed,
                    "rows": finding.rows,
                    "firstRows": list(finding.first_rows),
                },
            }
            for finding in report.findings
        ],
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, ensure_ascii=True, allow_nan=False, indent=2).encode() + b"\n"


def _logical(finding: Finding) -> dict[str, str]:
    if finding.column is None:
        return {"name": "table", "kind": "object"}
    return {"name": _json(finding.column), "kind": "member"}


def _json(text: str) -> str:
    """Write lone surrogates as an escape: they are in no Unicode text."""
    return text.encode("utf-8", "backslashreplace").decode()
