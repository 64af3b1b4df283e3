"""Measure this machine and write docs/benchmarks.md: ``make bench``, or ``scripts/bench.py SECTION ...``.

Sections: ``detect`` (recall and time on scenes of known truth), ``speed`` (pictures a second beside the ``deface``
command, start-up apart, and where the time goes), ``memory`` (peak at 100 and at 1,000 pictures). Each section replaces
the text between its own markers. Both commands of ``speed`` run on one pinned core with one thread each, turn by turn;
their seconds are CPU time, which other programs on the machine disturb less than the time on the wall.

Pictures: ``UNDERSTUDY_BENCH_PORTRAITS`` (portraits of any size) and ``UNDERSTUDY_BENCH_PHOTOS`` (group pictures), or
``../shared/portraits`` and ``../shared/photos`` where they exist. ``UNDERSTUDY_BENCH_DEFACE`` names the ``deface``
command; without it, an environment of its own is made for it in ``.venv-deface``. ``UNDERSTUDY_BENCH_BUNDLE`` names an
exported bundle that is measured in 8 bits too. ``UNDERSTUDY_BENCH_ROUNDS`` is the
number of rounds (3).
"""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs" / "benchmarks.md"
ROUNDS = int(os.environ.get("UNDERSTUDY_BENCH_ROUNDS", "3"))


def pictures_of(variable: str, fallback: str, pattern: str) -> list[Path]:
    """Pictures of a folder named by an environment variable, or of its usual place; exits where there are none."""
    folder = Path(os.environ.get(variable, ROOT.parent / "shared" / fallback))
    found = sorted(folder.glob(pattern))
    if not found:
        raise SystemExit(f"no pictures in {folder}: set {variable} to a folder that holds some ({pattern})")
    return found


def portraits_512(folder: Path, n: int) -> None:
    """Write n portraits of 512 px with one face each."""
    sources = pictures_of("UNDERSTUDY_BENCH_PORTRAITS", "portraits", "*.jpg")
    for i in range(n):
        with Image.open(sources[i % len(sources)]) as picture:
            picture.convert("RGB").resize((512, 512), Image.Resampling.LANCZOS).save(
                folder / f"{i:05d}.jpg", quality=92
            )


def groups_1080p(folder: Path, n: int) -> None:
    """Write n group pictures of 1920x1080."""
    sources = pictures_of("UNDERSTUDY_BENCH_PHOTOS", "photos", "group_*.jp*g")
    for i in range(n):
        with Image.open(sources[i % len(sources)]) as picture:
            scale = max(1920 / picture.width, 1080 / picture.height)
            size = (round(picture.width * scale), round(picture.height * scale))
            large = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        x, y = (large.width - 1920) // 2, (large.height - 1080) // 2
        large.crop((x, y, x + 1920, y + 1080)).save(folder / f"{i:05d}.jpg", quality=92)


def deface_command() -> Path:
    """The ``deface`` command, in an environment of its own."""
    if given := os.environ.get("UNDERSTUDY_BENCH_DEFACE"):
        return Path(given)
    environment = ROOT / ".venv-deface"
    command = environment / "bin" / "deface"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        uv = [
            sys.executable,
            "-m",
            "uv",
            "--no-config",
            "pip",
            "install",
            "-q",
            "--python",
            str(environment / "bin" / "python"),
        ]
        subprocess.run([*uv, "deface==1.5.0", "onnx", "onnxruntime"], check=True)
    return command


def pinned(command: Sequence[str | Path]) -> float:
    """CPU seconds of a command on one pinned core with one thread; exits where the command fails."""
    core = min(os.sched_getaffinity(0))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    elapsed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode != 0:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return elapsed


def understudy_command(source: Path, output: Path, *extra: str) -> list[str | Path]:
    """The product's command for a folder, with one worker thread."""
    program = Path(sys.executable).with_name("understudy")
    return [program, "anonymize", f"input={source}", f"output={output}", "runner.n_workers=1", *extra]


def machine() -> str:
    """One line on the machine that measured."""
    with open("/proc/cpuinfo") as lines:
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def rate(command: Callable[[Path, Path], list[str | Path]], folder: Path, one: Path, n: int) -> tuple[float, float]:
    """Start-up seconds and seconds a picture of a command, from a run over one picture and a run over n."""
    with tempfile.TemporaryDirectory() as scratch:
        short = pinned(command(one, Path(scratch) / "one"))
        long = pinned(command(folder, Path(scratch) / "all"))
    each = (long - short) / (n - 1)
    return short - each, each


