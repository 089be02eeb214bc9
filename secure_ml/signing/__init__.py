"""Envelopes, keys, bundles: who signed what, verified against the trust root."""
