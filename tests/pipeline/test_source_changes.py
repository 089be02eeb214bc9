"""What changes in a source under the name of an accepted batch is a new version, or refused, and never unseen."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secure_ml.cli import main
from secure_ml.datasets.source_manifest import sign_manifest
from secure_ml.datasets.sources import LocalFolder
from secure_ml.datasets.sources.names import MANIFEST_FILE
from secure_ml.digests import sha256
from secure_ml.errors import RejectedError
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.installation import Installation
from secure_ml.operations.integrity_check import check_stage
from secure_ml.operations.pending_work import pending_inbox_batches, pending_source_batches
from secure_ml.quarantine.folder import BYTES_FILE, MAX_KEPT_BYTES
from secure_ml.signing.envelope import sign_statement
from secure_ml.signing.keys import Signer
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import SOURCE_MANIFEST, SOURCE_MANIFEST_SEEN
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.validated_dataset import validate_batch
from tests.installed_home import environment_in
from tests.pipeline.test_daemon import daemon
from tests.pipeline.test_own_model import run_script
from tests.readme_model import environment_with, install, rows
from tests.sources_support import GOOD, POISON, follow_changes, model_on, parquet
from tests.wait import until

LATER = rows(80, seed=5).encode()
FIRST = datetime.now(UTC) - timedelta(days=3)


def take_in(installation: Installation, model: GuardedModel, batch: str) -> tuple[Evidence, Evidence]:
    return ingest_batch(installation, model, batch), validate_batch(installation, model, batch)


def sign(folder: Path, signer: Signer, issued: datetime | None = None) -> bytes:
    files = {path.name: sha256(path.read_bytes()) for path in folder.glob("*.csv")}
    manifest = sign_manifest("sales", files, signer, issued=issued)
    (folder / MANIFEST_FILE).write_bytes(manifest)
    return manifest


def refused(installation: Installation, model: GuardedModel, batch: str = "sales.january") -> str:
    with pytest.raises(RejectedError) as caught:
        ingest_batch(installation, model, batch)
    return str(caught.value)


def test_changed_bytes_of_a_local_folder_are_a_new_version(folder: Path, installation: Installation) -> None:
    model = model_on(sources={"sales": LocalFolder(folder, require_manifest=False)})
    follow_changes(installation, model, "sales.january", (folder / "january.csv").write_bytes)


def test_another_kind_of_file_under_the_same_name_is_a_new_version(folder: Path, installation: Installation) -> None:
    model = model_on(sources={"sales": LocalFolder(folder, require_manifest=False)})

    def put(content: bytes) -> None:
        (folder / "january.csv").unlink(missing_ok=True)
        (folder / "january.parquet").write_bytes(parquet() if content == GOOD else content)

    follow_changes(installation, model, "sales.january", put)


def test_an_older_version_that_comes_again_is_named_and_is_the_newest(
    installation: Installation, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    inbox = installation.home.inbox / "tiny"
    inbox.mkdir(parents=True)
    model = model_on()
    made: list[tuple[Evidence, Evidence]] = []
    for content in (GOOD, LATER, GOOD, LATER):
        (inbox / "january.csv").write_bytes(content)
        assert [arrival.batch for arrival in pending_inbox_batches(installation, model)] == ["january"]
        made.append(take_in(installation, model, "january"))
        assert pending_inbox_batches(installation, model) == []
        assert take_in(installation, model, "january") == made[-1], "asked once more, nothing new is recorded"
        assert made[-1][1].inputs["version"] == sha256(content), "the newest is what came last"
    assert len({given.document for given, _ in made}) == 4
    assert len({validated.document for _, validated in made}) == 4
    for given, _ in made[:2]:
        assert "findings" not in given.facts
    for (given, _), version in zip(made[2:], (GOOD, LATER), strict=True):
        findings = given.facts["findings"]
        assert isinstance(findings, list)
        (finding,) = findings
        assert isinstance(finding, dict)
        assert finding["tier"] == "warn"
        said = f"january: version {sha256(version)[:12]} was ingested before, and arrives again after others"
        assert finding["sentence"] == said
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        assert main(["dataset", "log", "tiny"]) == 0
    listed = [line for line in capsys.readouterr().out.splitlines() if "dataset january " in line]
    assert [line.endswith("sent again") for line in listed if "validated" not in line] == [False, False, True, True]


def test_a_good_version_that_comes_again_after_a_refused_one_is_validated_again(
    installation: Installation, tmp_path: Path
) -> None:
    inbox = installation.home.inbox / "tiny"
    inbox.mkdir(parents=True)
    model = model_on()
    for content in (GOOD, b"\xff\xfe\n", GOOD):
        (inbox / "january.csv").write_bytes(content)
        if content != GOOD:
            assert "invalid byte" in refused(installation, model, "january")
            continue
        _, validated = take_in(installation, model, "january")
    assert validated.inputs["version"] == sha256(GOOD)


def test_an_older_manifest_with_its_bytes_is_refused(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    """The attack first: where it is forgotten that a newer one was seen, the replay goes through."""
    (folder / "january.csv").write_bytes(POISON)
    old = sign(folder, signer, FIRST)
    take_in(installation, guarded, "sales.january")
    (folder / "january.csv").write_bytes(GOOD)
    new = sign(folder, signer, FIRST + timedelta(hours=1))
    good, _ = take_in(installation, guarded, "sales.january")
    seen = installation.home.evidence / "tiny" / SOURCE_MANIFEST_SEEN
    kept = {path: path.read_bytes() for path in seen.iterdir()}
    assert len(kept) == 2

    (folder / "january.csv").write_bytes(POISON)
    (folder / MANIFEST_FILE).write_bytes(old)
    said = refused(installation, guarded)
    assert f"was issued {FIRST:%Y-%m-%dT%H:%M:%S}" in said
    assert "was seen before; sign what the source has now" in said
    (folder / "january.csv").write_bytes(GOOD)
    assert "was seen before" in refused(installation, guarded), "nor is an older one believed about the same bytes"
    (folder / MANIFEST_FILE).write_bytes(new)
    take_in(installation, guarded, "sales.january")

    shutil.rmtree(seen)
    (folder / "january.csv").write_bytes(POISON)
    (folder / MANIFEST_FILE).write_bytes(old)
    take_in(installation, guarded, "sales.january")
    with pytest.raises(RejectedError, match="rests on missing evidence of source_manifest_seen"):
        EvidenceLog.open(installation, good.model).chain(good)


def test_a_batch_that_was_withdrawn_before_it_came_does_not_come_with_an_older_manifest(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    (folder / "february.csv").write_bytes(POISON)
    old = sign(folder, signer, FIRST)
    take_in(installation, guarded, "sales.january")
    (folder / "february.csv").unlink()
    sign(folder, signer)
    take_in(installation, guarded, "sales.january")  # nothing new, and the newer manifest was seen

    (folder / "february.csv").write_bytes(POISON)
    (folder / MANIFEST_FILE).write_bytes(old)
    assert [arrival.batch for arrival in pending_source_batches(installation, guarded)] == ["sales.february"]
    assert "was seen before" in refused(installation, guarded, "sales.february")


def test_an_older_manifest_of_one_source_says_nothing_of_another(
    folder: Path, installation: Installation, signer: Signer, tmp_path: Path
) -> None:
    model = model_on(sources={"sales": LocalFolder(folder), "branch": LocalFolder(tmp_path / "branch")})
    shutil.copytree(folder, tmp_path / "branch")
    sign(folder, signer)
    take_in(installation, model, "sales.january")
    older = sign_manifest("branch", {"january.csv": sha256(GOOD)}, signer, issued=FIRST)
    (tmp_path / "branch" / MANIFEST_FILE).write_bytes(older)
    take_in(installation, model, "branch.january")


def test_a_manifest_from_the_future_would_lock_its_source_and_is_refused(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    sign(folder, signer, datetime.now(UTC) + timedelta(days=1))
    assert "was issued in the future" in refused(installation, guarded)
    assert not (installation.home.evidence / "tiny" / SOURCE_MANIFEST_SEEN).exists()
    sign(folder, signer)
    take_in(installation, guarded, "sales.january")


@pytest.mark.parametrize("made_at", ["", "now", "2026-01-31", "2026-01-31T00:00:00", "0001-01-01T00:00:00+14:00"])
def test_a_manifest_that_does_not_say_when_it_was_issued_is_refused(
    made_at: str, folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    given = sign_statement(
        SOURCE_MANIFEST, {"january.csv": sha256(GOOD)}, {"source": "sales", "made_at": made_at}, signer
    )
    (folder / MANIFEST_FILE).write_bytes(given)
    assert "does not say when it was issued" in refused(installation, guarded)


def test_forged_evidence_of_a_manifest_is_found_and_believed_by_nobody(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer
) -> None:
    sign(folder, signer)
    take_in(installation, guarded, "sales.january")
    (seen,) = (installation.home.evidence / "tiny" / SOURCE_MANIFEST_SEEN).iterdir()
    assert check_stage(installation, guarded, SOURCE_MANIFEST_SEEN) == (1, [])
    seen.write_bytes(seen.read_bytes().replace(b"signatures", b"signaturez"))
    with pytest.raises(Exception, match=r"evidence tiny/source_manifest_seen/.*: malformed, expected a DSSE envelope"):
        ingest_batch(installation, guarded, "sales.january")
    assert "malformed, expected a DSSE envelope" in check_stage(installation, guarded, SOURCE_MANIFEST_SEEN)[1][0]


def test_bytes_that_are_refused_for_their_provenance_are_kept_for_people(
    folder: Path,
    guarded: GuardedModel,
    installation: Installation,
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "january.csv").write_bytes(POISON)
    assert "has no signed manifest" in refused(installation, guarded)
    (entry,) = (installation.home.quarantine / "tiny").iterdir()
    assert (entry / BYTES_FILE).read_bytes() == POISON
    assert (entry / BYTES_FILE).stat().st_mode & 0o777 == 0o600
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        assert main(["quarantine", "show", "tiny", entry.name[:12], "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["dataset"] == sha256(POISON)
    assert said["bytes"] == len(POISON)
    assert said["came_from"] == str(folder / "january.csv")
    assert said["refused_bytes"] == str(entry / BYTES_FILE)
    (reason,) = said["reasons"]
    assert reason.startswith("sales.january: its source sales has no signed manifest; sign what it has: ")


def test_what_is_kept_of_refused_bytes_is_bounded(
    folder: Path, guarded: GuardedModel, installation: Installation
) -> None:
    large = b"x" * (MAX_KEPT_BYTES + 1)
    (folder / "january.csv").write_bytes(large)
    refused(installation, guarded)
    (entry,) = (installation.home.quarantine / "tiny").iterdir()
    assert (entry / BYTES_FILE).read_bytes() == large[:-1]
    with (entry / BYTES_FILE).open("r+b") as stream:  # as if many had come
        stream.truncate(1 << 30)
    (folder / "january.csv").write_bytes(POISON)
    assert "has no signed manifest" in refused(installation, guarded)
    found = [path for path in installation.home.quarantine.glob("tiny/*") if not (path / BYTES_FILE).exists()]
    assert len(found) == 1
    assert json.loads((found[0] / "findings.json").read_text())["dataset"] == sha256(POISON)


def test_the_daemon_takes_in_what_changed_in_a_local_folder(folder: Path, tmp_path: Path) -> None:
    site = install(tmp_path)
    path = site / "my_package" / "tiny.py"
    source = f'sources={{"branch": LocalFolder(Path({str(folder)!r}), require_manifest=False)}}, columns=("x"'
    text = path.read_text().replace('columns=("x"', source)
    path.write_text(text.replace("from secure_ml.spec", f"{_IMPORT}\nfrom secure_ml.spec"))
    given = environment_in(tmp_path)
    environment = environment_with(site, given)
    assert run_script(_ACCEPTED, environment) == {"version": sha256(GOOD)}
    (folder / "january.csv").write_bytes(LATER)
    installation = Installation.from_environment(given)

    def validated() -> list[Evidence]:
        found = EvidenceLog.open(installation, "tiny").history("validated_dataset")
        return [item for item in found if item.inputs["batch"] == "branch.january"]

    with daemon({**given, "PYTHONPATH": environment["PYTHONPATH"]}):
        until(lambda: len(validated()) == 2, seconds=200)
    newest = validated()[-1]
    assert (newest.decision, newest.inputs["version"]) == ("accepted", sha256(LATER))


_IMPORT = "from secure_ml.datasets.sources import LocalFolder"
_ACCEPTED = """
ingest_batch(place, model, "branch.january")
made = validate_batch(place, model, "branch.january")
os.environ["DAGSTER_HOME"] = ""
from assets.__main__ import prepare_dagster
prepare_dagster(place)
print(json.dumps({"version": made.inputs["version"]}))
"""
