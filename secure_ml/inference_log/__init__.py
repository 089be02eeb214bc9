"""The inference log: durable records of every prediction, sealed into Parquet segments.

`writer.LogWriter` writes records, `segments` reads and seals them, and `records` defines their format.
"""
