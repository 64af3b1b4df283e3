"""Where the server listens and what it takes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy.errors import ConfigError

MIN_TOKEN = 16
"""A token with fewer characters is refused."""


@dataclass(frozen=True)
class ServeSettings:
    """Address, token and limits of the server."""

    host: str = "127.0.0.1"
    """Address or name that it is bound to."""
    port: int = 8765
    """0: any free one."""
    hosts: tuple[str, ...] = ()
    """Further names under which it is reached (behind a proxy); each asks for a token."""
    token: str = field(default="", repr=False)
    """What clients must present; empty: nothing, on loopback only."""
    max_bytes: int = 32 << 20
    """Larger bodies are refused while they come in."""
    max_bytes_held: int = 256 << 20
    """Bytes of all bodies that come in, wait and are worked on."""
    max_waiting: int = 8
    """Pictures that wait while another is worked on."""
    max_connections: int = 256
    """Open connections; further ones are turned away."""
    requests_per_minute: float = 120.0
    """Of one client address, in the long run; 0: no limit."""
    burst: int = 30
    """Requests of one client address that may come at once."""
    header_s: float = 10.0
    """Until the head of a request must be here."""
    body_s: float = 60.0
    """Until its body must be here, and until an answer must have been fetched."""
    stop_s: float = 30.0
    """How long the picture that is worked on is waited for when the server is stopped."""

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_bytes_held", "max_waiting", "max_connections", "burst"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("header_s", "body_s", "stop_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be more than 0 seconds, got {getattr(self, name)}")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port must be 0 to 65535, got {self.port}")
        if not self.requests_per_minute >= 0:
            raise ConfigError(f"requests_per_minute must be 0 (no limit) or more, got {self.requests_per_minute}")
        if self.max_bytes_held < self.max_bytes:
            raise ConfigError(
                f"max_bytes_held must be max_bytes or more, got {self.max_bytes_held} under {self.max_bytes}"
            )
        if self.token and (len(self.token) < MIN_TOKEN or not _is_plain(self.token)):
            raise ConfigError(
                f"the token must be {MIN_TOKEN} or more characters of printable ASCII without spaces "
                f"(`openssl rand -hex 32` makes one), got {len(self.token)} characters"
            )


def _is_plain(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)
