"""What the poisoning screens catch of planted poison: `python -m tests.attacks.poisoning_figures` writes the tables.

They go into `docs/poisoning.md`; the constants that it prints last are those of `secure_ml/screening/poisoning.py`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secure_ml.screening.poisoning import SCREENS, compare_batches, flag_rows
from tests.attacks.poison import DATA, KINDS, SHARES, Kind, forest, linear, plant, success

DOCUMENT = Path(__file__).parents[2] / "docs" / "poisoning.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end -->\n"
SEEDS = range(4)
LEARNERS = {"flipped labels": linear, "rows with a trigger": forest, "copies": forest}


@dataclass(frozen=True)
class Figures:
    """Means over the seeds.

    Attributes:
        recall: By screen, share of the poisoned rows that it flagged.
        false_alarms: By screen, share of the clean rows that it flagged.
        worst: By screen, the largest share of all rows that it flagged.
        raised: By screen, how often there was a finding about the poisoned batch.
        wronged: By screen, how often there was one about the clean anchor.
    """

    recall: dict[str, float]
    false_alarms: dict[str, float]
    worst: dict[str, float]
    raised: dict[str, int]
    wronged: dict[str, int]


def measure(name: str, kind: Kind, share: float, seeds: Iterable[int]) -> Figures:
    caught: dict[str, list[float]] = {rule: [] for rule in SCREENS}
    wrong: dict[str, list[float]] = {rule: [] for rule in SCREENS}
    flagged_at_all: dict[str, list[float]] = {rule: [] for rule in SCREENS}
    raised, wronged = dict.fromkeys(SCREENS, 0), dict.fromkeys(SCREENS, 0)
    for seed in seeds:
        planted = plant(name, kind, share, seed)
        flags = flag_rows(planted.x, planted.y)
        for rule, flagged in flags.items():
            caught[rule].append(float(flagged[planted.poison].mean()) if planted.poison.any() else 0.0)
            wrong[rule].append(float(flagged[~planted.poison].mean()))
            flagged_at_all[rule].append(float(flagged.mean()))
        for finding in compare_batches(flags, planted.batches, anchor="anchor"):
            (raised if finding.sentence.startswith("batch batch:") else wronged)[finding.rule] += 1
    return Figures(
        {rule: float(np.mean(values)) for rule, values in caught.items()},
        {rule: float(np.mean(values)) for rule, values in wrong.items()},
        {rule: max(values) for rule, values in flagged_at_all.items()},
        raised,
        wronged,
    )


def harm(name: str, kind: Kind, share: float, seeds: Iterable[int]) -> float:
    return float(np.mean([success(plant(name, kind, share, seed), LEARNERS[kind]) for seed in seeds]))


def constants(figures: dict[tuple[str, Kind, float], Figures]) -> dict[str, tuple[float, float]]:
    """Return recall at 5 % and false alarms of each screen, means over the data sets."""
    found: dict[str, tuple[float, float]] = {}
    for rule, screen in SCREENS.items():
        own = [item for (_, kind, share), item in figures.items() if kind == screen.against and share == 0.05]
        recall = float(np.mean([item.recall[rule] for item in own]))
        found[rule] = recall, float(np.mean([item.false_alarms[rule] for item in own]))
    return found


def render(
    clean: dict[str, Figures],
    figures: dict[tuple[str, Kind, float], Figures],
    harms: dict[tuple[str, Kind, float], float],
) -> str:
    names = ", ".join(rule.replace("_", " ") for rule in SCREENS)
    lines = [
        f"| data | poison | of the batch | attack succeeds | {names.replace(', ', ' | ')} | findings of {len(SEEDS)} |",
        "| --- | --- | --- | --- |" + " --- |" * (len(SCREENS) + 1),
    ]
    for name, item in clean.items():
        cells = " | ".join(f"- / {item.false_alarms[rule]:.1%}" for rule in SCREENS)
        wrongly = sum(item.raised.values()) + sum(item.wronged.values())
        lines.append(f"| {name} | none | 0 % | | {cells} | {wrongly or 'none'} |")
    for (name, kind, share), item in figures.items():
        cells = " | ".join(f"{item.recall[rule]:.0%} / {item.false_alarms[rule]:.1%}" for rule in SCREENS)
        by = ", ".join(f"{rule.replace('_', ' ')} {count}" for rule, count in item.raised.items() if count)
        success_rate = f"{harms[name, kind, 0.0]:.0%} → {harms[name, kind, share]:.0%}"
        lines.append(f"| {name} | {kind} | {share:.0%} | {success_rate} | {cells} | {by or 'none'} |")
    return "\n".join(lines) + "\n"


def summary(measured: dict[str, tuple[float, float]], worst: dict[str, float]) -> str:
    lines = ["| screen | against | finds | flags of clean rows | at most |", "| --- | --- | --- | --- | --- |"]
    for rule, (recall, false_alarms) in measured.items():
        cells = f"{recall:.0%} | {false_alarms:.1%} | {worst[rule]:.1%}"
        lines.append(f"| `{rule}` | {SCREENS[rule].against} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    warnings.simplefilter("ignore")  # a linear model that did not converge
    clean = {name: measure(name, "flipped labels", 0.0, SEEDS) for name in DATA}
    cases = [(name, kind, share) for kind in KINDS for name in DATA for share in SHARES]
    figures = {case: measure(*case, SEEDS) for case in cases}
    harms = {(name, kind, at): harm(name, kind, at, SEEDS) for name, kind, _ in cases[::3] for at in (0.0, *SHARES)}
    worst = {rule: max(item.worst[rule] for item in clean.values()) for rule in SCREENS}
    tables = f"{summary(constants(figures), worst)}\n{render(clean, figures, harms)}"
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}{tables}{END}{rest.partition(END)[2]}")
    sys.stdout.write(tables)


if __name__ == "__main__":
    main()
