"""The index of the validation docs: what blocks now, every model in every environment, and the trend over batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from secure_ml.validation_docs.charts import draw_trend
from secure_ml.validation_docs.markup import Markup, element, page
from secure_ml.validation_docs.state import TRAINING_SET, State, Validation, current
from secure_ml.validation_docs.validation_page import badge

__all__ = ["render_index"]

_TREND: Final = 60
_MOST_SHOWN: Final = 200
_CARDS: Final = 10
_ROWS: Final = 20
_ORDER: Final = ("blocked", "warned", "passed")
_SIGNS: Final = {"blocked": "✕", "warned": "!", "passed": "✓"}
_NOTHING: Final = {TRAINING_SET: "no screen found anything"}
_WORDS: Final = {"blocked": "blocked", "warned": "with warnings", "passed": "passed"}


def render_index(state: State) -> tuple[bytes, dict[str, Any]]:
    """Render the index, and the same as a document."""
    lines = {key: current(line) for key, line in state.lines.items()}
    blocked = [item for line in lines.values() for item in line if item.verdict == "blocked"]
    undecided = [item for item in blocked if item.entry is None or item.entry.state == "open"]
    several = len(state.places) > 1
    models = len({item.evidence.model for item in state.validations})
    said = ", ".join(
        [
            _count(models, "model"),
            _count(len({key[1:] for key in lines}), "environment"),
            _count(len(state.validations), "validation"),
        ]
    )
    body: list[Markup] = [
        element("h1", "Validation of all models"),
        element(
            "div",
            *_summary([item for line in lines.values() for item in line]),
            element("span", said, _class="soft"),
            _class="row",
        ),
        *_troubles(state),
    ]
    if undecided:
        body.append(element("h2", f"Blocked now ({len(undecided)})"))
        newest_first = sorted(undecided, key=lambda item: item.evidence.made_at, reverse=True)
        body += _folded(newest_first, _CARDS, "more that are blocked", lambda items: _cards(items, several))
    waiting = _waiting(state, undecided)
    if waiting:
        said = f"Refused before, and nobody decided ({len(waiting)})"
        body += [element("h2", said), *_folded(waiting, _CARDS, "more", lambda items: _cards(items, several))]
    if lines and not undecided and not waiting:
        body.append(element("p", "Nothing is blocked, or what is was decided about.", _class="card passed"))
    if not lines:
        body.append(element("p", "Nothing was validated yet.", _class="card"))
    if lines:
        body += [element("h2", "All environments"), _matrix(lines, several)]
    for key, line in state.lines.items():
        body += _model(key, line, several)
    body.append(
        element(
            "footer",
            "Made from signed evidence by the nightly run and at the end of each intake; ",
            element("a", "the same as JSON", href="index.json"),
            ". Signatures were verified when the page was made. The page itself is not signed, and no gate reads it.",
        )
    )
    return page("Validation of all models", *body), _document(state, lines)


def _waiting(state: State, undecided: Sequence[Validation]) -> list[Validation]:
    """Return what waits in quarantine besides, newest first: a later batch of the same name does not hide it."""
    shown = {item.entry.refusal.document for item in undecided if item.entry is not None}
    newest = {
        (item.place, item.evidence.model, item.policy, item.evidence.inputs.get("version")): item
        for item in state.validations
        if item.entry is not None
        and item.entry.state == "open"
        and item.verdict == "blocked"
        and item.entry.refusal.document not in shown
    }
    return sorted(newest.values(), key=lambda item: item.evidence.made_at, reverse=True)


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _environment(place: str, policy: str, several: bool) -> str:
    return f"home {place}, policy {policy}" if several else f"policy {policy}"


def _summary(items: Sequence[Validation]) -> list[Markup]:
    counts = Counter(item.verdict for item in items)
    return [
        badge(verdict, f"{_SIGNS[verdict]} {counts[verdict]} {_WORDS[verdict]}")
        for verdict in _ORDER
        if counts[verdict]
    ]


def _troubles(state: State) -> list[Markup]:
    if not state.troubles:
        return []
    return [
        element("h2", f"Does not verify ({len(state.troubles)})"),
        *(
            element(
                "article",
                element(
                    "div",
                    badge("blocked", "✕ not believed"),
                    element("span", trouble.sentence, _class="grow strong"),
                    _class="row",
                ),
                element("p", f"{trouble.model} · home {trouble.place}", _class="soft"),
                _class="card blocked",
            )
            for trouble in state.troubles
        ),
    ]


def _blocked(item: Validation, several: bool) -> Markup:
    more = len(item.reasons) - 1
    also = f" · and {more} more" if more > 0 else ""
    where = f"{_environment(item.place, item.policy, several)} · {item.evidence.made_at[:10]}{also}"
    return element(
        "article",
        element(
            "div",
            badge("blocked"),
            element("a", f"{item.evidence.model}: {item.batch}", href=item.link, _class="strong"),
            element("span", item.reasons[0] if item.reasons else "", _class="grow strong"),
            _class="row",
        ),
        element("p", where, _class="soft"),
        _class="card blocked",
    )


def _cards(items: Sequence[Validation], several: bool) -> Markup:
    return element("div", *(_blocked(item, several) for item in items))


def _folded(
    items: Sequence[Validation], shown: int, more: str, draw: Callable[[Sequence[Validation]], Markup]
) -> list[Markup]:
    """Draw the first items, and the others in a part that a person opens; what is left out stands in the JSON."""
    parts = [draw(items[:shown])] if shown else []
    rest = items[shown:]
    if rest:
        inner = [draw(rest[:_MOST_SHOWN])]
        if len(rest) > _MOST_SHOWN:
            left = f"{len(rest) - _MOST_SHOWN:,} more stand in the JSON beside this page."
            inner.append(element("p", left, _class="soft"))
        parts.append(element("details", element("summary", f"{len(rest):,} {more}"), *inner))
    return parts


def _matrix(lines: dict[tuple[str, str, str], list[Validation]], several: bool) -> Markup:
    """Return a table of models against environments, with the newest verdict of each batch counted."""
    environments = sorted({key[1:] for key in lines})
    head = [
        element("th", "model"),
        *(element("th", _environment(place, policy, several)) for place, policy in environments),
    ]
    rows = []
    for model in sorted({key[0] for key in lines}):
        cells = [element("td", model, _class="strong")]
        for place, policy in environments:
            found = lines.get((model, place, policy), [])
            badges = _summary(found) or [element("span", "not validated", _class="soft")]
            cells.append(
                element("td", element("div", *badges, _class="row"), data_label=_environment(place, policy, several))
            )
        rows.append(element("tr", *cells))
    table = element("table", element("thead", element("tr", *head)), element("tbody", *rows), _class="stack")
    return element("div", table, _class="card wide")


def _model(key: tuple[str, str, str], line: Sequence[Validation], several: bool) -> list[Markup]:
    model, place, policy = key
    newest = current(line)
    shown = line[-_TREND:]
    label = f"share of rows that broke the worst rule, the newest {len(shown)} validations, oldest first"
    shown_above = {item.evidence.cause for item in newest}
    older = [item for item in reversed(line) if item.evidence.cause not in shown_above]
    worst_first = sorted(newest, key=lambda item: _ORDER.index(item.verdict))
    passed = sum(item.verdict == "passed" for item in newest)
    parts: list[Markup] = [
        element(
            "div",
            *_summary(newest),
            element(
                "span",
                f"{len(newest)} batch{'' if len(newest) == 1 else 'es'}, {_count(len(line), 'validation')}",
                _class="soft",
            ),
            _class="row",
        ),
        draw_trend([item.bar for item in shown], label),
        element("p", label.capitalize(), ".", _class="soft"),
        *_folded(worst_first, min(len(newest) - passed + _ROWS, _MOST_SHOWN), "more batches", _table),
    ]
    parts += _folded(older, 0, f"earlier validation{'' if len(older) == 1 else 's'} of the same", _table)
    return [element("h2", f"{model} · {_environment(place, policy, several)}"), element("div", *parts, _class="card")]


def _state(item: Validation) -> Markup:
    if item.entry is None:
        return element("td", "–", _class="none")
    return element("td", item.entry.said, data_label="quarantine")


def _table(items: Sequence[Validation]) -> Markup:
    head = element(
        "tr", *(element("th", name) for name in ("batch", "verdict", "rows", "first finding", "quarantine", "when"))
    )
    rows = [
        element(
            "tr",
            element("td", element("a", item.batch, href=item.link)),
            element("td", badge(item.verdict)),
            element("td", f"{item.rows:,}", data_label="rows"),
            element("td", item.reasons[0] if item.reasons else _NOTHING.get(item.evidence.stage, "every rule holds")),
            _state(item),
            element("td", item.evidence.made_at[:10], data_label="when"),
        )
        for item in items
    ]
    return element("table", element("thead", head), element("tbody", *rows), _class="stack")


def _document(state: State, lines: dict[tuple[str, str, str], list[Validation]]) -> dict[str, Any]:
    return {
        "homes": list(state.places),
        "troubles": [
            {"home": trouble.place, "model": trouble.model, "sentence": trouble.sentence} for trouble in state.troubles
        ],
        "environments": [
            {
                "subject": subject,
                "home": place,
                "policy": policy,
                "verdicts": dict(Counter(item.verdict for item in newest)),
                "batches": {item.batch: item.link for item in newest},
            }
            for (subject, place, policy), newest in lines.items()
        ],
        "validations": [item.as_json() for item in state.validations],
    }
