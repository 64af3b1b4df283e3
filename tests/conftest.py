"""Fixtures for all tests, and why a test is skipped."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NoReturn

import pytest

from understudy.config.locations import portraits
from understudy.errors import MissingWeightsError, WeightsDigestError


def _has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def _missing_weights(names: tuple[str, ...]) -> str:
    """Why the weights of a test cannot be used; empty where they can."""
    from understudy import weights

    for name in names:
        try:
            weights.find(name)
        except (MissingWeightsError, WeightsDigestError) as error:
            return str(error)
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with a reason, what this machine cannot run.

    ``@pytest.mark.weights("centerface", ...)`` names the registry entries that a test needs; without names, CenterFace.
    """
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_items and not _has_gpu():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and there is none"))
    for item in items:
        marker = item.get_closest_marker("weights")
        if marker is not None and (reason := _missing_weights(marker.args or ("centerface",))):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches another machine; the loopback address stays, for servers that a test starts itself."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> object:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family in {socket.AF_INET, socket.AF_INET6} and host not in {"127.0.0.1", "::1", "localhost"}:
            _refuse(host)
        return connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", local_only)


def _refuse(host: object) -> NoReturn:
    pytest.fail(f"a test tried to reach {host!r}: tests use no network")


@pytest.fixture(scope="session")
def portrait_paths() -> tuple[Path, ...]:
    """The two public-domain portraits of the package: Grace Hopper (JPEG) and the astronaut (PNG)."""
    return portraits()
