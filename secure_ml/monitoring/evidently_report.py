"""The HTML drift report: our verdict first, then Evidently's plots of the same two windows."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Final

import numpy as np

from secure_ml.errors import UnavailableError
from secure_ml.monitoring.drift import PREDICTION, DriftReport, Window
from secure_ml.validation_docs.pages import render_page

__all__ = ["render_report"]

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render_report(reference: Window, current: Window, result: DriftReport, title: str) -> bytes:
    """Render the report as one HTML file that loads nothing from elsewhere.

    Raises:
        UnavailableError: If Evidently cannot render these windows.
    """
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations and empty bins inside Evidently
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        def table(window: Window) -> pd.DataFrame:
            frame = pd.DataFrame(window.x, columns=list(window.features))
            frame[PREDICTION] = window.scores
            return frame

        before, after = table(reference), table(current)
        shown = [name for name in before.columns if not (before[name].isna().all() or after[name].isna().all())]
        definition = DataDefinition(numerical_columns=shown)
        try:
            with np.errstate(all="ignore"):
                snapshot = Report([DataDriftPreset(columns=shown)]).run(
                    Dataset.from_pandas(after[shown], data_definition=definition),
                    Dataset.from_pandas(before[shown], data_definition=definition),
                )
                page = snapshot.get_html_str(as_iframe=False)
        except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
            raise UnavailableError(
                f"drift report: Evidently cannot render it ({type(error).__name__}); retry, or report the fault"
            ) from error
    head, body, rest = page.partition("<body>")
    if not body:
        head, rest = "", page
    verdict = render_page("drift_verdict.html", _TEMPLATES, result=result, title=title).decode()
    return f"{head}<body>{verdict}{rest}".encode()
