"""Monitoring: drift of served data against the training data, and its report.

`drift` compares two windows, and `evidently_report` renders the HTML report.
"""
