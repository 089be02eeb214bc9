"""The profile of images as arrays: their shape, their type, and the range, mean and spread of each channel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from secure_ml.digests import Digest, canonical_json, parse_json, sha256
from secure_ml.errors import MalformedError, PreconditionError
from secure_ml.profiles.document import Moments
from secure_ml.profiles.merging import merge_moments, moments_of

__all__ = ["ImagesProfile", "merge_images", "parse_images", "profile_images", "render_images"]

_FORMAT = "secure-ml images profile 1"
_VALUES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class ImagesProfile:
    """Images of one shape and type.

    Attributes:
        images: How many.
        shape: Height, width and channels of each.
        dtype: The type of a channel's values, as NumPy writes it.
        not_finite: Values that are NaN or infinite; they take part in no other figure.
        channels: The moments of each channel over all pixels of all images; None without any finite value.
    """

    images: int
    shape: tuple[int, int, int]
    dtype: str
    not_finite: int
    channels: tuple[Moments | None, ...]

    @cached_property
    def digest(self) -> Digest:
        """The digest of the document."""
        return sha256(render_images(self))


def profile_images(arrays: NDArray[Any] | Iterable[NDArray[Any]]) -> ImagesProfile:
    """Profile images, read once, a few at a time.

    Args:
        arrays: Shape (n, h, w, c), or several of them with the same h, w, c and type; booleans, integers or floats.

    Raises:
        PreconditionError: Another number of dimensions, other shapes or types among them, or nothing at all.
    """
    parts = [arrays] if isinstance(arrays, np.ndarray) else arrays
    found = [_profile_part(part) for part in parts]
    if not found:
        raise PreconditionError("images: expected at least one array, which tells shape and type")
    return reduce(merge_images, found)


def merge_images(a: ImagesProfile, b: ImagesProfile) -> ImagesProfile:
    """Return the profile of the images of both: exact, but for the rounding of mean and spread.

    Raises:
        PreconditionError: Other shapes or types.
    """
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        raise PreconditionError(f"images: expected {a.shape} of {a.dtype}, found {b.shape} of {b.dtype}")
    return replace(
        a,
        images=a.images + b.images,
        not_finite=a.not_finite + b.not_finite,
        channels=tuple(merge_moments(x, y) for x, y in zip(a.channels, b.channels, strict=True)),
    )


def render_images(profile: ImagesProfile) -> bytes:
    """Return the document, in canonical JSON."""
    return canonical_json({"format": _FORMAT, **msgspec.to_builtins(profile)})


def parse_images(content: bytes) -> ImagesProfile:
    """Parse the document, and accept only what `render_images` writes.

    Raises:
        MalformedError: Not such a document, not in canonical form, or its parts contradict each other.
    """
    document = parse_json(content, "images profile")
    try:
        profile = msgspec.convert(document, ImagesProfile)
        same = document.get("format") == _FORMAT and render_images(profile) == content
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise MalformedError("images profile: a part is not of the form that it has") from None
    if not same or not _consistent(profile):
        raise MalformedError("images profile: not in canonical form, or its parts contradict each other")
    return profile


def _consistent(profile: ImagesProfile) -> bool:
    height, width, channels = profile.shape
    pixels = profile.images * height * width
    held = [moments for moments in profile.channels if moments is not None]
    return (
        min(profile.images, profile.not_finite, *profile.shape) >= 0
        and len(profile.channels) == channels
        and sum(moments.count for moments in held) + profile.not_finite == pixels * channels
        and all(0 < moments.count <= pixels and moments.minimum <= moments.maximum for moments in held)
    )


def _profile_part(array: NDArray[Any]) -> ImagesProfile:
    if array.ndim != 4 or array.dtype.kind not in "biuf":
        raise PreconditionError(
            f"images: expected numbers of shape (n, h, w, c), found {array.ndim} dimensions of {array.dtype}"
        )
    images, height, width, channels = array.shape
    profile = ImagesProfile(0, (height, width, channels), str(array.dtype), 0, (None,) * channels)
    step = max(1, _VALUES_AT_ONCE // max(1, height * width * channels))
    for start in range(0, images, step):
        some = array[start : start + step]
        found = [_profile_channel(some[..., channel]) for channel in range(channels)]
        part = replace(
            profile,
            images=len(some),
            not_finite=sum(count for _, count in found),
            channels=tuple(moments for moments, _ in found),
        )
        profile = merge_images(profile, part)
    return profile


def _profile_channel(values: NDArray[Any]) -> tuple[Moments | None, int]:
    flat = np.ravel(values.astype(np.uint8) if values.dtype.kind == "b" else values)
    if flat.dtype.kind == "f":
        finite = np.isfinite(flat)
        lost = len(flat) - int(finite.sum())
        flat = flat[finite].astype(np.float64) + 0.0
    else:
        lost = 0
    return (moments_of(flat) if len(flat) else None), lost
