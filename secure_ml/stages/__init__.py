"""The stages of a guarded model, one a file: each takes the evidence of the stage before and records its own.

`dataset` > `validated_dataset` > `training_set` > `trained_model` > `signed_model` > `release`, then
`inference_log` > `drift_report`. They know nothing of Dagster; the asset graph only calls them.
"""
