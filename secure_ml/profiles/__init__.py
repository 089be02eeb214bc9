"""Profiles: what is in a table, from one scan, as a document that merges and from which drift is measured.

`profiling` makes a profile, `document` renders and parses it, `merging` joins two, and `distances` compares two.
"""
