"""Lineage for people: the MLflow registry and the DuckDB lake. Both are derived, and no gate reads them.

`mlflow_registry` logs signed models, and `lake` builds views over files of record.
"""
