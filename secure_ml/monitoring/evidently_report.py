"""The HTML drift report: our verdict first, then Evidently's pictures of the same two windows."""

from __future__ import annotations

import html
import os
import warnings

import numpy as np

from secure_ml.errors import UnavailableError
from secure_ml.monitoring.drift import PREDICTION, DriftReport, Window

__all__ = ["render_report"]


def render_report(reference: Window, current: Window, result: DriftReport, title: str) -> bytes:
    """Render the report as one HTML file that loads nothing from elsewhere.

    Raises:
        UnavailableError: Evidently could not render these windows.
    """
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Evidently's own: deprecations, and empty bins in its histograms
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
            raise UnavailableError(f"drift report: Evidently could not render it ({type(error).__name__})") from error
    head, body, rest = page.partition("<body>")
    if not body:
        head, rest = "", page
    return f"{head}<body>{_verdict(result, title)}{rest}".encode()


def _verdict(result: DriftReport, title: str) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(item.name)}</td><td>{html.escape(item.test)}</td>"
        f"<td>{html.escape(item.effect_name)} {item.effect:.3f}</td><td>{item.p_value:.2g}</td>"
        f"<td>{item.p_adjusted:.2g}</td><td>{'ALARM' if item.alarm else ''}</td></tr>"
        for item in result.comparisons
    )
    return (
        '<section style="font-family:sans-serif;margin:2em">'
        f"<h1>{html.escape(title)}</h1><p><strong>{html.escape(result.sentence)}</strong></p>"
        f"<p>An alarm needs a Holm-adjusted p-value below {result.settings.alpha} and an effect of at least "
        f"{result.settings.min_effect}.</p>"
        '<table border="1" cellpadding="4"><tr><th>compared</th><th>test</th><th>effect</th><th>p</th>'
        f"<th>adjusted p</th><th></th></tr>{rows}</table>"
        "<p>Below: Evidently's pictures of the same windows. Its tests are not corrected for their number, and decide "
        "nothing here.</p></section>"
    )
