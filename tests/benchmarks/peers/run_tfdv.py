"""TFDV's statistics of a file: `python -m tests.benchmarks.peers.run_tfdv FILE`.

In one process, so that all of its CPU is counted. It takes no statistics of the two columns of timestamps.
"""

from __future__ import annotations

import sys

import pandas as pd
import tensorflow_data_validation as tfdv

from tests.benchmarks.measuring import measured


def work() -> object:
    frame = pd.read_parquet(sys.argv[1])
    options = tfdv.StatsOptions()
    statistics = tfdv.generate_statistics_from_dataframe(frame, stats_options=options, n_jobs=1)
    return {"columns": len(statistics.datasets[0].features), "bytes": statistics.ByteSize()}


measured(work)
