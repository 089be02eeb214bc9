"""The signer, the trust root and the envelope: each is tried to say no."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Signature

from secure_ml.digests import canonical_json, parse_json
from secure_ml.errors import MalformedError, PreconditionError, RejectedError, SecureMLError
from secure_ml.installation import Installation
from secure_ml.signing.envelope import PAYLOAD_TYPE, sign_statement, verify_statement
from secure_ml.signing.keys import Signer, signer_path
from secure_ml.signing.trust import Trust

SUBJECTS = {"table.parquet": "ab" * 32}
PREDICATE = {"model": "m", "facts": {"rows": 3}}


def test_the_key_made_at_first_use_is_for_its_owner_alone(installation: Installation) -> None:
    path = signer_path(installation.signer_uri)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert isinstance(installation.signer().public_key.curve, ec.SECP256R1)


def test_a_key_that_others_may_read_is_refused(installation: Installation) -> None:
    signer_path(installation.signer_uri).chmod(0o640)
    with pytest.raises(PreconditionError, match="chmod 0600"):
        installation.signer()


def test_ten_first_uses_at_once_agree_on_one_key(environment: dict[str, str]) -> None:
    found: list[str] = []
    start = threading.Barrier(10)

    def use() -> None:
        start.wait()
        found.append(Installation.from_environment(environment).signer().keyid)

    threads = [threading.Thread(target=use) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 10
    assert len(set(found)) == 1


@pytest.mark.parametrize("name", ["SECURE_ML_SIGNER", "SECURE_ML_TRUST"])
def test_keys_in_the_home_are_refused(environment: dict[str, str], name: str) -> None:
    inside = f"{environment['SECURE_ML_HOME']}/keys/it"
    environment[name] = f"file2:{inside}" if name == "SECURE_ML_SIGNER" else inside
    with pytest.raises(PreconditionError, match="lies in the home"):
        Installation.from_environment(environment)


def test_a_trust_root_reached_by_a_link_into_the_home_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "home" / "trust").mkdir(parents=True)
    (tmp_path / "trust").symlink_to(tmp_path / "home" / "trust")
    with pytest.raises(PreconditionError, match="lies in the home"):
        Installation.from_environment(environment)


def test_a_lost_key_is_not_silently_replaced(installation: Installation, environment: dict[str, str]) -> None:
    signer_path(installation.signer_uri).unlink()
    with pytest.raises(PreconditionError, match="no key file at"):
        Installation.from_environment(environment).signer()


def test_a_signer_that_the_trust_root_does_not_know_is_refused(
    installation: Installation, environment: dict[str, str], tmp_path: Path
) -> None:
    other = Installation.from_environment(
        {
            **environment,
            "SECURE_ML_SIGNER": f"file2:{tmp_path}/other/signer.pem",
            "SECURE_ML_TRUST": str(tmp_path / "other" / "trust"),
        }
    )
    mixed = Installation(installation.home, installation.trust, other.signer_uri)
    with pytest.raises(PreconditionError, match="not in the trust root"):
        mixed.signer()


def test_an_error_about_a_broken_key_does_not_hold_its_bytes(installation: Installation) -> None:
    path = signer_path(installation.signer_uri)
    pem = path.read_text()
    path.write_text(pem.replace("PRIVATE", "PRIVAT"))
    with pytest.raises(PreconditionError) as caught:
        installation.signer()
    assert pem.splitlines()[1] not in str(caught.value)


def test_a_key_of_another_curve_is_refused(installation: Installation) -> None:
    path = signer_path(installation.signer_uri)
    path.write_bytes(
        ec.generate_private_key(ec.SECP384R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(PreconditionError, match="P-256"):
        installation.signer()


@pytest.mark.parametrize("uri", ["file:/x.pem", "file2:relative.pem", "hsm:", "/x.pem", ""])
def test_another_signer_uri_than_an_absolute_file2_is_refused(uri: str) -> None:
    with pytest.raises(PreconditionError, match="file2"):
        Signer.from_uri(uri)


def test_a_statement_comes_back_as_it_was_signed(signer: Signer, trust: Trust) -> None:
    content = sign_statement("dataset", SUBJECTS, PREDICATE, signer)
    assert verify_statement(content, "dataset", trust, "it") == (SUBJECTS, PREDICATE)


def test_every_flipped_bit_of_an_envelope_is_refused(signer: Signer, trust: Trust) -> None:
    content = sign_statement("dataset", SUBJECTS, PREDICATE, signer)
    for position in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            with pytest.raises(SecureMLError, match="it"):
                verify_statement(bytes(changed), "dataset", trust, "it")


def test_every_truncation_and_an_extension_of_an_envelope_is_refused(signer: Signer, trust: Trust) -> None:
    content = sign_statement("dataset", SUBJECTS, PREDICATE, signer)
    for changed in [content[:length] for length in range(len(content))] + [content + b" ", content + content]:
        with pytest.raises(SecureMLError):
            verify_statement(changed, "dataset", trust, "it")


def test_a_statement_of_another_stage_is_refused(signer: Signer, trust: Trust) -> None:
    content = sign_statement("dataset", SUBJECTS, PREDICATE, signer)
    with pytest.raises(RejectedError, match="evidence of another stage"):
        verify_statement(content, "release", trust, "it")


def test_a_foreign_key_is_refused_even_where_it_lies_beside_the_envelope(
    environment: dict[str, str], trust: Trust, tmp_path: Path
) -> None:
    foreign = Installation.from_environment(
        {
            "SECURE_ML_HOME": environment["SECURE_ML_HOME"],
            "SECURE_ML_SIGNER": f"file2:{tmp_path}/foreign/signer.pem",
            "SECURE_ML_TRUST": str(tmp_path / "foreign" / "trust"),
        }
    )
    content = sign_statement("dataset", SUBJECTS, PREDICATE, foreign.signer())
    assert verify_statement(content, "dataset", foreign.trust, "it")[0] == SUBJECTS, "the attack is a good signature"
    with pytest.raises(RejectedError, match="not in the trust root"):
        verify_statement(content, "dataset", trust, "it")


def test_a_foreign_signature_under_a_trusted_key_id_is_refused(
    environment: dict[str, str], signer: Signer, trust: Trust, tmp_path: Path
) -> None:
    foreign = Installation.from_environment(
        {
            "SECURE_ML_HOME": environment["SECURE_ML_HOME"],
            "SECURE_ML_SIGNER": f"file2:{tmp_path}/foreign/signer.pem",
            "SECURE_ML_TRUST": str(tmp_path / "foreign" / "trust"),
        }
    ).signer()
    envelope = json.loads(sign_statement("dataset", SUBJECTS, PREDICATE, foreign))
    envelope["signatures"][0]["keyid"] = signer.keyid
    with pytest.raises(RejectedError, match="invalid signature"):
        verify_statement(canonical_json(envelope), "dataset", trust, "it")


def test_a_key_signs_only_the_stages_that_the_policy_allows_it(signer: Signer, trust: Trust) -> None:
    (trust.root / "policy.json").write_bytes(canonical_json({"stages": {"release": []}}))
    narrowed = Trust.load(trust.root)
    verify_statement(sign_statement("dataset", SUBJECTS, PREDICATE, signer), "dataset", narrowed, "it")
    with pytest.raises(RejectedError, match="may not sign release"):
        verify_statement(sign_statement("release", SUBJECTS, PREDICATE, signer), "release", narrowed, "it")


@pytest.mark.parametrize(
    "policy",
    ["[]", "{}", '{"stages": []}', '{"stages": {"release": ["unknown"]}}', '{"stages": {}, "more": 1}', "x"],
)
def test_a_malformed_policy_is_refused(trust: Trust, policy: str) -> None:
    (trust.root / "policy.json").write_text(policy)
    with pytest.raises((MalformedError, PreconditionError), match=r"policy\.json"):
        Trust.load(trust.root)


def test_an_unsigned_envelope_is_refused(signer: Signer, trust: Trust) -> None:
    envelope = json.loads(sign_statement("dataset", SUBJECTS, PREDICATE, signer))
    envelope["signatures"] = []
    with pytest.raises(MalformedError, match="one signature"):
        verify_statement(canonical_json(envelope), "dataset", trust, "it")


def test_an_empty_signature_is_refused(signer: Signer, trust: Trust) -> None:
    envelope = json.loads(sign_statement("dataset", SUBJECTS, PREDICATE, signer))
    envelope["signatures"][0]["sig"] = base64.b64encode(b"").decode()
    with pytest.raises(SecureMLError):
        verify_statement(canonical_json(envelope), "dataset", trust, "it")


def test_verification_needs_no_private_key(installation: Installation, environment: dict[str, str]) -> None:
    content = sign_statement("dataset", SUBJECTS, PREDICATE, installation.signer())
    os.unlink(signer_path(installation.signer_uri))  # noqa: PTH108
    place = Installation.for_verification(environment)
    assert verify_statement(content, "dataset", place.trust, "it")[0] == SUBJECTS


def signed(payload: bytes, signer: Signer) -> bytes:
    """An envelope whose signature holds, over whatever payload."""
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.signatures[signer.keyid] = Signature(signer.keyid, signer.sign(envelope.pae()).hex())
    return canonical_json(envelope.to_dict())


def test_a_signed_statement_that_is_not_in_canonical_form_is_refused(signer: Signer, trust: Trust) -> None:
    """One statement has one form, so that its digest names it."""
    content = sign_statement("dataset", SUBJECTS, PREDICATE, signer)
    statement = json.loads(base64.b64decode(json.loads(content)["payload"]))
    assert verify_statement(signed(canonical_json(statement), signer), "dataset", trust, "it")[0] == SUBJECTS
    with pytest.raises(MalformedError, match="canonical form"):
        verify_statement(signed(json.dumps(statement, indent=1).encode(), signer), "dataset", trust, "it")


def test_a_key_that_occurs_twice_is_refused(signer: Signer, trust: Trust) -> None:
    content = canonical_json(json.loads(sign_statement("dataset", SUBJECTS, PREDICATE, signer)))
    for twice in (content[:-1] + b',"payload":""}', b'{"payload":"",' + content[1:]):
        with pytest.raises(MalformedError, match="not a JSON document"):
            verify_statement(twice, "dataset", trust, "it")
    with pytest.raises(MalformedError):
        parse_json(b'{"a": 1, "a": 2}', "it")


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
def test_a_trust_root_with_a_key_of_another_curve_is_refused(trust: Trust, curve: ec.EllipticCurve) -> None:
    (trust.root / "keys" / "more.pem").write_bytes(
        ec.generate_private_key(curve)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(PreconditionError, match="P-256"):
        Trust.load(trust.root)


@pytest.mark.parametrize("kind", ["empty", "link", "garbage"])
def test_a_trust_root_with_no_key_or_one_that_is_none_is_refused(trust: Trust, kind: str) -> None:
    (path,) = (trust.root / "keys").iterdir()
    content = path.read_bytes()
    path.unlink()
    match kind:
        case "link":
            (trust.root / "elsewhere.pem").write_bytes(content)
            path.symlink_to(trust.root / "elsewhere.pem")
        case "garbage":
            path.write_bytes(b"-----BEGIN PUBLIC KEY-----\n")
    with pytest.raises(PreconditionError, match=r"no public key|expected a PEM public key"):
        Trust.load(trust.root)


def test_a_verifier_refuses_a_trust_root_in_the_home_too(environment: dict[str, str], tmp_path: Path) -> None:
    Installation.from_environment(environment)
    (tmp_path / "trust").rename(tmp_path / "home" / "trust")
    inside = {**environment, "SECURE_ML_TRUST": str(tmp_path / "home" / "trust")}
    with pytest.raises(PreconditionError, match="lies in the home"):
        Installation.for_verification(inside)
