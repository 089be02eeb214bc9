"""A data contract, and how one is loaded from a Python file that holds one pandera schema. The file is run."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_ml.contracts.rules import to_schema
from secure_ml.digests import Digest, sha256
from secure_ml.errors import MalformedError, PreconditionError
from secure_ml.safe_files import read_file

if TYPE_CHECKING:
    from secure_ml.spec import GuardedModel

__all__ = ["Contract", "load_contract"]

_MAX_BYTES = 4 << 20
_MODULE = "secure_ml_loaded_contract"


@dataclass(frozen=True, slots=True)
class Contract:
    """A data contract.

    Attributes:
        name: Name of the schema, or of the file if the schema has none.
        schema: A pandera `DataFrameSchema`.
        digest: Digest of the contract file, None if the contract does not come from a file.
        of_batch: Whether tables are batches of a model. A batch has no unknown column, and its report a typed frame.
        finite: Columns that must hold no infinite number, because no request can hold one.
    """

    name: str
    schema: Any
    digest: Digest | None = None
    of_batch: bool = False
    finite: tuple[str, ...] = ()

    @classmethod
    def of_schema(cls, schema: Any) -> Contract:
        """Return the contract that a pandera schema or model is.

        Raises:
            PreconditionError: If it is neither.
        """
        schema = to_schema(schema)
        return cls(str(schema.name or "contract"), schema)

    @classmethod
    def of_model(cls, model: GuardedModel) -> Contract:
        """Return the contract of a model's batches."""
        return cls(model.name, model.schema, of_batch=True, finite=tuple(model.features))


def load_contract(path: Path) -> Contract:
    """Run a Python file and return the one pandera schema that it holds.

    A contract is code. Load only a file that you would run.

    Raises:
        MalformedError: If the file is not Python text, or not a regular file.
        PreconditionError: If the file does not run, or does not hold exactly one schema.
        UnavailableError: If the file is missing or unreadable.
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
    schemas = {name: value for name, value in vars(module).items() if _is_schema(value)}
    if len({id(value) for value in schemas.values()}) != 1:
        listed = ", ".join(sorted(schemas)) or "none"
        raise PreconditionError(f"{path.name}: expected one pandera schema, found {listed}")
    schema = to_schema(next(iter(schemas.values())))
    return Contract(str(schema.name or path.stem), schema, sha256(content))


def _is_schema(value: object) -> bool:
    if isinstance(value, type):
        return hasattr(value, "to_schema") and value.__module__ == _MODULE
    return any(base.__name__ == "DataFrameSchema" for base in type(value).__mro__)
