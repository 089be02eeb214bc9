"""Names of all evidence stages, in one place.

A stage of the graph has an asset of its own. The other names are evidence about a source, a quarantine or a release.
"""

from __future__ import annotations

from typing import Final

DATASET: Final = "dataset"
VALIDATED_DATASET: Final = "validated_dataset"
TRAINING_SET: Final = "training_set"
TRAINED_MODEL: Final = "trained_model"
SIGNED_MODEL: Final = "signed_model"
RELEASE: Final = "release"
INFERENCE_LOG: Final = "inference_log"
DRIFT_REPORT: Final = "drift_report"

GRAPH_STAGES: Final = (
    DATASET,
    VALIDATED_DATASET,
    TRAINING_SET,
    TRAINED_MODEL,
    SIGNED_MODEL,
    RELEASE,
    INFERENCE_LOG,
    DRIFT_REPORT,
)
"""Stages of the graph, in the order of the data flow."""

DRIFT_RESPONSE: Final = "drift_response"
QUARANTINE_DECISION: Final = "quarantine_decision"
SOURCE_MANIFEST: Final = "source_manifest"
"""Signed list of the files of a source. A supplier may sign it."""
SOURCE_MANIFEST_SEEN: Final = "source_manifest_seen"
"""Evidence that a signed manifest was seen, so that an older one is rejected afterwards."""
SOURCE_WITHDRAWAL: Final = "source_withdrawal"
"""Evidence that a manifest no longer lists ingested bytes. If accepted, it lists them again."""
RELEASE_DOCUMENT: Final = "release_document"
MODEL: Final = "model"
"""Signature of a model folder, `model.sig`."""

SIGNING_STAGES: Final = frozenset(
    {*GRAPH_STAGES, DRIFT_RESPONSE, QUARANTINE_DECISION, SOURCE_MANIFEST},
)
"""Stages that `policy.json` of the trust root can name."""
SIGNED_AS: Final = {
    RELEASE_DOCUMENT: RELEASE,
    MODEL: SIGNED_MODEL,
    SOURCE_MANIFEST_SEEN: DATASET,
    SOURCE_WITHDRAWAL: DATASET,
}
"""Stage of `policy.json` whose keys may sign these documents."""
