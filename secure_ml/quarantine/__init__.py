"""Quarantine: rejected batches with their reasons and failing rows, for people to decide about.

`folder` renders the files of one entry, and `entries` lists the entries of a model. No gate reads a quarantine folder.
"""
