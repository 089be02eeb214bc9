"""The command `secure-ml`.

Exit codes: 0 accepted, verified or done; 1 rejected: a contract, a signature or a policy said no; 2 unreadable,
unavailable or wrong use. Results stand on standard output, one sentence for people on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from secure_ml.errors import RejectedError, SecureMLError

__all__ = ["main"]

ACCEPTED, REJECTED, UNUSABLE = 0, 1, 2

_ENVIRONMENT = """\
environment:
  SECURE_ML_HOME    where state lives (default: .secure_ml/ in the working directory)
  SECURE_ML_SIGNER  private key, file2:/absolute/path.pem (default: ~/.config/secure_ml/signer.pem)
  SECURE_ML_TRUST   trust root, a folder with keys/*.pem (default: ~/.config/secure_ml/trust)

exit codes: 0 accepted or done, 1 rejected, 2 unreadable, unavailable or wrong use"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    chosen = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = chosen.run
    try:
        return run(chosen)
    except RejectedError as error:
        return _fail(chosen, error, REJECTED)
    except SecureMLError as error:
        return _fail(chosen, error, UNUSABLE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE


def _fail(chosen: argparse.Namespace, error: SecureMLError, code: int) -> int:
    if chosen.json:
        print(json.dumps({"ok": False, "error": type(error).__name__, "reason": str(error)}))
    print(f"secure-ml {chosen.command}: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="secure-ml",
        description="Guarded models: contracts, signed evidence, releases, and the service that trusts only them.",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str, more: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=f"{text}\n\n{more}",
            epilog=_ENVIRONMENT,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.add_argument("--json", action="store_true", help="print one JSON document instead of text")
        added.set_defaults(run=run)
        return added

    check = command("check", _check, "Say what a model's definition lacks.", "Runs nothing and writes nothing.")
    check.add_argument("model", metavar="MODEL", help="a registered model")
    validate = command(
        "validate",
        _validate,
        "Hold a CSV file against a model's data contract.",
        "Needs no Dagster and writes nothing. Findings name column, rule and count, never a value.",
    )
    validate.add_argument("model", metavar="MODEL", help="a registered model")
    validate.add_argument("file", metavar="FILE", type=Path, help="a CSV file; a first line with names is optional")
    verify = command(
        "verify",
        _verify,
        "Verify the released model, and all evidence back to the data.",
        "Reads each file once and holds it against signatures whose keys are in the trust root.",
    )
    verify.add_argument("model", metavar="MODEL", help="a released model")
    serve = command(
        "serve",
        _serve,
        "Serve the released model over HTTP (Open Inference Protocol, /predict, /metrics).",
        "Starts only on a release that verifies, swaps to a newer one, and stops serving after one changed byte.\n"
        "Needs no signing key.",
    )
    serve.add_argument("model", metavar="MODEL", help="a released model")
    serve.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8080, help="port to bind, 0 for a free one (default: %(default)s)")
    serve.add_argument(
        "--unsafe-expose-without-authentication",
        action="store_true",
        help="allow a --host that is not loopback; put an authenticating proxy in front",
    )
    status = command("status", _status, "Show what each stage decided last.", "Every document shown was verified.")
    status.add_argument("model", metavar="MODEL", nargs="?", help="a registered model (default: all)")
    quarantine = command(
        "quarantine",
        _quarantine,
        "Show what was refused: batches and windows, with reasons.",
        "quarantine list [MODEL] lists; quarantine show MODEL ID shows reasons and where the failing rows are.",
    )
    quarantine.add_argument("action", choices=["list", "show"], help="what to show")
    quarantine.add_argument("model", metavar="MODEL", nargs="?", help="a registered model")
    quarantine.add_argument("id", metavar="ID", nargs="?", help="the first characters of an id from the list")
    log = command(
        "log",
        _log,
        "Show the newest records of the inference log.",
        "Personal columns (input, request id) are left out unless asked for.",
    )
    log.add_argument("model", metavar="MODEL", help="a released model")
    log.add_argument("--last", type=_count, default=20, help="how many records (default: %(default)s)")
    log.add_argument("--with-personal-columns", action="store_true", help="show inputs and request ids too")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 100_000:
        raise ValueError(text)
    return count


def _say(chosen: argparse.Namespace, document: dict[str, Any], lines: list[str], sentence: str) -> None:
    if chosen.json:
        print(json.dumps(document, ensure_ascii=False, default=str))
    else:
        for line in lines:
            print(line)
    print(sentence, file=sys.stderr)


def _check(chosen: argparse.Namespace) -> int:
    from secure_ml.conformance import check_model
    from secure_ml.spec import find_model

    found = list(check_model(find_model(chosen.model)))
    said = f"{chosen.model}: {len(found)} things to mend" if found else f"{chosen.model}: ready to run"
    _say(chosen, {"ok": not found, "model": chosen.model, "findings": found}, found, said)
    return REJECTED if found else ACCEPTED


def _validate(chosen: argparse.Namespace) -> int:
    from dataclasses import asdict

    from secure_ml.contracts.checking import check
    from secure_ml.contracts.reading import parse_batch
    from secure_ml.home import read_file
    from secure_ml.spec import find_model

    model = find_model(chosen.model)
    content = read_file(chosen.file, max_bytes=model.batches.max_bytes)
    report = check(parse_batch(content, model.batches, chosen.file.name), model)
    blocking = sum(finding.tier == "block" for finding in report.findings)
    warnings = len(report.findings) - blocking
    verdict = "accepted" if report.accepted else "rejected"
    _say(
        chosen,
        {
            "ok": report.accepted,
            "model": model.name,
            "rows": report.rows,
            "findings": [asdict(finding) for finding in report.findings],
        },
        [f"{finding.tier}: {finding.sentence}" for finding in report.findings],
        f"{chosen.file.name}: {verdict}: {report.rows} rows, {blocking} blocking findings, {warnings} warnings",
    )
    return ACCEPTED if report.accepted else REJECTED


def _verify(chosen: argparse.Namespace) -> int:
    from secure_ml.gates import current_release, find, read_released, trace
    from secure_ml.installation import Installation

    place = Installation.for_verification(os.environ)
    release = current_release(place.home, place.trust, chosen.model)
    files = read_released(place.home, place.trust, release)
    decision = find(place.home, place.trust, chosen.model, "release", _digest(release.inputs["cause"]))
    if decision is None or decision.document != release.inputs["evidence:release"]:
        raise RejectedError(
            f"release {release.number}: the evidence that allowed it is gone or was replaced; restore it"
        )
    chain = trace(place.home, place.trust, decision)
    folder = place.home.models / chosen.model / release.model_digest
    document = {
        "ok": True,
        "model": chosen.model,
        "release": release.number,
        "model_digest": release.model_digest,
        "folder": str(folder),
        "files": dict(release.files),
        "evidence": [str(step.path) for step in chain],
        "trust": str(place.trust.root),
    }
    lines = [f"{digest}  {name}" for name, digest in release.files.items()]
    lines += [f"{step.document}  evidence/{step.model}/{step.stage}" for step in chain]
    sentence = (
        f"{chosen.model}: release {release.number} verifies: {len(files)} files in {folder}, "
        f"{len(chain)} evidence documents back to the data"
    )
    _say(chosen, document, lines, sentence)
    return ACCEPTED


def _digest(text: str) -> Any:
    from secure_ml.digests import parse_digest

    return parse_digest(text, "release")


def _serve(chosen: argparse.Namespace) -> int:
    from secure_ml.installation import Installation
    from secure_ml.serving.app import serve

    place = Installation.for_verification(os.environ)
    serve(
        place.home,
        place.trust,
        chosen.model,
        host=chosen.host,
        port=chosen.port,
        unsafe_expose_without_authentication=chosen.unsafe_expose_without_authentication,
    )
    return ACCEPTED


def _status(chosen: argparse.Namespace) -> int:
    from secure_ml.errors import UnavailableError
    from secure_ml.gates import current_release, history
    from secure_ml.installation import Installation

    place = Installation.for_verification(os.environ)
    stages = (
        *("dataset", "validated_dataset", "training_set", "trained_model", "signed_model", "release"),
        *("inference_log", "drift_report", "drift_response"),
    )
    folder = place.home.evidence
    models = [chosen.model] if chosen.model else sorted(path.name for path in folder.glob("*") if path.is_dir())
    document: dict[str, Any] = {"ok": True, "home": str(place.home.root), "models": {}}
    lines: list[str] = []
    for model in models:
        shown: dict[str, Any] = {"release": None, "stages": {}}
        try:
            release = current_release(place.home, place.trust, model)
            shown["release"] = {"number": release.number, "model_digest": release.model_digest}
            lines.append(f"{model}: release {release.number}, model {release.model_digest[:12]}")
        except UnavailableError:
            lines.append(f"{model}: nothing is released")
        for stage in stages:
            newest: dict[str, Any] = {}
            for evidence in history(place.home, place.trust, model, stage):
                newest[evidence.inputs.get("batch", "")] = evidence
            shown["stages"][stage] = [
                {
                    "batch": batch or None,
                    "decision": evidence.decision,
                    "reasons": list(evidence.reasons),
                    "made_at": evidence.made_at,
                }
                for batch, evidence in newest.items()
            ]
            for batch, evidence in newest.items():
                of = f"{stage} {batch}".strip()
                why = f": {evidence.reasons[0]}" if evidence.reasons else ""
                lines.append(f"  {evidence.made_at[:19]}  {of:<32} {evidence.decision}{why}")
        document["models"][model] = shown
    _say(chosen, document, lines, f"{len(models)} models in {place.home.root}")
    return ACCEPTED


def _quarantine(chosen: argparse.Namespace) -> int:
    from secure_ml.datasets.quarantine import list_quarantine, show_quarantine
    from secure_ml.errors import PreconditionError
    from secure_ml.home import Home

    home = Home.from_environment(os.environ)
    if chosen.action == "show":
        if not chosen.model or not chosen.id:
            raise PreconditionError("quarantine show: expected MODEL and ID, as quarantine list prints them")
        shown = show_quarantine(home, chosen.model, chosen.id)
        lines = [f"{name}: {value}" for name, value in shown.items() if name != "reasons"]
        lines += [f"reason: {reason}" for reason in shown["reasons"]]
        _say(chosen, {"ok": True, **shown}, lines, f"{len(shown['reasons'])} reasons")
        return ACCEPTED
    found = list_quarantine(home, chosen.model)
    lines = [
        f"{item['id'][:12]}  {item['model']}  {item.get('batch') or item['stage']}  {item['reasons'][0]}"
        for item in found
    ]
    _say(chosen, {"ok": True, "quarantine": found}, lines, f"{len(found)} in quarantine")
    return ACCEPTED


def _log(chosen: argparse.Namespace) -> int:
    from secure_ml.home import Home
    from secure_ml.inference_log.sealing import newest_records

    records = newest_records(Home.from_environment(os.environ), chosen.model, chosen.last)
    rows = [record.as_json(personal=chosen.with_personal_columns) for record in records]
    lines = ["  ".join(str(value) for value in row.values()) for row in rows]
    if rows:
        lines.insert(0, "  ".join(rows[0]))
    _say(chosen, {"ok": True, "records": rows}, lines, f"{chosen.model}: the newest {len(rows)} records")
    return ACCEPTED


if __name__ == "__main__":
    sys.exit(main())
