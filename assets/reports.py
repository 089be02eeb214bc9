"""The HTML reports on loopback (`python -m assets.reports PORT`): only bytes that signed evidence names are served.

The validation docs are made from signed evidence for each request; the files under `reports/validation` are not read.
A plain file server would follow a link in the home to any file that its user may read, the signing key first.
"""

from __future__ import annotations

import html
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from secure_ml.errors import SecureMLError
from secure_ml.evidence import EvidenceLog, read_subjects
from secure_ml.installation import Installation
from secure_ml.spec import find_models
from secure_ml.validation_docs import render_own_doc

__all__ = ["serve_reports"]

_HOST = "127.0.0.1"


def serve_reports(installation: Installation, port: int) -> None:
    """Serve until the process ends."""
    home, trust, models = installation.home, installation.trust, sorted(find_models())

    def listed() -> bytes:
        names = [
            f"{model}/{name}"
            for model in models
            for evidence in reversed(EvidenceLog(home, trust, model).history("drift_report"))
            for name in evidence.subjects
        ]
        links = "".join(f'<li><a href="/{html.escape(name)}">{html.escape(name)}</a></li>' for name in names)
        docs = '<p><a href="/validation/index.html">Validation of all models</a></p>'
        return f"<!doctype html><title>Reports</title>{docs}<ul>{links}</ul>".encode()

    def report(path: str) -> bytes | None:
        model, _, name = path.partition("/")
        if model == "validation":
            return render_own_doc(installation, name or "index.html")
        if model not in models:
            return None
        for evidence in EvidenceLog(home, trust, model).history("drift_report"):
            if name in evidence.subjects:
                return read_subjects(evidence, home.reports / model)[name]
        return None

    class Reports(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0].removeprefix("/")
            try:
                found = report(path) if path else listed()
                code, content = (200, found) if found is not None else (404, b"no such report")
            except SecureMLError as error:
                code, content = 500, html.escape(str(error)).encode(errors="replace")
            self.send_response(code)
            kind = "application/json" if path.endswith(".json") else "text/html"
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)

    ThreadingHTTPServer((_HOST, port), Reports).serve_forever()


if __name__ == "__main__":
    serve_reports(Installation.for_verification(os.environ), int(sys.argv[1]))
