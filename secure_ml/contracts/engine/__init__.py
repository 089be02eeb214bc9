"""The engine: a compiled contract over a table, in one aggregate and as few scans as its rules need.

`run.run_rules` is the entry. `binding` fits a contract to the columns of a table, `row_rules` and `column_rules` turn
one rule into an expression, `aggregate_pass` counts all of them in one query, and `pandera_fallback` runs what does not
compile. Only `contracts.validate` and `screening` use this package from outside.
"""
