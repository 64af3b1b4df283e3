"""A film whose run is killed with SIGKILL is gone on with, and comes out the same to the byte."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.video_films import is_face, job, read_film, scene, write_film

PROGRAM = Path(__file__).with_name("tiny_film.py")
N_FRAMES = 40


def start(film: Path, output: Path, pause_s: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(film), str(output), str(pause_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROGRAM.parents[2]), *sys.path])},
    )


@pytest.mark.parametrize("kind", ["found", "segment"])
def test_after_a_kill_finished_segments_are_used_again_and_the_film_is_the_same(tmp_path: Path, kind: str) -> None:
    film = write_film(tmp_path / "a.mp4", [scene((10 + k, 20, 30 + k, 44)) for k in range(N_FRAMES)])
    output = tmp_path / "out"
    killed = start(film, output, 0.03)
    while killed.poll() is None and len(list((output / ".understudy-video").glob(f"{kind}-*"))) < 2:
        time.sleep(0.005)
    assert killed.poll() is None, killed.communicate()
    killed.kill()
    killed.communicate()
    assert not list((output / "images").glob("[!.]*")), "a film that is not finished has its final name"

    again = start(film, output, 0)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    looked, replaced, status = out.split()
    assert status == "done"
    assert int(looked) <= (N_FRAMES - 16 if kind == "found" else 0)
    assert int(replaced) <= (N_FRAMES if kind == "found" else N_FRAMES - 16)
    job()(film, tmp_path / "at_once")
    assert (output / "images" / "a.mp4").read_bytes() == (tmp_path / "at_once" / "images" / "a.mp4").read_bytes()
    assert sorted(p.name for p in output.rglob("*") if p.is_file()) == ["a.mp4", "film.json", "frames.jsonl"]
    assert not any(is_face(picture).any() for picture in read_film(output / "images" / "a.mp4")[0])
