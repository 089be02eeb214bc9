"""HTML in which everything is escaped by construction: a text becomes markup through `element` and `page` only.

A page loads nothing, runs nothing and says so to the browser (Content-Security-Policy), so that a name which slips
through still could not run. Names come from files of strangers: what is not printable is shown as its code point.
"""

from __future__ import annotations

import html
from typing import Final

__all__ = ["Markup", "element", "page"]

_EMPTY: Final = frozenset({"meta"})
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_LONGEST: Final = 300

_STYLE: Final = """
:root { color-scheme: light dark;
  --ground: #f6f7f9; --paper: #ffffff; --ink: #1b2430; --soft: #5b6675; --line: #dde2e9; --draw: #4a78c2;
  --link: #2a5db0;
  --passed: #1d7a46; --passed-ground: #e3f4ea; --warned: #8a5a00; --warned-ground: #fdf1d8;
  --blocked: #b3261e; --blocked-ground: #fde7e5; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #12161c; --paper: #1b2129; --ink: #e4e9f0; --soft: #9aa6b5; --line: #2f3844; --draw: #7aa5ea;
  --link: #8fb5f2;
  --passed: #6fd39b; --passed-ground: #16301f; --warned: #efc062; --warned-ground: #362a10;
  --blocked: #ff9a92; --blocked-ground: #3d1a18; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .3rem 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .7rem; } h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .4rem 0; } a { color: var(--link); } nav, .soft, footer { color: var(--soft); font-size: .875rem; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .8rem; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1rem;
  margin: .6rem 0; min-width: 0; }
.card.blocked { border-left: .35rem solid var(--blocked); } .card.warned { border-left: .35rem solid var(--warned); }
.card.passed { border-left: .35rem solid var(--passed); }
.row { display: flex; flex-wrap: wrap; gap: .35rem .7rem; align-items: center; }
.row > .grow { flex: 1 1 14rem; min-width: 0; overflow-wrap: anywhere; } .strong { font-weight: 600; }
.badge { display: inline-block; border-radius: 1rem; padding: .05rem .6rem; font-size: .8125rem; font-weight: 600;
  white-space: nowrap; border: 1px solid var(--line); color: var(--soft); }
.badge.passed { color: var(--passed); background: var(--passed-ground); border-color: transparent; }
.badge.warned { color: var(--warned); background: var(--warned-ground); border-color: transparent; }
.badge.blocked { color: var(--blocked); background: var(--blocked-ground); border-color: transparent; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: .7rem; }
.grid > .card { margin: 0; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .2rem .9rem; margin: .4rem 0; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: .8125rem; }
th, td { padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; } td { overflow-wrap: anywhere; }

svg { display: block; width: 100%; height: auto; max-width: 100%; }
svg.small { width: 8rem; flex: none; } svg.trend { margin: .9rem 0 .4rem; max-width: 54rem; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.fill { fill: var(--draw); } .fill-passed { fill: var(--passed); } .fill-warned { fill: var(--warned); }
.fill-blocked { fill: var(--blocked); } .fill-soft { fill: var(--line); } .axis { stroke: var(--line); }
summary { cursor: pointer; color: var(--soft); }
@media (max-width: 40rem) {
  main { padding: .8rem .7rem 2rem; } h1 { font-size: 1.3rem; }
  table.stack thead { display: none; }
  table.stack, table.stack tbody, table.stack tr, table.stack td { display: block; }
  table.stack tr { padding: .5rem 0; border-bottom: 1px solid var(--line); } table.stack tr:last-child { border: 0; }
  table.stack td { border: 0; padding: .1rem 0; } table.stack td.none { display: none; }
  table.stack td[data-label]::before { content: attr(data-label) ": "; color: var(--soft); }
}
@media print { body { background: #fff; } .card { break-inside: avoid; } }
"""


class Markup(str):
    """Text that is HTML already. Made by `element` and `page`, nowhere else."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str) -> Markup:
    """Return one element; children that are no `Markup` are text, and are escaped.

    Args:
        name: The element's name, written here in the code.
        children: Text or markup.
        attributes: By name; `_class` is `class`, and `_` in other names is `-`. Values are escaped.
    """
    named = {"class" if key == "_class" else key.replace("_", "-"): value for key, value in attributes.items()}
    start = "".join([f"<{name}", *(f' {key}="{_escape(value)}"' for key, value in named.items()), ">"])
    inside = "".join(child if isinstance(child, Markup) else _escape(child) for child in children)
    return Markup(start if name in _EMPTY else f"{start}{inside}</{name}>")


def page(title: str, *body: str) -> bytes:
    """Return a whole page that loads nothing from elsewhere."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Markup(_STYLE)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', element('main', *body)), lang='en')}\n".encode()


def _escape(text: str) -> str:
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    plain = "".join(
        letter
        if letter.isprintable()
        else f"\\u{ord(letter):04x}"
        if ord(letter) < 1 << 16
        else f"\\U{ord(letter):08x}"
        for letter in shown
    )
    return html.escape(plain, quote=True)
