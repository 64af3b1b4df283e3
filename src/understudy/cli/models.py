"""``understudy models list|pull|verify``: which weights there are, under which licence, and whether they are whole."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from understudy import weights
from understudy.config.licences import refuse_unless_accepted
from understudy.config.needs import Needs, generator_names, is_generator, needs_of
from understudy.errors import ConfigError, MissingWeightsError, WeightsDigestError
from understudy.hub.checkpoint import HubCheck, find_checkpoint, read_record, verify_checkpoint
from understudy.hub.pull import pull_checkpoint
from understudy.hub.registry import HubEntry, hub_entries, hub_entry, is_hub_name

HELP = """usage: understudy models list
       understudy models pull NAME [NAME ...] [accept_licence=NAME] [from=REPOSITORY]
       understudy models pull key=value [key=value ...]
       understudy models verify

list    every model and every file of weights: task, licence, training data, and whether it is on this machine
pull    fetch into the cache: weights by name (checked against their sha256), a checkpoint of the hub by name (in its
        pinned revision), all that a config of the group generator needs by the config's name, or all that the main job
        needs with some settings (generator=sdxl_inpaint detector=thorough); from= is a mirror of one checkpoint
verify  read every file that is here, and check its sha256

UNDERSTUDY_MODELS names a folder with weight files and checkpoints of your own (a local mirror, such as a copy of what
another machine pulled); it is looked at before the cache.

