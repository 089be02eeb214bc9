"""The report server of `make ui` on loopback: a front page, drift reports and validation docs.

It serves only two kinds of bytes: pages that it renders from verified evidence for each request, and files whose digest
is in signed evidence. It reads no file under `reports/validation`. A plain file server would follow a link in the home
to any file that its user may read, such as the signing key.

Start it with `python -m assets.report_server PORT`. It expects Dagster at `SECURE_ML_UI_PORT` (default 3000) and MLflow
two ports above.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from assets.front_page import TEMPLATES, UiAddresses, render_front_page, render_report_list
from secure_ml.errors import SecureMLError
from secure_ml.evidence import EvidenceLog, read_subjects
from secure_ml.installation import Installation
from secure_ml.spec import GuardedModel, find_models
from secure_ml.stage_names import DRIFT_REPORT
from secure_ml.validation_docs import render_own_doc, render_page

__all__ = ["make_report_server"]

_HOST = "127.0.0.1"


def make_report_server(
    installation: Installation, models: Mapping[str, GuardedModel], port: int, addresses: UiAddresses
) -> ThreadingHTTPServer:
    """Return the server, bound to its port. The caller starts it with `serve_forever`.

    Args:
        installation: Home and trust root.
        models: The registered models, by name.
        port: Port on loopback. 0 takes a free one.
        addresses: Where Dagster and MLflow answer.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0].removeprefix("/")
            try:
                content = find_page(installation, models, path, addresses)
                status = 200 if content is not None else 404
            except SecureMLError as error:
                status, content = 500, render_page("error.html", TEMPLATES, problem=str(error))
            self._respond(
                status, content if content is not None else render_page("error.html", TEMPLATES, problem="no such page")
            )

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Keep successful requests out of the console of `make ui`."""

        def _respond(self, status: int, content: bytes) -> None:
            kind = "application/json" if status == 200 and self.path.endswith(".json") else "text/html"
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)

    return ThreadingHTTPServer((_HOST, port), Handler)


def find_page(
    installation: Installation, models: Mapping[str, GuardedModel], path: str, addresses: UiAddresses
) -> bytes | None:
    """Return the page at a path, or None if there is no such page.

    Raises:
        SecureMLError: If the evidence or the bytes of the page do not verify.
    """
    if not path:
        return render_front_page(installation, [models[name] for name in sorted(models)], addresses)
    if path == "reports.html":
        return render_report_list(installation, sorted(models))
    folder, _, name = path.partition("/")
    if folder == "validation":
        return render_own_doc(installation, name or "index.html")
    if folder in models:
        for report in EvidenceLog.open(installation, folder).history(DRIFT_REPORT):
            if name in report.subjects:
                return read_subjects(report, installation.home.reports / folder)[name]
    return None


def main(arguments: list[str]) -> None:
    """Serve on the port of the command line until the process ends."""
    first = int(os.environ.get("SECURE_ML_UI_PORT") or 3000)
    addresses = UiAddresses(dagster=f"http://{_HOST}:{first}", mlflow=f"http://{_HOST}:{first + 2}")
    installation = Installation.for_verification(os.environ)
    make_report_server(installation, find_models(), int(arguments[0]), addresses).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
