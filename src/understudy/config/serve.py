"""From the settings of ``understudy serve`` to the same job that ``anonymize`` runs, and to the server's own limits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from understudy.config.build import Built, build_job
from understudy.config.schema import Anonymize, Serve
from understudy.errors import ConfigError
from understudy.serve.settings import ServeSettings
from understudy.types import OutcomeKind

TOKEN_VARIABLE = "UNDERSTUDY_TOKEN"  # noqa: S105 - its name, not its content
_MAX_TOKEN_BYTES = 4096
_ONE_REGION_AT_A_TIME: dict[str, object] = {"_target_": "understudy.batch.local.RunSettings"}


def server_settings(settings: Serve, environment: Mapping[str, str] = os.environ) -> ServeSettings:
    """Address, token and limits of the server.

    Raises
    ------
    ConfigError
        A value that makes no sense, or a token that cannot be read.
    """
    token = environment.get(TOKEN_VARIABLE, "").strip()
    if settings.token_file is not None:
        token = _read_token(settings.token_file)
    shared = {f.name for f in fields(ServeSettings)} & {f.name for f in fields(Serve)}
    values = {name: getattr(settings, name) for name in shared}
    return ServeSettings(**{**values, "hosts": tuple(settings.hosts), "token": token})


def build_served_job(settings: Serve) -> Built:
    """Load every part of the main job as ``understudy anonymize`` would.

    Raises
    ------
    ConfigError, MissingWeightsError, WeightsDigestError, MissingExtraError
        ConfigError also for a generator that returns people as they were.
    """
    for key, least in (("seed", 0), ("n_attempts", 1), ("n_candidates", 1), ("max_pixels", 1)):
        if getattr(settings, key) < least:
            raise ConfigError(f"{key} must be {least} or more, got {getattr(settings, key)}")
    if not settings.context >= 1:
        raise ConfigError(f"context must be 1 or more, got {settings.context}")
    shared = {f.name for f in fields(Anonymize)} & {f.name for f in fields(Serve)}
    values = {name: getattr(settings, name) for name in shared}
    built = build_job(Anonymize(**values, input=".", output=".", runner=_ONE_REGION_AT_A_TIME))
    generator = built.job.pipeline.generator
    if generator.outcome is OutcomeKind.KEPT:
        raise ConfigError(f"generator={generator.name} replaces nobody, and serve returns nobody as they were")
    return built


def _read_token(name: str) -> str:
    """The token in a file: its content without white space around it."""
    try:
        with Path(name).open("rb") as file:
            content = file.read(_MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"token_file {name!r} cannot be read: {(error.strerror or str(error)).lower()}") from error
    token = content.decode("utf-8", "replace").strip()
    if not token or len(content) > _MAX_TOKEN_BYTES:
        raise ConfigError(f"token_file {name!r} must hold a token and nothing else, got {len(content)} bytes")
    return token
