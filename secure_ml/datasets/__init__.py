"""Datasets: sources of batches, their signed manifests, and the manifests of dataset versions.

`sources` reads batches, `source_manifest` verifies where bytes come from, and `version_manifest` describes and compares
versions.
"""
