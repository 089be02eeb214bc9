"""`secure-ml validate`: validate a file against a data contract."""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_ml.commands.csv_options import add_csv_options, csv_options
from secure_ml.commands.output import ACCEPTED, REJECTED, AddCommand, counted, say
from secure_ml.errors import MalformedError

if TYPE_CHECKING:
    from secure_ml.contracts.findings import Finding, Report
    from secure_ml.profiles.document import Profile
    from secure_ml.tables.opened_table import OpenedTable
    from secure_ml.tiers import TierRules

__all__ = ["add"]

_FEW = 5
_SCREENED_ROWS = 1_000_000


def add(command: AddCommand) -> None:
    """Declare the command."""
    validate = command(
        "validate",
        _validate,
        "Validate a file against a data contract.",
        "Needs no Dagster and writes nothing. A finding names the column, the rule and a count, never a value.\n"
        "FILE is Parquet, Arrow IPC, JSON lines or CSV, recognised by its content. CONTRACT.py is executed.",
    )
    validate.add_argument(
        "contract", metavar="MODEL|CONTRACT.py", help="a registered model, or a file with one pandera schema"
    )
    validate.add_argument("file", metavar="FILE", type=Path, help="the file; a CSV file for MODEL may have no header")
    validate.add_argument(
        "--environment",
        metavar="NAME",
        help="where the file comes from: training, serving, or a name in the contract (default: all of them)",
    )
    validate.add_argument(
        "--previous",
        metavar="FILE|PROFILE.json",
        type=Path,
        help="the previous batch or its profile: look for drift",
    )
    validate.add_argument(
        "--training", metavar="FILE|PROFILE.json", type=Path, help="the training data or its profile: look for skew"
    )
    validate.add_argument(
        "--slice",
        metavar="COLUMN[=VALUE|=LOW..HIGH]",
        action="append",
        default=[],
        help="validate the rows of each value too, or of one value or range; repeatable",
    )
    validate.add_argument(
        "--policy",
        choices=["production", "experiment"],
        help="experiment warns where production blocks (default: SECURE_ML_POLICY, or production)",
    )
    validate.add_argument(
        "--personal-data",
        choices=["warn", "block", "off"],
        default="warn",
        help="warn about or block e-mail addresses, phone and card numbers, IBANs and national ids in columns that the "
        "contract does not declare personal; warn reads the first million rows, block reads all (default: warn)",
    )
    add_csv_options(validate)
    validate.add_argument("--junit", metavar="FILE", type=Path, help="also write the findings as JUnit XML")
    validate.add_argument("--sarif", metavar="FILE", type=Path, help="also write the findings as SARIF 2.1.0")


def _import() -> None:
    """Import with the garbage collector off, which saves a third of the time."""
    gc.disable()
    try:
        import ibis.backends.duckdb  # noqa: F401 - imported here so that it costs less

        import secure_ml.contracts.validate  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


