"""Metrics for Prometheus, with bounded labels: rules and columns come from the signed model, never from a request."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """All metrics of one service."""

    def __init__(self) -> None:
        """Register them."""
        self.registry = CollectorRegistry()
        self.requests = Counter("secure_ml_requests", "Answered requests", ["code"], registry=self.registry)
        self.rows = Counter("secure_ml_predictions", "Predicted and logged rows", registry=self.registry)
        self.refused = Counter(
            "secure_ml_refused_rows", "Rows that broke the contract", ["column"], registry=self.registry
        )
        self.seconds = Histogram(
            "secure_ml_request_seconds",
            "From the whole request to its answer",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.release = Gauge("secure_ml_release_number", "The release that serves", registry=self.registry)
        self.intact = Gauge("secure_ml_intact", "1 while the released files verify", registry=self.registry)

    def render(self) -> bytes:
        """Return the text exposition, version 0.0.4."""
        return generate_latest(self.registry)
