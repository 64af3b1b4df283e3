"""Films among the pictures of a collection, made with the parts of the main job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from understudy.batch.films import FilmResult
from understudy.config.build import Built, fingerprint
from understudy.config.schema import Anonymize
from understudy.errors import ConfigError, InvalidInputError, RefusedImageError


class CollectionFilms:
    """Anonymises one film after the other.

    Parameters
    ----------
    settings : Anonymize
    built : callable
        The parts of the main job; called when the first film comes.

    Raises
    ------
    ConfigError
        A setting of films is out of range.
    """

    def __init__(self, settings: Anonymize, built: Callable[[], Built]) -> None:
        from understudy.video.settings import VideoSettings

        try:
            self._video = VideoSettings(**asdict(settings.video))
        except InvalidInputError as error:
            raise ConfigError(str(error)) from error
        self._settings, self._load = settings, built
        self._built: Built | None = None
        self._fingerprint: Mapping[str, object] = {}

    @property
    def depends(self) -> Mapping[str, object]:
        """Settings of films."""
        return asdict(self._video)

    def __call__(self, path: Path, folder: Path, tick: Callable[[], object]) -> FilmResult:
        """Anonymise a film into a folder.

        Raises
        ------
        RefusedImageError
            PyAV is not installed, or bodies are to be replaced.
        OutputError, StateMismatchError
        """
        if self._settings.target != "face":
            raise RefusedImageError(f"films: target=face only, got target={self._settings.target}")
        try:
            from understudy.video.film import FilmJob
        except ImportError as error:
            raise RefusedImageError(f"a film needs PyAV: pip install 'understudy[video]' ({error})") from error
        if self._built is None:
            self._built = self._load()
            self._fingerprint = {**fingerprint(self._settings, self._built.job), "video": asdict(self._video)}
        job = FilmJob(
            self._built.job.pipeline,
            self._video,
            max_pixels=self._settings.max_pixels,
            mark=self._settings.mark,
            fingerprint=self._fingerprint,
            report=lambda _stage, _frame: tick(),
        )
        folder.mkdir(parents=True, exist_ok=True)
        return job(path, folder)
