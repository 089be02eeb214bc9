"""A contract from a Python file: any file that holds one pandera schema, for Polars or pandas. The file is run."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secure_ml.contracts.rules import to_schema
from secure_ml.digests import Digest, sha256
from secure_ml.errors import MalformedError, PreconditionError
from secure_ml.safe_files import read_file

__all__ = ["Contract", "load_contract"]

_MAX_BYTES = 4 << 20
_MODULE = "secure_ml_loaded_contract"


@dataclass(frozen=True, slots=True)
class Contract:
    """A data contract.

    Attributes:
        name: Of the schema, or of the file where it has none.
        schema: A pandera `DataFrameSchema`.
        digest: Of the file that holds it.
    """

    name: str
    schema: Any
    digest: Digest


def load_contract(path: Path) -> Contract:
    """Run a Python file and return the one pandera schema that it holds.

    A contract is code of yours: load none that you would not run.

    Raises:
        MalformedError: Not Python text, or no regular file.
        PreconditionError: It does not run, or holds no schema, or more than one.
        UnavailableError: Missing or unreadable.
    """
    content = read_file(path, max_bytes=_MAX_BYTES)
    try:
        code = compile(content, str(path), "exec")
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise MalformedError(f"{path.name}{line}: is not Python ({type(error).__name__})") from None
    module = types.ModuleType(_MODULE)
    module.__file__ = str(path)
    sys.modules[_MODULE] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - a contract is a Python file of the user's own
    except (Exception, SystemExit) as error:  # one that ends Python would end the command as accepted
        raise PreconditionError(f"{path.name}: does not run ({type(error).__name__}: {error})") from error
    finally:
        sys.modules.pop(_MODULE, None)
    found = {name: value for name, value in vars(module).items() if _is_schema(value)}
    if len({id(value) for value in found.values()}) != 1:
        listed = ", ".join(sorted(found)) or "none"
        raise PreconditionError(f"{path.name}: expected one pandera schema, found {listed}")
    schema = to_schema(next(iter(found.values())))
    return Contract(str(schema.name or path.stem), schema, sha256(content))


def _is_schema(value: object) -> bool:
    if isinstance(value, type):
        return hasattr(value, "to_schema") and value.__module__ == _MODULE
    return any(base.__name__ == "DataFrameSchema" for base in type(value).__mro__)
