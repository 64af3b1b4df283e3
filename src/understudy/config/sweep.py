"""The jobs of a sweep: what `-m` on the command line asks for, what each job is called, and whether it is finished."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from understudy import __version__
from understudy.config.compose import compose_config, config_error, quote, quote_paths, store_schemas
from understudy.config.locations import configs_folder, user_path
from understudy.config.read import as_text
from understudy.errors import ConfigError, MissingExtraError

JOB_FILE = "job.json"
"""In the folder of every job that came to an end: what it was and how it ended."""
LAUNCHER_FOLDER = ".sweep"
"""Below the sweep's folder: what Hydra and its launchers write for themselves."""
_LAUNCHERS = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit"}
_MAX_NAME = 120
_UNSAFE = re.compile(r"[^\w.=,+-]+")
_KEY = re.compile(r"[+~]{0,2}([A-Za-z_][\w./@-]*)(?:=|\Z)")


@dataclass(frozen=True)
class JobReport:
    """How one job ended."""

    name: str
    """Its folder below the sweep's: the settings in which it differs from the others."""
    overrides: tuple[str, ...]
    exit_code: int
    message: str = ""
    """Of an error, or what became of the pictures."""
    seconds: float = 0.0
    digest: str = ""
    """Of the composed settings without input's and output's place, and of the version."""
    skipped: bool = False
    """It was finished by an earlier run."""


Task = Callable[[tuple[str, ...], str, Path, str | None], JobReport]
"""Runs one job: its overrides, its name, its folder, the user's folder of configs."""


def key_of(argument: str) -> str:
    """The key that an argument of the command line sets; empty where it is none."""
    match = _KEY.match(argument)
    return match[1] if match else ""


def job_name(settings: Sequence[str]) -> str:
    """Name of a job's folder: its own settings, with nothing in it that a file system could mind."""
    plain = ",".join(setting.replace("'", "").replace('"', "") for setting in settings)
    name = _UNSAFE.sub("_", plain)
    if name == plain and len(name) <= _MAX_NAME and not name.startswith("."):
        return name
    return f"{name.lstrip('.')[:_MAX_NAME]}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def settings_digest(overrides: Sequence[str], config_folder: str | None) -> str:
    """Digest of what a job is composed of; where it lies does not matter."""
    config = compose_config("anonymize", [*overrides, "output=."], config_folder)
    return hashlib.sha256(f"{__version__}\n{as_text(config)}".encode()).hexdigest()


def read_job(folder: Path) -> JobReport | None:
    """How a job ended, None where none came to an end in this folder."""
    try:
        found = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
        return JobReport(**{**found, "overrides": tuple(found["overrides"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_job(folder: Path, report: JobReport) -> None:
    """Leave word of how a job ended, in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{JOB_FILE}.part"
    part.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    part.replace(folder / JOB_FILE)


def run_jobs(arguments: Sequence[str], output: str, task: Task, config_folder: str | None = None) -> list[JobReport]:
    """Run every combination of the settings that name several values, on the launcher that the arguments choose.

    Parameters
    ----------
    arguments : sequence of str
        As typed, without output; ``hydra/launcher=...`` and ``hydra.launcher...`` go to Hydra.
    output : str
        Folder of the sweep.
    task : callable
        Importable from a module, since launchers run it in other processes.
    config_folder : str, optional
        The user's folder with further files for the groups.

    Raises
    ------
    ConfigError
        An argument cannot be read, or a job cannot be composed; nothing has run then.
    MissingExtraError
        The launcher is not installed.
    """
    _require_launcher(arguments)
    store_schemas()
    own = [argument for argument in arguments if not key_of(argument).startswith("hydra")]
    for_hydra = [argument for argument in arguments if key_of(argument).startswith("hydra")]
    place = (Path(output) / LAUNCHER_FOLDER).absolute()
    quiet = ["hydra.job.chdir=false", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]
    folders = [f"hydra.sweep.dir={quote(str(place))}", "hydra.sweep.subdir=jobs"]
    if config_folder is not None:
        folders.append(f"hydra.searchpath=[{quote(f'file://{Path(user_path(config_folder)).absolute()}')}]")
    GlobalHydra.instance().clear()
    try:
        hydra = Hydra.create_main_hydra2("understudy", create_config_search_path(str(configs_folder())))
        quoted = [*quote_paths(own), f"output={quote(output)}"]
        overrides = [*quoted, *quiet, *folders, *for_hydra]
        swept = _swept(hydra, quoted, overrides)
        function = partial(_run_one, tuple(own), swept, output, task, config_folder)
        batches = hydra.multirun("anonymize", function, overrides, False)
    except (HydraException, OmegaConfBaseException) as error:
        raise config_error(error, "anonymize") from error
    finally:
        GlobalHydra.instance().clear()
    return [job.return_value for batch in batches for job in batch]


def has_launcher(name: str) -> bool:
    """Whether a launcher's plugin is installed: joblib or submitit."""
    return find_spec("hydra_plugins") is not None and find_spec(f"hydra_plugins.hydra_{name}_launcher") is not None


def _require_launcher(arguments: Sequence[str]) -> None:
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+") == "hydra/launcher" and value in _LAUNCHERS:
            name = _LAUNCHERS[value]
            if not has_launcher(name):
                raise MissingExtraError(
                    f"hydra/launcher={value} needs hydra-{name}-launcher: run `pip install 'understudy[sweep]'`"
                )


def _swept(hydra: Hydra, quoted: Sequence[str], overrides: Sequence[str]) -> tuple[str, ...]:
    """Keys that name several values: in the sweeper's params (as experiments have them), then on the command line."""
    composed = hydra.compose_config("anonymize", list(overrides), RunMode.MULTIRUN, with_log_configuration=False)
    params = composed.hydra.sweeper.get("params") or {}
    texts = [*(f"{key}={value}" for key, value in params.items()), *quoted]
    parsed = OverridesParser.create(config_loader=hydra.config_loader).parse_overrides(texts)
    last = {override.get_key_element(): override.is_sweep_override() for override in parsed}
    found = tuple(key for key, is_swept in last.items() if is_swept)
    if not found:
        raise ConfigError("a sweep (-m) needs a setting with several values, such as generator=fill,blur")
    return found


def _run_one(
    own: tuple[str, ...], swept: tuple[str, ...], output: str, task: Task, config_folder: str | None, _config: Any
) -> JobReport:
    """One job, in whatever process a launcher runs it."""
    chosen = [text for text in HydraConfig.get().overrides.task if text.partition("=")[0] in swept]
    values = {text.partition("=")[0]: text for text in chosen}
    overrides = tuple(
        [argument for argument in own if argument.partition("=")[0] not in values] + [values[key] for key in swept]
    )
    name = job_name([values[key] for key in swept])
    return task(overrides, name, Path(output) / name, config_folder)
