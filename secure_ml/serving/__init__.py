"""Serving: the inference service of one released model.

`app.serve` starts it. `served_model` loads a verified release, `release_watcher` follows newer releases, `protocol`
parses
requests, `batcher` checks, scores and logs them, and `http_limits` bounds what a client may send.
"""