def speed() -> str:
    """Seconds a picture beside deface, as the median ratio of rounds run turn by turn."""
    deface = deface_command()

    def run_deface(source: Path, output: Path) -> list[str | Path]:
        copy = output.with_name(output.name + "-in")  # it writes beside its inputs
        shutil.copytree(source, copy)
        return [deface, *sorted(copy.glob("*.jpg"))]

    rows = [
        "| pictures | n | deface, s a picture | understudy, s a picture | ratio (min to max of rounds) | start-up, s |",
        "|---|---|---|---|---|---|",
    ]
    bundle = os.environ.get("UNDERSTUDY_BENCH_BUNDLE")  # as `understudy export` writes it: also in 8 bits
    variants = {"": (), **({", int8": ("runtime=onnx_int8", f"runtime.bundle={bundle}")} if bundle else {})}
    for name, make, n in (("512 px portraits, one face", portraits_512, 40), ("1080p groups", groups_1080p, 8)):
        with tempfile.TemporaryDirectory() as scratch:
            folder, one = Path(scratch) / "pictures", Path(scratch) / "one"
            folder.mkdir(), one.mkdir()
            make(folder, n)
            make(one, 1)
            theirs = []
            ours: dict[str, list[tuple[float, float]]] = {label: [] for label in variants}
            for _ in range(ROUNDS):
                theirs.append(rate(run_deface, folder, one, n))
                for label, extra in variants.items():
                    ours[label].append(rate(lambda a, b, extra=extra: understudy_command(a, b, *extra), folder, one, n))
        for label, times in ours.items():
            ratios = [b[1] / a[1] for a, b in zip(theirs, times, strict=True)]
            rows.append(
                f"| {name}{label} | {n} | {median(t[1] for t in theirs):.3f} | {median(o[1] for o in times):.3f} "
                f"| {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
                f"| deface {median(t[0] for t in theirs):.1f}, understudy {median(o[0] for o in times):.1f} |"
            )
    return "\n".join(
        [
            f"Median of {ROUNDS} rounds, CPU time on one pinned core, one thread each. {machine()}.",
            "",
            *rows,
            "",
            *where_time_goes(),
        ]
    )


class Stopwatch:
    """Adds up the seconds spent in chosen calls, nested calls counted once, in the innermost."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def wrap(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def timed(*args: object, **kwargs: object) -> object:
            self._inner.append(0.0)
            started = time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                spent = time.process_time() - started
                self.seconds[name] += spent - self._inner.pop()
                self._inner[-1] += spent

        return timed


def where_time_goes() -> list[str]:
    """A table of seconds a picture by stage, on one core, in process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from understudy.config.build import job_from_overrides

    rows = ["Where the time goes (ms of CPU time a picture, in process, one core):", ""]
    tables: dict[str, dict[str, float]] = {}
    for name, make, n in (("512 px portrait", portraits_512, 12), ("1080p group", groups_1080p, 4)):
        job = job_from_overrides([])
        watch = Stopwatch()
        instrument(job, watch)
        with tempfile.TemporaryDirectory() as scratch:
            make(Path(scratch), n)
            paths = sorted(Path(scratch).glob("*.jpg"))
            for i, path in enumerate([paths[0], *paths]):
                if i == 1:  # what came before was for warming up
                    watch.seconds.clear()
                source = job.decode(path.read_bytes(), path.name)
                done = job.replace([source], job.detect([source]))[0]
                job.encode(source, done)
        tables[name] = {stage: 1000 * spent / n for stage, spent in watch.seconds.items()}
    stages = sorted({s for t in tables.values() for s in t}, key=lambda s: -max(t.get(s, 0) for t in tables.values()))
    rows += ["| stage | " + " | ".join(tables) + " |", "|---|" + "---|" * len(tables)]
    rows += [
        "| " + stage + " | " + " | ".join(f"{t.get(stage, 0):.0f}" for t in tables.values()) + " |" for stage in stages
    ]
    rows.append("| sum | " + " | ".join(f"{sum(t.values()):.0f}" for t in tables.values()) + " |")
    return rows


