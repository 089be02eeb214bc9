"""How much poison a screen can find at all: `python -m tests.attacks.poisoning_power` writes the table.

From what each screen was measured to flag, of poison and of clean rows, follows how large a share of a batch must be
poison for a finding: the smallest of `SHARES` at which at least four in five draws raise one. The anchor is as large
as the batch. It goes into `docs/poisoning.md`.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np

from secure_ml.screening.poisoning import SCREENS, compare_batches
from tests.attacks.poison import DATA
from tests.attacks.poisoning_figures import DOCUMENT, SEEDS, measure

BEGIN, END = "<!-- power -->\n", "<!-- end of power -->\n"
SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
SIZES = (100, 300, 1000, 4000)
DRAWS = 50


def least_share(rule: str, rows: int, recall: float, false_alarms: float) -> float | None:
    """Return the smallest share of poison that is found in four of five draws, None where none is."""
    draw = np.random.default_rng(0)
    origins = ["anchor"] * rows + ["batch"] * rows
    for share in SHARES:
        poison = round(share * rows)
        raised = 0
        for _ in range(DRAWS):
            flagged = draw.random(2 * rows) < false_alarms
            flagged[rows : rows + poison] = draw.random(poison) < recall
            found = compare_batches({rule: flagged}, origins, anchor="anchor")
            raised += any(item.sentence.startswith("batch batch:") for item in found)
        if raised >= 0.8 * DRAWS:
            return share
    return None


def render() -> str:
    lines = [
        "| screen | data | finds | flags of clean rows | " + " | ".join(f"{rows:,} rows" for rows in SIZES) + " |",
        "| --- | --- | --- | --- |" + " --- |" * len(SIZES),
    ]
    for rule, screen in SCREENS.items():
        for name in DATA:
            figures = measure(name, screen.against, 0.05, SEEDS)
            recall, false_alarms = figures.recall[rule], figures.false_alarms[rule]
            shares = [least_share(rule, rows, recall, false_alarms) for rows in SIZES]
            cells = " | ".join("none" if share is None else f"{share:.0%}" for share in shares)
            lines.append(f"| `{rule}` | {name} | {recall:.0%} | {false_alarms:.1%} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    warnings.simplefilter("ignore")  # a linear model that did not converge
    table = render()
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}{table}{END}{rest.partition(END)[2]}")
    sys.stdout.write(table)


if __name__ == "__main__":
    main()
