"""The profile of images as arrays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from secure_ml.contracts.images import merge_images, parse_images, profile_images, render_images
from secure_ml.digests import canonical_json
from secure_ml.errors import MalformedError, PreconditionError

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 16, 12, 3), dtype=np.uint8)


def test_shape_type_range_and_channel_means_are_those_of_numpy() -> None:
    profile = profile_images(PIXELS)
    assert (profile.images, profile.shape, profile.dtype) == (50, (16, 12, 3), "uint8")
    for channel, moments in enumerate(profile.channels):
        values = PIXELS[..., channel].astype(float)
        assert moments is not None
        assert (moments.minimum, moments.maximum) == (0, 255)
        assert moments.mean == pytest.approx(values.mean())
        assert moments.std == pytest.approx(values.std(ddof=1))


def test_images_in_parts_have_the_profile_of_all() -> None:
    whole, parts = profile_images(PIXELS), profile_images([PIXELS[:20], PIXELS[20:]])
    merged = merge_images(profile_images(PIXELS[:20]), profile_images(PIXELS[20:]))
    assert parts == merged
    assert (merged.images, merged.shape) == (whole.images, whole.shape)
    for a, b in zip(merged.channels, whole.channels, strict=True):
        assert a is not None
        assert b is not None
        assert (a.count, a.minimum, a.maximum) == (b.count, b.minimum, b.maximum)
        assert a.mean == pytest.approx(b.mean, rel=1e-12)


def test_values_that_are_not_finite_are_counted_apart() -> None:
    array = np.ones((2, 2, 2, 2), dtype=np.float32)
    array[0, 0, 0, 0], array[1, 1, 1, 0], array[..., 1] = np.nan, np.inf, np.nan
    profile = profile_images(array)
    assert profile.not_finite == 2 + 8
    assert profile.channels[0] is not None
    assert (profile.channels[0].count, profile.channels[0].mean) == (6, 1.0)
    assert profile.channels[1] is None


def test_no_image_at_all_still_has_shape_and_type() -> None:
    profile = profile_images(PIXELS[:0])
    assert (profile.images, profile.channels) == (0, (None, None, None))
    assert parse_images(render_images(profile)) == profile


@pytest.mark.parametrize(
    "arrays", [PIXELS[0], PIXELS.astype("U3"), [], [PIXELS, PIXELS[:, :8]], [PIXELS, PIXELS.astype(float)]]
)
def test_what_is_no_stack_of_like_images_is_refused(arrays: Any) -> None:
    with pytest.raises(PreconditionError, match="images: expected"):
        profile_images(arrays)


def test_parse_refuses_what_render_does_not_write() -> None:
    content = render_images(profile_images(PIXELS))
    document = json.loads(content)
    assert parse_images(content) == profile_images(PIXELS)
    for changes in (
        {"images": 49},
        {"images": -50},
        {"shape": [16, 12]},
        {"not_finite": 1},
        {"extra": 1},
        {"format": "x"},
        {"channels": document["channels"][:2]},
        {"dtype": 8},
    ):
        with pytest.raises(MalformedError):
            parse_images(canonical_json(document | changes))
    with pytest.raises(MalformedError):
        parse_images(content + b" ")
