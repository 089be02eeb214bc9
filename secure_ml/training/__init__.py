"""Training: fit and evaluate a model, and save it in formats that run no code.

`evaluation` fits, evaluates and promotes, and `artifacts` renders and scans the files of a model.
"""
