"""Metrics for Prometheus. Labels are bounded: columns come from the signed model, never from a request."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """All metrics of one service."""

    def __init__(self) -> None:
        """Register all metrics."""
        self.registry = CollectorRegistry()
        self.requests = Counter("secure_ml_requests", "InferenceResponse requests", ["code"], registry=self.registry)
        self.rows = Counter("secure_ml_predictions", "Predicted and logged rows", registry=self.registry)
        self.refused = Counter(
            "secure_ml_refused_rows", "Rows that violated the contract", ["column"], registry=self.registry
        )
        self.seconds = Histogram(
            "secure_ml_request_seconds",
            "Time from the complete request to its response",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.release = Gauge("secure_ml_release_number", "Number of the served release", registry=self.registry)
        self.intact = Gauge("secure_ml_intact", "1 while the released files verify, else 0", registry=self.registry)

    def render(self) -> bytes:
        """Return the text exposition, version 0.0.4."""
        return generate_latest(self.registry)
