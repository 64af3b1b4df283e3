"""``understudy export model=FOLDER``: a trained model to ONNX, compared with torch."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.config.compose import compose_config, read_flags
from understudy.config.help import help_text
from understudy.config.read import as_text, read
from understudy.config.schema import Export
from understudy.config.training import run_export

HELP = """usage: understudy export model=FOLDER [output=FOLDER] [key=value ...]

Writes the ONNX files of a model folder, in place or in a copy, runs both runtimes on the same crops, and fails where
they differ by more than max_difference grey levels. Needs understudy[torch].
"""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    flags = read_flags(arguments)
    if flags.show_help:
        print(help_text("export", HELP))
        return 0
    config = compose_config("export", flags.overrides, flags.config_folder)
    if flags.print_config:
        print(as_text(config), end="")
        return 0
    folder, largest, mean = run_export(read(config, Export, "export"))
    print(f"the model lies in {folder}; onnxruntime and torch differ by {mean:.3f} grey levels, {largest} at most")
    return 0
