"""Validation docs: static HTML pages that show what passed, warned and blocked, rendered from signed evidence.

Import these names from here:

- `write_own_docs` and `docs_folder`: write the pages of this installation's home, and locate them.
- `write_docs`: write the pages of several homes into one folder.
- `render_own_doc`: render one page in memory, as the report server does for each request.
- `page_of`: the path of one validation's page.

The pages are for people. They are derived files, they are not signed, and no gate reads them.
"""

from secure_ml.validation_docs.write import OWN, docs_folder, page_of, render_own_doc, write_docs, write_own_docs

__all__ = ["OWN", "docs_folder", "page_of", "render_own_doc", "write_docs", "write_own_docs"]
