"""`model.sig`: what the model_signing library lets through, and whatever else is no signature over these very files.

Most cases are signed by the trusted key itself, so that only our own refusal can say no.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from securesystemslib.dsse import Envelope

from secure_ml.digests import canonical_json, sha256
from secure_ml.errors import RejectedError, SecureMLError
from secure_ml.installation import Installation
from secure_ml.signing.keys import Signer
from secure_ml.signing.model_signature import sign_model, verify_model
from secure_ml.signing.trust import Trust
from tests.installed_home import environment_in

FILES = {"model.json": b"{}", "model.onnx": b"weights", "model.skops": b"more"}
Change = Callable[[dict[str, Any]], None]


def bundle(signer: Signer, files: dict[str, bytes] | None = None) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(sign_model(files or FILES, "m", signer))
    return document


def statement_of(document: dict[str, Any]) -> dict[str, Any]:
    statement: dict[str, Any] = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    return statement


def resigned(document: dict[str, Any], statement: dict[str, Any], signer: Signer) -> dict[str, Any]:
    """The same bundle over another statement, with a good signature of `signer`; the subject's digest fits again."""
    hashes = b"".join(bytes.fromhex(item["digest"]) for item in statement["predicate"].get("resources", []))
    for subject in statement["subject"]:
        subject["digest"] = {"sha256": sha256(hashes)}
    payload = json.dumps(statement).encode()
    envelope = document["dsseEnvelope"]
    signature = signer.sign(Envelope(payload, envelope["payloadType"], {}).pae())
    envelope["payload"] = base64.b64encode(payload).decode()
    envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    return document


def test_a_signature_holds_over_what_was_signed(signer: Signer, trust: Trust) -> None:
    verify_model(FILES, sign_model(FILES, "m", signer), trust)
    document = bundle(signer)
    verify_model(FILES, canonical_json(resigned(document, statement_of(document), signer)), trust)


BUNDLES: dict[str, Change] = {
    "a certificate": lambda d: d["verificationMaterial"].update(x509CertificateChain={"certificates": []}),
    "a certificate instead": lambda d: d.update(
        verificationMaterial={"certificate": {"rawBytes": "AAAA"}, "tlogEntries": []}
    ),
    "a log entry": lambda d: d["verificationMaterial"].update(tlogEntries=[{"logIndex": "1"}]),
    "a timestamp": lambda d: d["verificationMaterial"].update(timestampVerificationData={}),
    "raw bytes of a key": lambda d: d["verificationMaterial"]["publicKey"].update(rawBytes="AAAA"),
    "another key": lambda d: d["verificationMaterial"]["publicKey"].update(hint="0" * 64),
    "no key": lambda d: d["verificationMaterial"].pop("publicKey"),
    "another media type": lambda d: d.update(mediaType="application/vnd.dev.sigstore.bundle.v0.2+json"),
    "another payload type": lambda d: d["dsseEnvelope"].update(payloadType="text/plain"),
    "two signatures": lambda d: d["dsseEnvelope"]["signatures"].append(d["dsseEnvelope"]["signatures"][0]),
    "no signature": lambda d: d["dsseEnvelope"].update(signatures=[]),
    "an empty signature": lambda d: d["dsseEnvelope"]["signatures"][0].update(sig=""),
    "a payload that is not base64": lambda d: d["dsseEnvelope"].update(payload="%%%"),
    "a payload that is not ASCII": lambda d: d["dsseEnvelope"].update(payload="\u00e9"),
    "a signature that is not ASCII": lambda d: d["dsseEnvelope"]["signatures"][0].update(sig="\u00e9"),
    "a key id that is no text": lambda d: d["dsseEnvelope"]["signatures"][0].update(keyid=[[]]),
    "an extra field": lambda d: d.update(more=1),
    "an extra field of the envelope": lambda d: d["dsseEnvelope"].update(more=1),
    "a message signature": lambda d: d.update(messageSignature=d.pop("dsseEnvelope")),
}


@pytest.mark.parametrize("case", BUNDLES)
def test_a_bundle_of_another_form_is_refused(case: str, signer: Signer, trust: Trust) -> None:
    document = bundle(signer)
    BUNDLES[case](document)
    with pytest.raises(SecureMLError, match=r"model\.sig"):
        verify_model(FILES, json.dumps(document).encode(), trust)


def serialization(**changes: Any) -> Change:
    return lambda s: s["predicate"]["serialization"].update(changes)


