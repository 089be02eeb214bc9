"""Where things come from: the MLflow registry and the DuckDB lake, both derived from signed documents."""