def _validate(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    _policy(args)  # a misspelt policy is reported before anything is read
    _import()
    name, report = _report(args)
    if not report.rows:
        raise MalformedError(f"{args.file.name}: no rows, expected at least one")
    blocking = sum(finding.tier == "block" for finding in report.findings)
    warnings = len(report.findings) - blocking
    verdict = "accepted" if report.accepted else "rejected"
    policy = " under policy experiment" if _policy(args) == "experiment" else ""
    if args.junit or args.sarif:
        from secure_ml.contracts.ci_reports import render_junit, render_sarif

        if args.junit:
            _write(args.junit, render_junit(report, name))
        if args.sarif:
            _write(args.sarif, render_sarif(report, name, str(args.file)))
    say(
        args,
        {
            "ok": report.accepted,
            "contract": name,
            "file": str(args.file),
            "policy": _policy(args),
            "rows": report.rows,
            "findings": [asdict(finding) for finding in report.findings],
            "fallbacks": [asdict(fallback) for fallback in report.fallbacks],
            "unjudged": [asdict(part) for part in report.unjudged],
        },
        [f"{finding.tier}: {finding.sentence} [{finding.code}]{_first(finding)}" for finding in report.findings]
        + [f"not compiled: {item.column or 'table'}: {item.rule}: {item.why}" for item in report.fallbacks]
        + _unjudged(report),
        f"{args.file.name}: {verdict}{policy}: "
        f"{counted(report.rows, 'row')}, {counted(blocking, 'blocking finding')}, {counted(warnings, 'warning')}",
    )
    return ACCEPTED if report.accepted else REJECTED


def _first(finding: Finding) -> str:
    return f" first at row {finding.first_rows[0]}" if finding.first_rows else ""


def _unjudged(report: Report) -> list[str]:
    """Return lines about the slices with too few rows: one per slice, or one in all if there are many."""
    lines: list[str] = []
    for name in dict.fromkeys(part.slice for part in report.unjudged):
        parts = [part for part in report.unjudged if part.slice == name]
        if len(parts) <= _FEW:
            lines += [f"not judged: slice {part.part}: {_too_few(part.rows)}" for part in parts]
        else:
            rows = sum(part.rows for part in parts)
            lines.append(f"not judged: {len(parts)} slices of {name}, with {rows} rows in all, each has too few")
    return lines


def _too_few(rows: int) -> str:
    if rows < 2:
        return "1 row is too few" if rows else "no row is in it"
    return f"{rows} rows are too few"


def _report(args: argparse.Namespace) -> tuple[str, Report]:
    if args.contract.endswith(".py"):
        return _validate_with_file(args)
    from secure_ml.contracts.contract_file import Contract
    from secure_ml.contracts.relaxed_reports import relax_batch_report
    from secure_ml.contracts.validate import validate
    from secure_ml.errors import PreconditionError
    from secure_ml.safe_files import read_file
    from secure_ml.spec import find_model
    from secure_ml.tables.batch_files import open_batch

    if args.columns or args.null:
        raise PreconditionError(
            "validate: --columns and --null work with CONTRACT.py only; leave them out, the model declares them"
        )
    model = find_model(args.contract)
    content = read_file(args.file, max_bytes=model.batches.max_bytes)
    table = open_batch(content, model.batches, args.file.name)
    reading = {"columns": model.batches.columns, "null": model.batches.null}
    references = _references(args, model.schema, reading)
    report = validate(table, Contract.of_model(model), environment=args.environment, slices=args.slice, **references)
    return model.name, relax_batch_report(_screened(args, report, model.schema), _policy(args), model.label)


def _validate_with_file(args: argparse.Namespace) -> tuple[str, Report]:
    from secure_ml.contracts.contract_file import load_contract
    from secure_ml.contracts.relaxed_reports import relax_table_report
    from secure_ml.contracts.validate import validate
    from secure_ml.tables.data_files import open_table

    contract = load_contract(Path(args.contract))
    reading = csv_options(args)
    table = open_table(args.file, **reading)
    references = _references(args, contract, reading)
    report = validate(table, contract, environment=args.environment, slices=args.slice, **references)
    return contract.name, relax_table_report(_screened(args, report, contract.schema, table), _policy(args))


def _screened(args: argparse.Namespace, report: Report, schema: Any, table: OpenedTable | None = None) -> Report:
    if args.personal_data == "off":
        return report
    from secure_ml.screening.personal_data import with_personal

    blocks = args.personal_data == "block"  # a warning is not worth more time than the contract itself
    return with_personal(report, schema, table, tier=args.personal_data, most_rows=None if blocks else _SCREENED_ROWS)


def _policy(args: argparse.Namespace) -> TierRules:
    from secure_ml.tiers import parse_tier_rules

    return parse_tier_rules(args.policy or os.environ.get("SECURE_ML_POLICY", ""))


def _references(args: argparse.Namespace, contract: Any, reading: Mapping[str, Any]) -> dict[str, Profile]:
    from secure_ml.contracts.engine.drift import load_reference
    from secure_ml.errors import SecureMLError

    profiles: dict[str, Profile] = {}
    for name, path in (("previous", args.previous), ("training", args.training)):
        if path:
            try:
                profiles[name] = load_reference(path, contract, **reading)
            except SecureMLError as error:
                raise type(error)(f"--{name}: {error}") from None
    return profiles


def _write(path: Path, content: bytes) -> None:
    from secure_ml.errors import UnavailableError

    try:
        path.write_bytes(content)
    except OSError as error:
        raise UnavailableError(f"{path.name}: cannot be written ({error.strerror})") from None
