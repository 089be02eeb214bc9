"""The errors of secure-ml. The class of an error answers one question: may I retry?

    SecureMLError
    ├── RejectedError       never: a contract, a signature or a policy rejected the input
    ├── MalformedError      never: the bytes do not have the expected form
    ├── PreconditionError   only after the call or the set-up is corrected
    └── UnavailableError    later, and it never counts as an acceptance

A message names the subject, the problem, the expected and the actual value, and the fix. It never holds cell values,
tokens or keys.
"""

from __future__ import annotations

__all__ = ["MalformedError", "PreconditionError", "RejectedError", "SecureMLError", "UnavailableError"]


class SecureMLError(Exception):
    """Any rejection or failure that secure-ml reports."""


class RejectedError(SecureMLError):
    """A contract, a signature or a policy rejected the input. The same input is rejected again."""


class MalformedError(SecureMLError):
    """Bytes, a document or a request do not have the expected form."""


class PreconditionError(SecureMLError):
    """The call or the set-up is wrong. The message says how to correct it."""


class UnavailableError(SecureMLError):
    """Something that is needed did not answer. Retry later. It never counts as an acceptance."""
