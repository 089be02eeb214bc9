"""The manifest of one dataset version, and the difference of two versions without their cells.

A version is named by its digest and never changes. Its manifest is stored with its bytes and is a subject of the same
signed evidence. It lists files, rows, profile, contract, source, and the parents that the version was made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secure_ml.digests import Digest, Json, canonical_json, digest_of, parse_digest, parse_json
from secure_ml.errors import MalformedError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Difference", "Manifest", "compare_tables", "parse_manifest", "render_manifest"]

_FORMAT = "secure-ml dataset version 1"
_MAX_DIGESTS = 1_000


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of one dataset version.

    Attributes:
        model: Name of the model.
        stage: `dataset` for bytes as they arrived, or `validated_dataset` for the typed table that satisfied the
        contract.
        batch: Name of the batch.
        files: Digests by file name, without this document.
        rows: Number of rows of the table.
        profile: Digest of the profile, or None if there is no profile yet.
        contract: Digest of the satisfied contract, or None if none was applied yet.
        parents: Version that this one was made from, or previous version of the batch.
        origin: `inbox`, `files`, or the name of a source.
        location: Location of the bytes, for people.
        proof: Digest of the signed manifest that lists the bytes, or None if none was required.
    """

    model: str
    stage: str
    batch: str
    files: Mapping[str, Digest]
    rows: int
    profile: Digest | None
    contract: Digest | None
    parents: tuple[Digest, ...]
    origin: str
    location: str
    proof: Digest | None


def render_manifest(manifest: Manifest) -> bytes:
    """Return the document's bytes, in canonical form."""
    return canonical_json(
        {
            "format": _FORMAT,
            "model": manifest.model,
            "stage": manifest.stage,
            "batch": manifest.batch,
            "files": dict(manifest.files),
            "rows": manifest.rows,
            "profile": manifest.profile,
            "contract": manifest.contract,
            "parents": list(manifest.parents),
            "source": {"origin": manifest.origin, "place": manifest.location, "manifest": manifest.proof},
        }
    )


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Parse a manifest.

    Raises:
        MalformedError: If it is not a manifest in canonical form.
    """
    match parse_json(content, where):
        case {
            "format": "secure-ml dataset version 1",
            "model": str(model),
            "stage": str(stage),
            "batch": str(batch),
            "files": dict(files),
            "rows": int(rows),
            "profile": profile,
            "contract": contract,
            "parents": list(parents),
            "source": {"origin": str(origin), "place": str(location), "manifest": proof},
        } if not isinstance(rows, bool) and rows >= 0:
            manifest = Manifest(
                model=model,
                stage=stage,
                batch=batch,
                files={name: parse_digest(digest, where) for name, digest in files.items()},
                rows=rows,
                profile=_digest(profile, where),
                contract=_digest(contract, where),
                parents=tuple(parse_digest(parent, where) for parent in parents),
                origin=origin,
                location=location,
                proof=_digest(proof, where),
            )
            if render_manifest(manifest) == content:
                return manifest
    raise MalformedError(f"{where}: malformed, expected the manifest of a dataset version in canonical form")


def _digest(value: Json, where: str) -> Digest | None:
    return None if value is None else parse_digest(value, where)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two tables. Rows are compared by all columns that both tables have, in any order.

    Attributes:
        rows: Number of rows of the old and of the new table.
        added: Number of rows that the new table has in addition, duplicates included.
        removed: Number of rows that the old table has in addition, duplicates included.
        added_digests: Digests of distinct added rows, sorted, at most 1,000.
        removed_digests: Digests of distinct removed rows, sorted, at most 1,000.
        columns_added: Columns that only the new table has.
        columns_removed: Columns that only the old table has.
        columns_retyped: Columns with another type. Their values are compared as text.
    """

    rows: tuple[int, int]
    added: int
    removed: int
    added_digests: tuple[Digest, ...]
    removed_digests: tuple[Digest, ...]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    columns_retyped: tuple[str, ...]


def compare_tables(old: pl.DataFrame, new: pl.DataFrame) -> Difference:
    """Compare two tables by their rows. Rows are matched by value, and digests only name them in the result."""
    import polars as pl

    common = [name for name in old.columns if name in new.columns]
    retyped = [name for name in common if old.schema[name] != new.schema[name]]

    def counted(frame: pl.DataFrame, name: str) -> pl.DataFrame:
        rows = frame.select(common).with_columns(pl.col(retyped).cast(pl.String))
        return rows.group_by(common).agg(pl.len().cast(pl.Int64).alias(name))

    added = removed = 0
    added_digests: tuple[Digest, ...] = ()
    removed_digests: tuple[Digest, ...] = ()
    if common:
        # No column has these names.
        before, after = (f"{name}{''.join(common)}" for name in ("before ", "after "))
        both = counted(old, before).join(
            counted(new, after), on=common, how="full", nulls_equal=True, coalesce=True, maintain_order="none"
        )
        change = pl.col(after).fill_null(0) - pl.col(before).fill_null(0)
        more, fewer = both.filter(change > 0), both.filter(change < 0)
        added = int(more.select(change.sum()).item())
        removed = -int(fewer.select(change.sum()).item())
        added_digests, removed_digests = _digests(more.select(common)), _digests(fewer.select(common))
    return Difference(
        rows=(old.height, new.height),
        added=added,
        removed=removed,
        added_digests=added_digests,
        removed_digests=removed_digests,
        columns_added=tuple(name for name in new.columns if name not in old.columns),
        columns_removed=tuple(name for name in old.columns if name not in new.columns),
        columns_retyped=tuple(retyped),
    )


def _digests(rows: pl.DataFrame) -> tuple[Digest, ...]:
    """Name each row by the digest of its cells as text."""
    import polars as pl

    texts = rows.select(pl.all().cast(pl.String))
    return tuple(sorted(digest_of(list(row)) for row in texts.iter_rows())[:_MAX_DIGESTS])
