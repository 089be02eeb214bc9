"""What the index of the validation docs costs an intake: `python -m tests.benchmarks.index_cost [BATCHES]`.

A home with so many batches, each with evidence of both stages and a profile; then the pages of the newest batch are
made, as at the end of its intake. Prints CPU seconds, of the evidence alone and of all.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from secure_ml.contracts.contract_file import Contract
from secure_ml.contracts.engine.declared_profiles import profile_frame
from secure_ml.contracts.validate import validate
from secure_ml.digests import digest_of, sha256
from secure_ml.evidence import EvidenceLog
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.profiles.document import render
from secure_ml.tables.batch_files import open_batch
from secure_ml.validation_docs import write_own_docs
from secure_ml.validation_docs.state import NamedHome, load_state
from tests.installed_home import environment_in


def fill(installation: Installation, batches: int) -> None:
    home, trust, signer = installation.home, installation.trust, installation.signer()
    given = model.batches.files["cleveland"].read_bytes()
    frame = validate(open_batch(given, model.batches, "cleveland"), Contract.of_model(model)).frame
    assert frame is not None
    profile = render(profile_frame(frame, model.schema))
    log = EvidenceLog(home, trust, model.name)
    for number in range(batches):
        version, cause, batch = digest_of(number), digest_of({"cause": number}), f"batch_{number:05}"
        inputs = {"batch": batch, "version": version}
        log.append(
            signer,
            stage="dataset",
            cause=version,
            subjects={},
            inputs=inputs,
            facts={"source": "inbox"},
        )
        failed = number % 40 if number % 3 == 0 else 0
        finding = {
            "column": "chol",
            "rule": "ge(50)",
            "failed": failed,
            "rows": 300,
            "tier": "warn",
            "sentence": "chol",
        }
        home.write_folder(home.datasets / model.name / cause, {"profile.json": profile})
        log.append(
            signer,
            stage="validated_dataset",
            cause=cause,
            subjects={"profile.json": sha256(profile)},
            inputs={**inputs, "policy": "production", "contract": digest_of("c")},
            facts={"rows": 300, "refused_rows": 0, "findings": [finding] if failed else []},
        )


def cpu_s(work: Callable[[], object]) -> float:
    """Return the least of three."""
    taken = []
    for _ in range(3):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


def main() -> None:
    batches = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation.from_environment(environment_in(Path(folder)))
        fill(installation, batches)
        place = NamedHome("home", installation.home)
        evidence = cpu_s(lambda: load_state([place], installation.trust))
        pages = cpu_s(lambda: write_own_docs(installation, batch=f"batch_{batches - 1:05}"))
    print(
        f"{batches:,} batches: all evidence verified {evidence:.2f} s of CPU, index and page of one batch {pages:.2f} s"
    )


if __name__ == "__main__":
    main()