ends    0 listed, fetched, or no file is wrong; 1 something could not be fetched, or a file is not what it should be
"""
_RENDERS = "renders of people who do not exist; no photograph; embedded, see its card"


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(HELP, end="")
        return 0 if arguments else 1
    action, rest = arguments[0], arguments[1:]
    if action == "list" and not rest:
        return show()
    if action == "pull" and rest:
        return pull(rest)
    if action == "pull":
        raise ConfigError("models pull takes names or settings: `understudy models list` shows the names")
    if action == "verify" and not rest:
        return verify()
    raise ConfigError(f"models takes 'list', 'pull NAME' or 'verify', got {' '.join(arguments)!r}")


def show() -> int:
    """Print the registry."""
    table = Table(title=None, show_lines=False, header_style="bold")
    for heading in ("name", "task", "here", "MB", "licence", "training data"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "MB" else "left")
    here = {check.name: check.status for check in weights.verify()}
    for entry in weights.entries():
        state = {"ok": "yes", "absent": "no"}.get(here[entry.name], here[entry.name])
        training = _with_note(entry.training_data, entry.note)
        cells = (entry.name, entry.task, state, f"{entry.size / 1e6:.1f}", entry.licence, training)
        table.add_row(*(escape(cell) for cell in cells))
    for name, size in _embedded():
        table.add_row(name, "generator", "yes", f"{size / 1e6:.1f}", "Apache-2.0", f"{_RENDERS}: models/{name}/card.md")
    for checkpoint in hub_entries():
        table.add_row(*(escape(cell) for cell in _hub_row(checkpoint)))
    _console().print(table)
    return 0


def _embedded() -> list[tuple[str, int]]:
    """Name and bytes of each generator that comes with the package."""
    folders = sorted(path.parent for path in weights.models_folder().glob("*/config.json"))
    return [(f.name, sum(part.stat().st_size for part in f.rglob("*") if part.is_file())) for f in folders]


def _with_note(text: str, note: str) -> str:
    return f"{text}; {note}" if note else text


def _hub_row(entry: HubEntry) -> tuple[str, ...]:
    """Cells of one checkpoint."""
    state, size = "no", ""
    try:
        record = read_record(find_checkpoint(entry.name))
        state = "yes"
        size = "" if record is None else f"{sum(n for n, _ in record.files.values()) / 1e6:.1f}"
    except MissingWeightsError:
        pass
    except WeightsDigestError:
        state = "another revision"
    licence = entry.licence if entry.commercial else f"{entry.licence}: needs accept_licence={entry.name}"
    pinned = f"{entry.repo} @ {entry.revision[:8] if entry.revision else 'the revision of the first pull'}"
    return entry.name, entry.task, state, size, licence, _with_note(f"{entry.training_data}; hub: {pinned}", entry.note)


def pull(arguments: Sequence[str]) -> int:
    """Fetch weights and checkpoints: by name, by config, or by settings."""
    accept = _taken(arguments, "accept_licence")
    mirror = _taken(arguments, "from")
    own = [a for a in arguments if a.partition("=")[0] not in {"accept_licence", "from"}]
    names = [a for a in own if "=" not in a]
    overrides = [a for a in own if "=" in a]
    if mirror is not None and (overrides or len(names) != 1 or not is_hub_name(names[0])):
        raise ConfigError("from=REPOSITORY goes with the name of one checkpoint, such as sd15_inpaint")
    if mirror is not None:
        _pull_checkpoint(hub_entry(names[0]), accept, mirror)
        return 0
    embedded = {name for name, _ in _embedded()}
    for name in names:  # before anything is fetched
        _require_known(name, embedded)
    for name in names:
        if name in embedded:
            print(f"{name}: comes with the package, nothing is fetched")
        elif is_generator(name):
            _pull_all(needs_of([f"generator={name}"]), accept)
        elif is_hub_name(name):
            _pull_checkpoint(hub_entry(name), accept, None)
        else:
            _pull_weights(weights.entry(name))
    if overrides:
        _pull_all(needs_of(overrides), accept)
    return 0


def _require_known(name: str, embedded: Collection[str]) -> None:
    """Refuse a name that nothing has, with those that there are."""
    known = {
        "weights": [entry.name for entry in weights.entries()],
        "checkpoints of the hub": [entry.name for entry in hub_entries()],
        "generators": generator_names(),
    }
    every = {*embedded, *(other for names in known.values() for other in names)}
    if name in every:
        return
    near = difflib.get_close_matches(name, sorted(every), n=1)
    offered = "; ".join(f"{what}: {', '.join(names)}" for what, names in known.items())
    raise ConfigError(
        f"nothing to pull is called {name!r}{f': did you mean {near[0]!r}?' if near else '.'} There are {offered}. "
        "`understudy models list` tells more of each"
    )


def _taken(arguments: Sequence[str], key: str) -> str | None:
    """The last value of a key, None where it is not given."""
    return next((a.partition("=")[2] for a in reversed(arguments) if a.partition("=")[0] == key), None)


def _pull_all(needs: Needs, accept: str | None) -> None:
    for entry in needs.checkpoints:  # before anything is fetched
        refuse_unless_accepted(entry, accept)
    for name in needs.weights:
        _pull_weights(weights.entry(name))
    for entry in needs.checkpoints:
        _pull_checkpoint(entry, accept, None)
    for model, revision, variant in needs.hub_ids:
        from understudy.generate.diffusers_load import model_folder, require_extra

        require_extra()
        print(f"{model}: {model_folder(model, revision=revision, variant=variant, local_files_only=False)}")


def _pull_checkpoint(entry: HubEntry, accept: str | None, mirror: str | None) -> None:
    refuse_unless_accepted(entry, accept)
    print(f"{entry.name}: licence {entry.licence}")
    folder = pull_checkpoint(entry.name, repo=mirror)
    record = read_record(folder)
    print(f"{entry.name}: {folder} ({'' if record is None else f'{record.repo} @ {record.revision}'})")


def _pull_weights(entry: weights.Entry) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(entry.name, total=entry.size)

        def advance(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        path = weights.pull(entry.name, progress=advance)
    print(f"{entry.name}: {path}")


def verify() -> int:
    """Check every file; 1 where one that is here is not what the registry says."""
    checks: list[weights.Check | HubCheck] = [*weights.verify(), *(verify_checkpoint(entry) for entry in hub_entries())]
    table = Table(header_style="bold")
    for heading in ("name", "status", "where"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        table.add_row(check.name, check.status, str(check.path) if check.path else "")
    _console().print(table)
    wrong = [check for check in checks if check.status == "wrong digest"]
    for check in wrong:
        print(check.detail)
    n_ok = sum(check.status == "ok" for check in checks)
    print(f"{n_ok} whole, {len(wrong)} with another content, {len(checks) - n_ok - len(wrong)} not on this machine")
    return 1 if wrong else 0


def _console() -> Console:
    """Standard output; wide where it is no terminal, so that nothing is folded in a file."""
    console = Console()
    return console if console.is_terminal else Console(width=200)
