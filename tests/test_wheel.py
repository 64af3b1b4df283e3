"""The wheel holds all that the package needs: built, installed apart from the checkout, its demo is run there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, without what this process has on its Python path."""
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], ROOT)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel, and borrows the third-party packages of this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    python = folder / "venv" / "bin" / "python"
    command: list[str | Path] = [sys.executable, "-m", "uv", "--no-config", "pip", "install", "--offline", "--no-deps"]
    done = run([*command, "--python", python, wheel], folder)
    assert done.returncode == 0, done.stderr
    where = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).stdout.strip()
    (Path(where) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_carries_configs_models_portraits_and_the_type_marker(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in [*(ROOT / "configs").rglob("*.yaml"), ROOT / "models" / "registry.toml"]:
        assert f"understudy/{path.relative_to(ROOT).as_posix()}" in names
    for name in ("py.typed", "portraits/grace_hopper.jpg", "portraits/astronaut.png", "portraits/README.md"):
        assert f"understudy/{name}" in names
    for name in ("report.html.j2", "report.css"):
        assert f"understudy/audit/templates/{name}" in names


def test_the_wheel_carries_nothing_that_is_not_the_package(wheel: Path) -> None:
    roots = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"understudy"}


@pytest.mark.weights("centerface")
def test_the_demo_runs_outside_the_checkout(elsewhere: Path) -> None:
    work = elsewhere / "work"
    work.mkdir()
    done = run([elsewhere / "venv" / "bin" / "understudy", "demo"], work)
    assert done.returncode == 0, done.stderr + done.stdout
    assert sorted(p.name for p in (work / "understudy-demo" / "after" / "images").iterdir()) == [
        "astronaut.png",
        "grace_hopper.jpg",
    ]
    assert (work / "understudy-demo" / "contact-sheet.png").is_file()
    assert "2 done" in done.stdout


def test_the_package_that_runs_there_is_the_wheels(elsewhere: Path) -> None:
    python = elsewhere / "venv" / "bin" / "python"
    program = (
        "import understudy, understudy.config.locations as l, understudy.weights as w;"
        "print(understudy.__file__, l.configs_folder(), w.models_folder())"
    )
    done = run([python, "-c", program], elsewhere)
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(elsewhere)) for path in done.stdout.split())
