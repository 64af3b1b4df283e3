"""Fetch checkpoints through the hub's own client, ahead of runs on machines without a network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from understudy.errors import MissingExtraError, MissingWeightsError, WeightsDigestError
from understudy.hub.checkpoint import Pulled, own_folder, places, read_record, write_record
from understudy.hub.registry import HubEntry, hub_entry, vanished
from understudy.weights import file_digest


def pull_checkpoint(name: str, *, repo: str | None = None, endpoint: str | None = None) -> Path:
    """Folder of a checkpoint, fetched where it is not here yet.

    Parameters
    ----------
    name : str
        Name in the registry.
    repo : str, optional
        A mirror to fetch it from, in place of the registry's repository; its newest revision is taken, and recorded.
    endpoint : str, optional
        Address of the hub; left out: the client's own (``HF_ENDPOINT``).

    Raises
    ------
    MissingExtraError
        huggingface_hub is not installed.
    MissingWeightsError
        The hub does not give it: no network, gone, gated, or without safetensors.
    WeightsDigestError
        The folder here is of another revision.
    """
    entry = hub_entry(name)
    known = next((r for r in (read_record(folder) for folder in places(name)) if r is not None), None)
    if known is None or repo not in (None, known.repo):
        source = repo or entry.repo
        return _fetch(entry, source, entry.revision if source == entry.repo else None, endpoint)
    if known.repo == entry.repo and entry.revision not in (None, known.revision):
        raise WeightsDigestError(
            f"'{name}' is here in revision {known.revision}, and the registry wants {entry.revision}: "
            f"delete {own_folder(name)} first"
        )
    return _fetch(entry, known.repo, known.revision, endpoint)


def _fetch(entry: HubEntry, repo: str, revision: str | None, endpoint: str | None) -> Path:
    if find_spec("huggingface_hub") is None:
        raise MissingExtraError(f"fetching '{entry.name}' needs huggingface_hub: run `pip install 'understudy[torch]'`")
    from huggingface_hub import HfApi, snapshot_download

    folder = own_folder(entry.name)
    try:
        info = HfApi(endpoint=endpoint).model_info(repo, revision=revision)
        chosen = choose_files([s.rfilename for s in info.siblings or []], entry.patterns, entry.variant)
        if not any(path.endswith(".safetensors") for path in chosen):
            raise MissingWeightsError(
                f"{repo} offers no safetensors that '{entry.name}' could use; pickled weights are not fetched"
            )
        snapshot_download(repo, revision=info.sha, allow_patterns=chosen, local_dir=folder, endpoint=endpoint)
    except Exception as error:  # whatever the client raises, by names of its transport's own
        raise MissingWeightsError(_why(entry, repo, error)) from error
    files = {path: ((folder / path).stat().st_size, file_digest(folder / path)) for path in sorted(chosen)}
    write_record(folder, Pulled(repo, str(info.sha), entry.licence, files))
    return folder


def choose_files(names: Sequence[str], patterns: Iterable[str], variant: str | None) -> list[str]:
    """The files of a repository that are fetched.

    Parameters
    ----------
    names : sequence of str
        Every file, by its path in the repository.
    patterns : iterable of str
        As of the shell; a star crosses folders.
    variant : str or None
        Of weights, those of this variant (fp16: ``model.fp16.safetensors``) in every folder that has it, else the
        plain ones.
    """
    matching = [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    weights = [name for name in matching if name.endswith(".safetensors")]
    kept = {name for name in matching if name.endswith((".json", ".txt", ".model"))}
    marked = re.compile(rf"\.{re.escape(variant)}[.-]") if variant else None
    for folder in {str(PurePosixPath(name).parent) for name in weights}:
        here = [name for name in weights if str(PurePosixPath(name).parent) == folder]
        of_variant = [name for name in here if marked is not None and marked.search(PurePosixPath(name).name)]
        kept |= set(of_variant or [name for name in here if PurePosixPath(name).name.count(".") == 1])
    return sorted(kept)


def _why(entry: HubEntry, repo: str, error: Exception) -> str:
    """What went wrong and what to do, in one sentence or two."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, MissingWeightsError):
        return str(error)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, GatedRepoError):
        return (
            f"{repo} asks for consent to its licence ({entry.licence}): give it on the model's page, and set HF_TOKEN "
            "to a token of your account"
        )
    if isinstance(error, RepositoryNotFoundError):
        way = vanished(repo) or f"'{repo}' is not on the hub"
        return f"{way}; `understudy models pull {entry.name} from=MIRROR` fetches it from there"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} no longer has revision {entry.revision}, which the registry wants: {reason}"
    return (
        f"checkpoint '{entry.name}' could not be fetched from {repo} ({reason}): try again where there is a network, "
        f"then copy {own_folder(entry.name)} into the folder that UNDERSTUDY_MODELS names"
    )
