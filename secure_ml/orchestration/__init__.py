"""Dagster: the asset graph of a guarded model, its checks, jobs and sensors. The only package that imports Dagster.

`guarded_model.definitions_of(model)` returns everything that one model needs. Each stage has a file of its own, which
only connects Dagster to the stage function of `secure_ml.stages`.
"""
