"""Run all cases on a local Spark: `python -m tests.conformance.run_spark FOLDER`, in Spark's own environment.

One session on loopback, one thread, no UI. The last line of standard output is JSON: for each case its findings and
what did not compile, and under "profiles" the profiles of one table: read as one partition, cut into three, and empty.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import ibis
from pyspark.sql import SparkSession

from secure_ml.contracts.validate import validate
from secure_ml.profiles.document import render
from secure_ml.profiles.profiling import profile_table
from tests.conformance.cases import CASES
from tests.conformance.profiled import frame_to_profile
from tests.pandera_oracle import of_findings

SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",  # a short life: no second compiler
    "spark.ui.enabled": "false",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "1",
}


def main(folder: Path) -> None:
    os.environ["PYSPARK_PYTHON"] = sys.executable  # of the workers
    builder = SparkSession.builder.master("local[1]").appName("conformance")
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    found: dict[str, object] = {}
    try:
        engine = ibis.pyspark.connect(session)
        for number, case in enumerate(CASES):
            path = folder / f"{number}.parquet"
            case.frame.write_parquet(path)
            report = validate(engine.read_parquet(path), case.schema)
            verdict = [[*key, failed] for key, failed in of_findings(report.findings).items()]
            found[case.name] = {
                "rows": report.rows,
                "verdict": verdict,
                "fallbacks": [f"{item.rule}: {item.why}" for item in report.fallbacks],
            }
        path = folder / "profiled.parquet"
        frame_to_profile().write_parquet(path)
        whole = engine.read_parquet(path)
        session.read.parquet(str(path)).repartition(3).createOrReplaceTempView("parts")
        tables = {"whole": whole, "parts": engine.table("parts"), "empty": whole.filter(whole["small"] < 0)}
        found["profiles"] = {name: render(profile_table(table)).decode() for name, table in tables.items()}
    finally:
        session.stop()
    print(json.dumps(found))


main(Path(sys.argv[1]))
