"""The release watcher: it swaps in a newer release, and stops serving when a released byte changes."""

from __future__ import annotations

import asyncio
import sys
import time

from secure_ml.errors import RejectedError, SecureMLError
from secure_ml.home import Home
from secure_ml.releases import current_release, read_released
from secure_ml.serving.metrics import Metrics
from secure_ml.serving.served_model import ServedModel, load_released
from secure_ml.signing.trust import Trust

__all__ = ["ReleaseWatcher"]

_INTERVAL_S = 0.5
_SHARE = 20  # verification takes at most one twentieth of a core


class ReleaseWatcher:
    """The model that is served now, or the reason why none is.

    Attributes:
        served: Current model. It is replaced as a whole, and a request keeps the model that it began with.
        reason: Reason why no model is served, empty while `served` is not None.
    """

    def __init__(self, home: Home, trust: Trust, model: str, metrics: Metrics) -> None:
        """Load the current release.

        Raises:
            SecureMLError: If the release does not verify.
        """
        self._home, self._trust, self._model, self._metrics = home, trust, model, metrics
        self.served: ServedModel | None = load_released(home, trust, model)
        self.reason = ""
        self._highest = self.served.release
        self._show()

    async def watch(self) -> None:
        """Verify the release repeatedly, until cancelled."""
        while True:
            start = time.monotonic()
            try:
                verified = await asyncio.to_thread(self._verify)
            except Exception as error:  # noqa: BLE001 (any failure to verify stops the service)
                known = isinstance(error, SecureMLError)
                self.reason = str(error) if known else f"release: cannot be verified ({type(error).__name__})"
                if self.served is not None:
                    print(f"stopped serving: {self.reason}", file=sys.stderr, flush=True)  # noqa: T201
                self.served = None
            else:
                if self.served is not verified:
                    print(f"serving release {verified.release.number}", file=sys.stderr, flush=True)  # noqa: T201
                self.served, self.reason, self._highest = verified, "", verified.release
            self._show()
            await asyncio.sleep(max(_INTERVAL_S, _SHARE * (time.monotonic() - start)))

    def _verify(self) -> ServedModel:
        release = current_release(self._home, self._trust, self._model)
        if release.number < self._highest.number:
            raise RejectedError(
                f"releases/{self._model}: rolled back, expected release {self._highest.number} or newer, "
                f"found {release.number}; restore the releases folder"
            )
        served = self.served
        if served is not None and served.release.document == release.document:
            read_released(self._home, self._trust, release)
            return served
        return load_released(self._home, self._trust, self._model)

    def _show(self) -> None:
        self._metrics.intact.set(0 if self.served is None else 1)
        if self.served is not None:
            self._metrics.release.set(self.served.release.number)
