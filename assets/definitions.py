"""The code location: each deployed model's graph, the nightly schedules and the resources."""

from __future__ import annotations

import dagster as dg

from assets import heart_disease
from resources.installation import installation
from secure_ml.orchestration.guarded_model import definitions_of
from secure_ml.spec import find_models
from sensors import schedules

__all__ = ["defs"]

_CHAINS = {module.model.name: module.chain for module in (heart_disease,)}
"""Assets of the models that have a file of their own here; any other registered model gets the same chain."""


def _definitions() -> dg.Definitions:
    models = find_models()
    return dg.Definitions.merge(
        dg.Definitions(
            resources={"installation": installation},
            executor=dg.in_process_executor,  # the multiprocess executor pays every import once a step
        ),
        *(definitions_of(model, _CHAINS.get(name)) for name, model in models.items()),
        *(schedules.definitions_of(name) for name in models),
    )


defs = _definitions()
