"""Watching what is served: windows, drift, reports."""
