"""OAuth client credentials: access tokens that live for minutes, as those of a self-managed Airbyte."""

from __future__ import annotations

import secrets
import threading
import time


class TokenIssuer:
    """Hands out bearer tokens and knows which are still good. They die with the service."""

    def __init__(self, client_id: str, client_secret: str, lifetime: float) -> None:
        """Set who may ask, and for how many seconds a token is good."""
        self._client_id = client_id
        self._client_secret = client_secret
        self.lifetime = lifetime
        self._expiry: dict[str, float] = {}
        self._lock = threading.Lock()

    def issue(self, client_id: object, client_secret: object) -> str | None:
        """Return a fresh token, None when the credentials are wrong."""
        right = secrets.compare_digest(str(client_id).encode(), self._client_id.encode())
        right &= secrets.compare_digest(str(client_secret).encode(), self._client_secret.encode())
        if not right:
            return None
        token, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._expiry = {known: end for known, end in self._expiry.items() if end > now}
            self._expiry[token] = now + self.lifetime
        return token

    def accepts(self, token: str) -> bool:
        """Tell whether a token is known and has not expired."""
        with self._lock:
            return self._expiry.get(token, 0.0) > time.monotonic()