STATEMENTS: dict[str, Change] = {
    "another predicate": lambda s: s.update(predicateType="https://model_signing/signature/v0.2"),
    "another statement": lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"),
    "shards": serialization(method="shards", shard_size=1000),
    "another hash": serialization(hash_type="blake2b"),
    "links": serialization(allow_symlinks=True),
    "an ignored file": serialization(ignore_paths=["model.sig", "model.onnx"]),
    "an extra setting": serialization(more=1),
    "two subjects": lambda s: s["subject"].append(dict(s["subject"][0], name="n")),
    "no subject": lambda s: s["subject"].clear(),
    "an extra field": lambda s: s.update(more=1),
    "an extra field of the predicate": lambda s: s["predicate"].update(more=1),
    "no resources": lambda s: s["predicate"].update(resources=[]),
    "unsorted": lambda s: s["predicate"]["resources"].reverse(),
    "one twice": lambda s: s["predicate"]["resources"].insert(0, s["predicate"]["resources"][0]),
    "a folder": lambda s: s["predicate"]["resources"][0].update(name="a/model.json"),
    "a way out": lambda s: s["predicate"]["resources"][0].update(name="../model.json"),
    "a hidden file": lambda s: s["predicate"]["resources"][0].update(name=".gitattributes"),
    "an annotation": lambda s: s["predicate"]["resources"][0].update(annotations={}),
    "another algorithm": lambda s: s["predicate"]["resources"][0].update(algorithm="blake2b"),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_a_statement_of_another_form_is_refused_though_the_trusted_key_signed_it(
    case: str, signer: Signer, trust: Trust
) -> None:
    document = bundle(signer)
    statement = statement_of(document)
    STATEMENTS[case](statement)
    with pytest.raises(SecureMLError):
        verify_model(FILES, json.dumps(resigned(document, statement, signer)).encode(), trust)


def test_names_are_signed_although_the_subject_leaves_them_out(signer: Signer, trust: Trust) -> None:
    """The subject's digest is over the file digests alone: renamed files have the same one."""
    document, statement = bundle(signer), statement_of(bundle(signer))
    statement["predicate"]["resources"][0]["name"] = "model.aaaa"
    renamed = json.dumps(resigned(document, statement, signer)).encode()
    assert statement["subject"] == statement_of(bundle(signer))["subject"]
    with pytest.raises(RejectedError, match=r"missing, but signed in model\.sig"):
        verify_model(FILES, renamed, trust)
    swapped = {**FILES, "model.onnx": FILES["model.skops"], "model.skops": FILES["model.onnx"]}
    with pytest.raises(RejectedError, match="changed after it was signed"):
        verify_model(swapped, sign_model(FILES, "m", signer), trust)


@pytest.mark.parametrize(
    "name", ["more.onnx", ".gitattributes", ".git", "a/b", "../x", "a b", "", "model.sig", "\u00e9"]
)
def test_a_file_that_is_not_signed_is_refused_also_where_the_standard_ignores_it(
    name: str, signer: Signer, trust: Trust
) -> None:
    with pytest.raises(RejectedError):
        verify_model({**FILES, name: b"x"}, sign_model(FILES, "m", signer), trust)
    if name != "more.onnx":
        with pytest.raises(RejectedError, match="a file of this name cannot be signed"):
            sign_model({**FILES, name: b"x"}, "m", signer)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone_or_changed_is_named(name: str, signer: Signer, trust: Trust) -> None:
    signature = sign_model(FILES, "m", signer)
    with pytest.raises(RejectedError, match=f"^{name}: .*missing"):
        verify_model({other: content for other, content in FILES.items() if other != name}, signature, trust)
    with pytest.raises(RejectedError, match=f"^{name}: changed"):
        verify_model({**FILES, name: FILES[name] + b"x"}, signature, trust)


def test_no_file_is_no_model(signer: Signer, trust: Trust) -> None:
    with pytest.raises(RejectedError, match="empty, expected at least one file"):
        sign_model({}, "m", signer)
    with pytest.raises(SecureMLError):
        verify_model({}, sign_model(FILES, "m", signer), trust)


def test_every_flipped_bit_of_the_signed_payload_is_refused(signer: Signer, trust: Trust) -> None:
    document = bundle(signer)
    payload = base64.b64decode(document["dsseEnvelope"]["payload"])
    for position in range(len(payload)):
        changed = bytearray(payload)
        changed[position] ^= 1 << (position % 8)
        document["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
        with pytest.raises(SecureMLError):
            verify_model(FILES, json.dumps(document).encode(), trust)


def test_a_foreign_signature_under_a_trusted_hint_is_refused(
    signer: Signer, trust: Trust, tmp_path_factory: pytest.TempPathFactory
) -> None:
    foreign = Installation.from_environment(environment_in(tmp_path_factory.mktemp("foreign"))).signer()
    document = bundle(foreign)
    document["verificationMaterial"]["publicKey"]["hint"] = signer.keyid
    with pytest.raises(RejectedError, match="invalid signature"):
        verify_model(FILES, json.dumps(document).encode(), trust)


def test_a_key_that_may_not_sign_models_is_refused(signer: Signer, trust: Trust) -> None:
    (trust.root / "policy.json").write_text('{"stages": {"signed_model": []}}')
    with pytest.raises(RejectedError, match="may not sign signed_model"):
        verify_model(FILES, sign_model(FILES, "m", signer), Trust.load(trust.root))
