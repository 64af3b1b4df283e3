"""``understudy train labels=FILE output=FOLDER``: from labelled pictures to a model folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from understudy.config.compose import compose_config, read_flags
from understudy.config.help import help_text
from understudy.config.read import as_text, read
from understudy.config.schema import Train
from understudy.config.training import run_training

HELP = """usage: understudy train labels=FILE.jsonl output=FOLDER [key=value ...]

Trains autoencoder and denoiser of the embedded generator and writes a model folder, which `understudy anonymize
generator.model=FOLDER` uses. The same command started again goes on where it stopped. Needs understudy[torch].

ends    0 the model is written; 1 nothing could run or go on; 130 stopped by Ctrl-C
"""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    flags = read_flags(arguments)
    if flags.show_help:
        print(help_text("train", HELP))
        return 0
    config = compose_config("train", flags.overrides, flags.config_folder)
    if flags.print_config:
        print(as_text(config), end="")
        return 0
    settings = read(config, Train, "train")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    print(f"the model lies in {run_training(settings)}")
    return 0
