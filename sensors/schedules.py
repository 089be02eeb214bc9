"""Nightly validation at 02:00."""

from __future__ import annotations

import dagster as dg

from secure_ml.orchestration.keys import job_name

__all__ = ["definitions_of"]


def definitions_of(model: str) -> dg.Definitions:
    """Return the schedule of one model; it runs unless someone stops it."""
    return dg.Definitions(
        schedules=[
            dg.ScheduleDefinition(
                name=job_name(model, "nightly"),
                job_name=job_name(model, "nightly_validation"),
                cron_schedule="0 2 * * *",
                default_status=dg.DefaultScheduleStatus.RUNNING,
            )
        ]
    )
