"""The error taxonomy. An error answers one question: may I retry?

    SecureMLError
    ├── RejectedError       never: a contract, a signature or a policy said no
    ├── MalformedError      never: the bytes are not what they should be
    ├── PreconditionError   not before the caller has mended its call or its set-up
    └── UnavailableError    yes, later; it never counts as a yes

Messages say what was expected, what was found and what to do. They never hold cell values, tokens or keys.
"""

from __future__ import annotations

__all__ = ["MalformedError", "PreconditionError", "RejectedError", "SecureMLError", "UnavailableError"]


class SecureMLError(Exception):
    """Any refusal or failure of secure-ml itself."""


class RejectedError(SecureMLError):
    """A contract, a signature or a policy said no. The same input is refused again."""


class MalformedError(SecureMLError):
    """Bytes, a document or a request that are not in the form that was expected."""


class PreconditionError(SecureMLError):
    """The call or the set-up is wrong; the message says how to mend it."""


class UnavailableError(SecureMLError):
    """Something needed did not answer. Retry later; it is never taken for a yes."""
