"""Signing: who signed a document or a model, verified against the trust root.

`keys.Signer` signs and `trust.Trust` holds the public keys that a verifier accepts. `envelope` signs and verifies
in-toto
statements in DSSE envelopes, and `model_signature` OpenSSF Model Signing bundles.
"""
