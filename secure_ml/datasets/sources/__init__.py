"""Sources of batches: a local folder, an S3-compatible store, Postgres, and a DVC repository.

A source is a small frozen object in `Batches.sources`. It lists its batches and returns the bytes of one, read once and
bounded. The bytes must be listed in the signed manifest of the source (see `secure_ml.datasets.source_manifest`),
unless
the model switches this off.

Credentials come from the environment (`AWS_...`, `PG...` or a named variable), never from the file of the model. They
appear in no error, evidence or log.
"""

from secure_ml.datasets.sources.dvc import DVC
from secure_ml.datasets.sources.local import LocalFolder
from secure_ml.datasets.sources.postgres import Postgres, Query, Table
from secure_ml.datasets.sources.s3 import S3

__all__ = ["DVC", "S3", "LocalFolder", "Postgres", "Query", "Table"]
