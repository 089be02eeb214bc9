"""whylogs' profile of a file: `python -m tests.benchmarks.peers.run_whylogs FILE`."""

from __future__ import annotations

import sys

import pandas as pd
import whylogs

from tests.benchmarks.measuring import measured


def work() -> object:
    view = whylogs.log(pandas=pd.read_parquet(sys.argv[1])).view()
    return {"columns": len(view.get_columns()), "bytes": len(view.serialize())}


measured(work)
