"""Arguments of the command line to a composed config, with paths taken literally and errors that can be read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from understudy.config.locations import configs_folder, user_path
from understudy.config.schema import SCHEMAS
from understudy.errors import ConfigError

PATH_KEYS = frozenset(
    {"input", "output", "boxes", "before", "after", "runs", "labels", "work", "model", "generator.model", "token_file"}
    | {"null", "cache", "report.key", "state", "metrics_file", "calibration", "runtime.bundle"}
    | {"generator.controlnet", "generator.lora"}
)
"""Keys whose values are taken literally, whatever characters they hold."""

_OPTIONAL_PATHS = frozenset(
    {"before", "boxes", "work", "token_file", "null", "labels", "cache", "report.key", "state", "metrics_file"}
    | {"calibration", "runtime.bundle", "generator.model", "generator.controlnet", "generator.lora"}
)
_ASSIGNMENT = re.compile(r"(?P<prefix>\+{0,2})(?P<key>[A-Za-z_][\w./@-]*)=(?P<value>.*)", re.DOTALL)
_NOISE = re.compile(
    r"full_key:|object_type=|reference_type=|See https|Config search path|provider=|Set the environment"
)
_UNKNOWN_KEY = re.compile(r"Key '([^']+)' (?:is )?not in")
_UNKNOWN_CHOICE = re.compile(r"Could not find '([^/']+)/([^']+)' Available options in '[^']+': (.*)")
_SEVERAL_VALUES = re.compile(r"Ambiguous value for argument '([^']+)'")
_NO_LIST = re.compile(r"Invalid value assigned: (\w+) is not a ListConfig")
_LIST_ENTRY = re.compile(r"[\w.]+\[\d+\]")
_BEFORE_INTERPOLATION = re.compile(r"(\\*)\$\{")
_BACKSLASHES_AT_END = re.compile(r"(\\*)\Z")
_BACKSLASHES_BEFORE_QUOTE = re.compile(r"(\\*)'")


def quote(text: str) -> str:
    """A text as a single-quoted value that Hydra's parser and OmegaConf read back as exactly this text."""
    plain = _BEFORE_INTERPOLATION.sub(lambda m: m[1] * 2 + "\\${", text)
    quoted = _BACKSLASHES_BEFORE_QUOTE.sub(lambda m: m[1] * 2 + "\\'", plain)
    return "'" + _BACKSLASHES_AT_END.sub(lambda m: m[1] * 2, quoted, count=1) + "'"


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """The arguments with the values of ``PATH_KEYS`` quoted; the others as they are.

    ``boxes=`` and ``boxes=null`` mean "no file"; a folder or file that is called null is what its name says, and so is
    every ``null=null``.

    Raises
    ------
    ConfigError
        A path that must be given is empty, as ``output=$UNSET`` in a shell.
    """
    return [_quoted(argument) for argument in arguments]


def _quoted(argument: str) -> str:
    match = _ASSIGNMENT.fullmatch(argument)
    if match is None or match["key"] not in PATH_KEYS:
        return argument
    value = match["value"]
    if match["key"] in _OPTIONAL_PATHS and (value == "" or (value == "null" and not _names_null(match["key"]))):
        return f"{match['prefix']}{match['key']}=null"
    if value == "":
        raise ConfigError(f"{match['key']}= is empty: give a path; {match['key']}=. is the folder that you are in")
    if value == "???":  # what OmegaConf reads as "not given"
        value = "./???"
    return f"{match['prefix']}{match['key']}={quote(user_path(value))}"


def _names_null(key: str) -> bool:
    """Whether the word null is a path: of the null edit always, elsewhere where something is called so."""
    return key == "null" or Path("null").exists()


@dataclass(frozen=True)
class Flags:
    """What stands on the command line besides ``key=value``."""

    overrides: tuple[str, ...]
    show_help: bool = False
    print_config: bool = False
    config_folder: str | None = None
    multirun: bool = False
    """Run every combination of the settings that name several values."""


