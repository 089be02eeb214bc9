"""The code location: the graphs of all registered models, their sensors and schedules."""

from __future__ import annotations

import dagster as dg

from assets.guarded_model import definitions_of
from resources.installation import InstallationResource
from secure_ml.spec import find_models
from sensors import schedules, watching

__all__ = ["defs"]


def _definitions() -> dg.Definitions:
    models = find_models()
    parts = [definitions_of(model) for model in models.values()]
    parts += [watching.definitions_of(model) for model in models.values()]
    parts += [schedules.definitions_of(name) for name in models]
    shared = dg.Definitions(
        resources={"installation": InstallationResource()},
        executor=dg.in_process_executor,  # the multiprocess executor pays every import once a step
    )
    return dg.Definitions.merge(shared, *parts)


defs = _definitions()