def instrument(job: object, watch: Stopwatch) -> None:
    """Put a stopwatch around every stage of a job."""

    class Timed:
        def __init__(self, inner: object, name: str) -> None:
            self.__dict__.update(inner=inner, label=name)

        def __call__(self, *args: object) -> object:
            return watch.wrap(self.label, self.inner)(*args)

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    pipeline = job.pipeline  # type: ignore[attr-defined]
    for stage in ("decode", "encode"):
        setattr(job, stage, watch.wrap(stage, getattr(job, stage)))
    job.replace = watch.wrap("erase, crop, composite", job.replace)  # type: ignore[attr-defined]
    pipeline.detector = Timed(pipeline.detector, "detect")
    pipeline._generate = watch.wrap("generate", pipeline._generate)
    pipeline.blender = Timed(pipeline.blender, "blend")
    pipeline.policy.read = watch.wrap("attributes", pipeline.policy.read)
    if pipeline.guard is not None:
        pipeline.guard.detector = Timed(pipeline.guard.detector, "guard: find the face")
        if pipeline.guard.embedder is not None:
            pipeline.guard.embedder = Timed(pipeline.guard.embedder, "guard: identity")
            pipeline.guard.embedder.__dict__["embed"] = watch.wrap(
                "guard: identity", pipeline.guard.embedder.inner.embed
            )
    if pipeline.residual is not None:
        pipeline.residual.detector = Timed(pipeline.residual.detector, "residual scan")


def memory() -> str:
    """Peak resident memory of a run over 100 and over 1,000 pictures."""
    rows = ["| pictures | peak, MB | pictures a second |", "|---|---|---|"]
    peaks = []
    for n in (100, 1000):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "pictures"
            folder.mkdir()
            portraits_512(folder, n)
            command = [str(p) for p in understudy_command(folder, Path(scratch) / "out")]
            started = time.perf_counter()
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                raise SystemExit(f"{command} ended with {child.returncode}")
            peaks.append(usage.ru_maxrss / 1024)
            rows.append(f"| {n} | {peaks[-1]:.0f} | {n / (time.perf_counter() - started):.2f} |")
    return "\n".join(
        [*rows, "", f"Growth from 100 to 1,000 pictures: {100 * (peaks[1] / peaks[0] - 1):+.1f} %. {machine()}."]
    )


def detect() -> str:
    """Recall and time of the torch-free detectors on fresh scenes (scripts/face_scenes.py, scripts/bench_detect.py)."""
    portraits = pictures_of("UNDERSTUDY_BENCH_PORTRAITS", "portraits", "*.jpg")[0].parent
    seed, n = os.environ.get("UNDERSTUDY_BENCH_SCENES", "7,500").split(",")
    with tempfile.TemporaryDirectory() as scratch:
        scenes = ["--portraits", str(portraits), "--output", scratch, "--seed", seed, "--n", n]
        names = ["--scenes", scratch, "--detectors", "centerface", "default", "thorough"]
        run_script("face_scenes.py", *scenes)
        table = run_script("bench_detect.py", *names)
    return f"{n} scenes, seed {seed}. {machine()}.\n\n{table.strip()}"


def run_script(name: str, *arguments: str) -> str:
    """Standard output of a script beside this one; exits where it fails."""
    command = [sys.executable, str(ROOT / "scripts" / name), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def write_section(name: str, text: str) -> None:
    """Replace what stands between a section's markers in the report, or append the section."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    page = REPORT.read_text() if REPORT.exists() else "# Benchmarks\n"
    block = f"{begin}\n{text}\n{end}"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    page = pattern.sub(lambda _: block, page) if pattern.search(page) else f"{page.rstrip()}\n\n## {name}\n\n{block}\n"
    REPORT.write_text(page)


def main(names: Sequence[str]) -> None:
    """Run the sections named, or all."""
    sections: dict[str, Callable[[], str]] = {"detect": detect, "speed": speed, "memory": memory}
    if unknown := sorted(set(names) - set(sections)):
        raise SystemExit(f"no section {unknown}: choose from {list(sections)}")
    for name in names or sections:
        write_section(name, sections[name]())
        sys.stderr.write(f"{name}: written to {REPORT}\n")
    sys.stderr.write(f"peak of this script: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
