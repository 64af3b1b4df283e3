"""``understudy export output=DIR``: everything that the main job runs, as ONNX, compared with torch."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.config.compose import compose_config, read_flags
from understudy.config.exporting import ExportReport, run_export
from understudy.config.help import help_text
from understudy.config.read import as_text, read
from understudy.config.schema import Export

HELP = """usage: understudy export output=DIR [model=FOLDER] [calibration=FOLDER] [key=value ...]

Writes a bundle for a device: generator, face detector, identity embedder and attribute probe as ONNX in float32,
float16 and 8-bit integers, and bundle.json with digests, licences, and how far each is from torch or from float32.
`understudy anonymize runtime=onnx_int8 runtime.bundle=DIR` runs it. Without output the generator's graphs go into the
model's own folder. Needs understudy[torch,identity].

ends    0 the bundle is written; 1 nothing is: weights are missing, the folder cannot be written or is not empty, or
        onnxruntime and torch differ by more than max_difference grey levels
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
    settings = read(config, Export, "export")
    print(describe(run_export(settings, lambda text: print(text, flush=True))))
    return 0


def describe(report: ExportReport) -> str:
    """What was exported, in a few lines."""
    lines = []
    for precision, parity in report.understudies.items():
        against = "torch" if precision == "fp32" else "fp32"
        lines.append(
            f"understudies in {precision} differ by {parity.mean_difference:.3f} grey levels from {against}, "
            f"{parity.max_difference} at most; PSNR under the masks {parity.psnr_median_db:.1f} dB "
            f"({parity.psnr_min_db:.1f} at least), {parity.n_crops} crops"
        )
    total = sum(file.n_bytes for file in report.files) / 1e6
    return "\n".join([*lines, f"{len(report.files)} files, {total:.1f} MB, lie in {report.folder}"])
