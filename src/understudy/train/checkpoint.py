"""Checkpoints that a killed training goes on from: written beside, then renamed."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from understudy.errors import InvalidInputError, StateMismatchError

CHECKPOINT = "checkpoint.pt"
LOSSES = "losses.csv"


def save_checkpoint(folder: Path, state: Mapping[str, object]) -> None:
    """Write a checkpoint so that a kill at any moment leaves the old one or the new one, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / (CHECKPOINT + ".part")
    with temporary.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / CHECKPOINT)


def load_checkpoint(folder: Path, settings: Mapping[str, object]) -> dict[str, object] | None:
    """The checkpoint of a folder, or None where there is none.

    Raises
    ------
    StateMismatchError
        Where the checkpoint was made with other settings.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    state = torch.load(path, weights_only=True, map_location="cpu")
    if not isinstance(state, dict) or "settings" not in state:
        raise InvalidInputError(f"{path} is no checkpoint of a training")
    for key, value in settings.items():
        if state["settings"].get(key) != value:
            raise StateMismatchError(
                f"{path} was made with {key}={state['settings'].get(key)!r}, now it is {value!r}: use the same"
                f" settings, or another folder"
            )
    return state


def append_losses(folder: Path, step: int, n_samples: int, losses: Mapping[str, float]) -> None:
    """Add one row to the loss curve, and its header where the file is new."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOSSES
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "n_samples", *losses])
        writer.writerow([step, n_samples, *(f"{v:.6g}" for v in losses.values())])


def trim_losses(folder: Path, step: int) -> None:
    """Drop rows after a step, which a training that goes on from there writes again."""
    path = folder / LOSSES
    if not path.exists():
        return
    header, *rows = path.read_text().splitlines()
    kept = [row for row in rows if int(row.split(",", 1)[0]) <= step]
    path.write_text("\n".join([header, *kept]) + "\n")