def read_flags(arguments: Sequence[str], *, sweeps: bool = False) -> Flags:
    """Split the arguments of a command into flags and overrides.

    Parameters
    ----------
    arguments : sequence of str
    sweeps : bool
        Whether the command knows ``-m``.

    Raises
    ------
    ConfigError
        For a flag that is not known, and for a word that is neither a flag nor ``key=value``.
    """
    overrides: list[str] = []
    show_help = print_config = multirun = False
    config_folder: str | None = None
    waiting = iter(arguments)
    for argument in waiting:
        name, _, given = argument.partition("=")
        if argument in {"-h", "--help"}:
            show_help = True
        elif name in {"--cfg", "-c"}:
            kind = given or next(waiting, "")
            if kind != "job":
                raise ConfigError(f"{name} takes the word 'job' (it prints the composed config), got {kind!r}")
            print_config = True
        elif name in {"--config-dir", "-cd"}:
            config_folder = given or next(waiting, "")
        elif argument in {"-m", "--multirun"}:
            if not sweeps:
                raise ConfigError(f"sweeps ({argument}) are for anonymize: run this command once for each setting")
            multirun = True
        elif argument.startswith("-"):
            known = "--help, -m, --cfg job" if sweeps else "--help, --cfg job"
            raise ConfigError(f"no option is called {argument!r}: known are {known} and --config-dir DIR")
        elif "=" not in argument and not argument.startswith("~"):
            raise ConfigError(f"{argument!r} is no setting: write key=value, such as input={argument}")
        else:
            overrides.append(argument)
    return Flags(tuple(overrides), show_help, print_config, config_folder, multirun)


def compose_config(name: str, overrides: Sequence[str], config_folder: str | None = None) -> DictConfig:
    """Compose one of the package's primary configs.

    Parameters
    ----------
    name : str
        A key of ``SCHEMAS``.
    overrides : sequence of str
        In Hydra's grammar; paths are quoted here.
    config_folder : str, optional
        A folder of the user's with further files for the groups.

    Raises
    ------
    ConfigError
        With the reason in a few words, wherever Hydra or OmegaConf object.
    """
    store_schemas()
    given = quote_paths(overrides)
    if config_folder is not None:
        folder = Path(user_path(config_folder)).absolute()
        if not folder.is_dir():
            raise ConfigError(f"--config-dir must name a folder, {str(folder)!r} is none")
        given.append(f"hydra.searchpath=[{quote(f'file://{folder}')}]")
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(configs_folder()), version_base="1.3", job_name="understudy"):
            return compose(name, overrides=given)
    except (HydraException, OmegaConfBaseException) as error:
        raise config_error(error, name) from error


def store_schemas() -> None:
    """Make the schemas known to Hydra, for the primary configs that name them."""
    store = ConfigStore.instance()
    for key, schema in SCHEMAS.items():
        store.store(name=f"{key}_schema", node=schema)


def config_error(error: Exception, name: str) -> ConfigError:
    """What Hydra or OmegaConf objected to in the primary config of this name, in a line or two."""
    return ConfigError(_plain(error, name))


def _plain(error: Exception, name: str) -> str:
    """Hydra's message in a line or two, with the nearest known setting."""
    while isinstance(error.__cause__, (HydraException, OmegaConfBaseException)):
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not _NOISE.match(line)]
    text = " ".join(kept)
    unknown = _UNKNOWN_KEY.search(text)
    if unknown:
        key = str(getattr(error, "full_key", None) or unknown[1])
        return f"no setting is called {key!r}{_nearest(key, name)}; `understudy {name} --cfg job` prints them all"
    choice = _UNKNOWN_CHOICE.search(text)
    if choice:
        return f"{choice[1]}={choice[2]} is not known: choose from {', '.join(choice[3].split())}"
    several = _SEVERAL_VALUES.search(text)
    if several:
        key, _, values = several[1].partition("=")
        sweeps = "-m runs each of them (understudy anonymize -m ...), " if name == "anonymize" else ""
        other = f"{key}=[{values}] is a list, and \"{key}='{values}'\" is one text"
        return f"{key} names several values, {values}: {sweeps}{other}"
    if text.startswith("LexerNoViableAltException: "):
        given = text.partition(": ")[2].rstrip("^ ")
        hint = "an entry of a list cannot be set by itself (give the whole list, or a file of your own by --config-dir)"
        if not _LIST_ENTRY.match(given):
            hint = "a value with brackets, quotes or commas needs quotes within it: key='\"a, b\"'"
        return f"{given!r} cannot be read: {hint}"
    key = str(getattr(error, "full_key", None) or "")
    if key and _NO_LIST.search(text):
        return f"{key} takes a list, in brackets: {key}=[...]"
    return f"{key}: {text}" if key and key not in text else text


def _nearest(key: str, name: str) -> str:
    known = [f.name for f in fields(SCHEMAS[name])]
    if "." in key:
        nested = {name: kind for name, kind in get_type_hints(SCHEMAS[name]).items() if is_dataclass(kind)}
        known = [f"{name}.{f.name}" for name, kind in nested.items() for f in fields(kind)]
    near = difflib.get_close_matches(key, known, n=1)
    return f": did you mean {near[0]!r}?" if near else ""
