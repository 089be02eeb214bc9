"""What one dataset version is made of, as a document; and how two versions differ, without a cell of either.

A version is named by digest and never changed. Its manifest lies with its bytes and is a subject of the same signed
evidence: files, rows, profile, contract, parents (the versions it was made from, or that it follows) and source.
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
    """What one version is made of.

    Attributes:
        model: The model's name.
        stage: `dataset`: bytes as they arrived; `validated_dataset`: the typed table that satisfied the contract.
        batch: The batch's name.
        files: File name to digest, without this document.
        rows: Rows of the table.
        profile: Digest of the profile, None where there is none yet.
        contract: Digest of the contract that was satisfied, None before any was applied.
        parents: The version that this one was made from, or the version of the batch before.
        origin: `inbox`, `files`, or the name of a source.
        place: Where the bytes were found, for people.
        proof: Digest of the source's signed manifest that lists the bytes, None where none was required.
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
    place: str
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
            "source": {"origin": manifest.origin, "place": manifest.place, "manifest": manifest.proof},
        }
    )


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Parse a manifest.

    Raises:
        MalformedError: Not one, or not in canonical form.
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
            "source": {"origin": str(origin), "place": str(place), "manifest": proof},
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
                place=place,
                proof=_digest(proof, where),
            )
            if render_manifest(manifest) == content:
                return manifest
    raise MalformedError(f"{where}: not the manifest of a dataset version in canonical form")


def _digest(value: Json, where: str) -> Digest | None:
    return None if value is None else parse_digest(value, where)


@dataclass(frozen=True, slots=True)
class Difference:
    """How two tables differ. Rows are compared by all columns that both have, whatever their order.

    Attributes:
        rows: How many rows the old and the new table have.
        added: Rows that only the new table has, counted as often as they occur more.
        removed: Rows that only the old table has, likewise.
        added_digests: Digests of different added rows, sorted, at most 1,000.
        removed_digests: Digests of different removed rows, likewise.
        columns_added: Columns that only the new table has.
        columns_removed: Columns that only the old table has.
        columns_retyped: Columns whose type differs; their values are compared as text.
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
    """Compare two tables by their rows, exactly: rows are matched by value, digests only name them afterwards."""
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
        # The counts get names that no column has.
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
