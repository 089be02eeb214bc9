"""What Dagster injects: each hands out a library object."""
