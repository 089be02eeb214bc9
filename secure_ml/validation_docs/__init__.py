"""Validation docs: static HTML pages that show what passed, what warned and what blocked.

The pages are rendered from signed evidence. They are for people. They are not signed, and no gate reads them.
Import these names from here:

- `write_own_docs` writes the pages of this installation's home to `docs_folder`.
- `write_docs` writes the pages of several homes, each a `NamedHome`, to one folder.
- `render_own_doc` renders one page without writing it, for the report server.
- `page_of` returns the path of the page of one validation.
- `load_state` returns what the pages show, as a `ValidationState`.
- `render_page` renders a template of another folder in the layout of these pages, with the same escaping.
"""

from secure_ml.validation_docs.pages import render_page
from secure_ml.validation_docs.state import NamedHome, ValidationState, load_state
from secure_ml.validation_docs.write import OWN_HOME, docs_folder, page_of, render_own_doc, write_docs, write_own_docs

__all__ = [
    "OWN_HOME",
    "NamedHome",
    "ValidationState",
    "docs_folder",
    "load_state",
    "page_of",
    "render_own_doc",
    "render_page",
    "write_docs",
    "write_own_docs",
]
