"""Where batches come from besides the inbox: a local folder, an S3-compatible store, Postgres, a DVC repository.

Each source is a small frozen object that a model's file names in `Batches.sources`. It lists the batches that it
has, and hands out the bytes of one, read once and bounded. What a source hands out is not believed: its bytes are
held against the source's signed manifest (see `secure_ml.datasets.source_manifest`), unless the model's file says
otherwise.

Credentials come from the environment (`AWS_...`, `PG...`, a named variable), never from the model's file, and stand
in no error, evidence or log.
"""

from secure_ml.datasets.sources.dvc import DVC
from secure_ml.datasets.sources.local import LocalFolder
from secure_ml.datasets.sources.postgres import Postgres, Query, Table
from secure_ml.datasets.sources.s3 import S3

__all__ = ["DVC", "S3", "LocalFolder", "Postgres", "Query", "Table"]
