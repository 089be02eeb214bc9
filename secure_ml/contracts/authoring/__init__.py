"""Authoring: write a contract from a profile, and say what changed between two contracts.

`infer` derives rules from a profile, `python_source` writes them as Python, and `diff` compares two contracts with the
sets of values that `allowed_values` computes.
"""
