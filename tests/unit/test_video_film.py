"""A film from file to file: who is covered, what stays, what is withheld."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from tests.unit.video_films import (
    MagentaDetector,
    is_face,
    job,
    packets,
    pipeline,
    read_film,
    scene,
    write_film,
)

from understudy.cli.film import RECORD, WORKPLACE
from understudy.cli.main import main
from understudy.errors import ConfigError, StateMismatchError, UnreadableImageError
from understudy.video import film
from understudy.video.source import open_film

BOXES = [(10 + k, 20, 30 + k, 44) for k in range(30)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_in_every_container_each_face_is_covered_and_frames_and_times_stay(tmp_path: Path, suffix: str) -> None:
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    source = write_film(tmp_path / f"film{suffix}", [scene(box) for box in BOXES[:20]], codec=codec)
    result = job()(source, tmp_path / "out")
    assert (result.status, result.n_frames, result.n_tracks) == ("done", 20, 1)
    before, times, base = read_film(source)
    after, new_times, new_base = read_film(tmp_path / "out" / "images" / source.name)
    assert [t * base for t in times] == [t * new_base for t in new_times]
    for old, new, box in zip(before, after, BOXES, strict=False):
        assert is_face(old).sum() > 300
        assert not is_face(new).any()
        far = np.ones(old.shape[:2], bool)
        far[box[1] - 12 : box[3] + 12, max(box[0] - 12, 0) : box[2] + 12] = False
        assert np.abs(old[far].astype(int) - new[far]).mean() < 3


def test_a_face_that_the_detector_misses_for_some_frames_is_covered_all_the_same(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", [scene(box) for box in BOXES])
    blind = pipeline(detector=MagentaDetector(blind=[0, 1, 9, 10, 11, 12, 13, 14, 22, 28, 29]))
    result = job(blind)(source, tmp_path / "out")
    assert (result.n_tracks, result.outcomes) == (1, {"filled": 30})
    after, _, _ = read_film(tmp_path / "out" / "images" / "a.mp4")
    assert [k for k, new in enumerate(after) if is_face(new).any()] == []
    lines = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(30))
    unseen = [line["frame"] for line in lines if not line["regions"][0]["observed"]]
    assert unseen == [0, 1, 9, 10, 11, 12, 13, 14, 22, 28, 29]


def test_uneven_times_stay_exactly(tmp_path: Path) -> None:
    pts = [0, 512, 700, 701, 4000, 9000, 9001, 20000, 20512, 30001]
    source = write_film(tmp_path / "a.mp4", [scene(box) for box in BOXES[:10]], pts=pts)
    job(segment_frames=3)(source, tmp_path / "out")
    _, times, base = read_film(source)
    _, new_times, new_base = read_film(tmp_path / "out" / "images" / "a.mp4")
    assert [float(t * new_base) for t in new_times] == [float(t * base) for t in times]
    assert len(set(np.diff(times))) > 5


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_film_is_seen_upright_and_stays_turned(tmp_path: Path, rotation: int) -> None:
    upright = [scene(box) for box in BOXES[:6]]
    coded = [np.ascontiguousarray(np.rot90(p, -rotation // 90)) for p in upright]
    source = write_film(tmp_path / "a.mp4", coded, rotation=rotation)
    seen = []

    class Watching(MagentaDetector):
        def __call__(self, view):  # type: ignore[no-untyped-def]
            seen.append(view.copy())
            return super().__call__(view)

    job(pipeline(detector=Watching()))(source, tmp_path / "out")
    assert seen[0].shape == upright[0].shape
    assert np.abs(seen[0].astype(int) - upright[0]).mean() < 4
    with av.open(str(tmp_path / "out" / "images" / "a.mp4")) as film:
        first = next(film.decode(video=0))
    assert first.rotation % 360 == rotation
    assert (first.height, first.width) == coded[0].shape[:2]
    assert not is_face(first.to_ndarray(format="rgb24")).any()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_copied_bit_for_bit_and_said_to_identify(tmp_path: Path, suffix: str) -> None:
    source = write_film(tmp_path / f"a{suffix}", [scene(box) for box in BOXES[:25]], sound=True)
    result = job()(source, tmp_path / "out")
    target = tmp_path / "out" / "images" / source.name
    assert packets(target, "audio") == packets(source, "audio")
    assert any("a voice identifies" in note for note in result.notes)
    with av.open(str(target)) as film:
        assert film.streams.audio[0].metadata["language"] == "fra"


def test_sound_is_dropped_on_request(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", [scene(box) for box in BOXES[:8]], sound=True)
    result = job(audio="drop")(source, tmp_path / "out")
    with av.open(str(tmp_path / "out" / "images" / "a.mp4")) as film:
        assert [s.type for s in film.streams] == ["video"]
    assert result.notes == []


def test_no_metadata_but_our_own_is_carried_over(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mkv", [scene(None)] * 4)
    with av.open(str(source)) as film:
        assert "private title" in film.metadata.values()
    job()(source, tmp_path / "out")
    data = (tmp_path / "out" / "images" / "a.mkv").read_bytes()
    assert b"private title" not in data
    assert b"+48.85" not in data


def test_a_film_that_is_cut_off_is_quarantined_without_a_file(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "whole.mkv", [scene(box) for box in BOXES])
    broken = tmp_path / "broken.mkv"
    data = bytearray(whole.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(255 - b for b in data[len(data) // 3 : len(data) // 2])
    broken.write_bytes(data)
    result = job()(broken, tmp_path / "out")
    assert (result.status, result.exit_code) == ("quarantined", 3)
    assert sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file()) == ["film.json"]


def test_a_cut_off_mp4_is_quarantined(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "whole.mp4", [scene(box) for box in BOXES])
    data = whole.read_bytes()
    front = tmp_path / "front.mp4"
    with av.open(str(whole)) as source, av.open(str(front), "w", options={"movflags": "faststart"}) as output:
        copy = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    for whole_data, name in ((data, "a.mp4"), (front.read_bytes(), "b.mp4")):
        (tmp_path / name).write_bytes(whole_data[: int(len(whole_data) * 0.8)])
        result = job()(tmp_path / name, tmp_path / f"out-{name}")
        assert result.status == "quarantined", name
        assert not list((tmp_path / f"out-{name}" / "images").glob("*"))


def test_what_ffmpeg_says_is_told_without_its_number_and_without_a_path(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    with pytest.raises(UnreadableImageError) as caught:
        open_film(path, max_pixels=1_000_000)
    assert str(caught.value) == "broken.mp4: the film cannot be read: invalid data found when processing input"


def test_a_frame_whose_regions_have_no_outcome_is_never_written(tmp_path: Path) -> None:
    from understudy.types import AnonymizedImage

    made = pipeline()
    forgetful = job(made)
    honest = forgetful._scanning.replace

    def forget(sources, *rest):  # type: ignore[no-untyped-def]
        results = honest(sources, *rest)
        return [AnonymizedImage(r.image_id, r.native, (), r.replace_mask) for r in results]

    forgetful._scanning.replace = forget  # type: ignore[method-assign]
    source = write_film(tmp_path / "a.mp4", [scene(box) for box in BOXES[:8]])
    result = forgetful(source, tmp_path / "out")
    assert result.status == "quarantined"
    assert "1 regions, outcomes for [] only" in result.error
    assert not list((tmp_path / "out" / "images").glob("*"))


def test_the_same_command_again_says_that_it_is_done_and_another_setting_is_refused(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", [scene(box) for box in BOXES[:8]])
    job()(source, tmp_path / "out")
    written = (tmp_path / "out" / "images" / "a.mp4").stat().st_mtime_ns
    again = job()(source, tmp_path / "out")
    assert again.resumed
    assert again.outcomes == {"filled": 8}
    assert (tmp_path / "out" / "images" / "a.mp4").stat().st_mtime_ns == written
    other = job()
    other.fingerprint = {"config": "b"}
    with pytest.raises(StateMismatchError, match="resume=restart"):
        other(source, tmp_path / "out")
    assert not other(source, tmp_path / "out", restart=True).resumed


def test_an_encoder_that_is_not_there_is_said_before_anything_is_written(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", [scene(None)] * 3)
    with pytest.raises(ConfigError, match="no_such_encoder"):
        job(codec="no_such_encoder")(source, tmp_path / "out")
    with pytest.raises(ConfigError, match="mpeg4 calls it"):
        job(codec="mpeg4", crf=5)(source, tmp_path / "out")
    assert not (tmp_path / "out" / "film.json").exists()


def test_quality_is_configurable(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    source = write_film(tmp_path / "a.mp4", [noise] * 3)
    sizes = []
    for crf in (10, 40):
        job(crf=crf)(source, tmp_path / f"out{crf}")
        sizes.append((tmp_path / f"out{crf}" / "images" / "a.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


def test_status_tells_of_a_film_without_a_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (RECORD, WORKPLACE) == (film.RECORD, film.WORKPLACE)
    out = tmp_path / "out"
    job()(write_film(tmp_path / "a.mp4", [scene(box) for box in BOXES[:6]]), out)
    assert main(["status", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "film:   a.mp4 done: 6 frames, 1 track",
        "faces:  6 filled (in all frames)",
    ]
    (out / WORKPLACE).mkdir()
    assert main(["status", str(out)]) == 0
    assert capsys.readouterr().out == "film:   not finished: the same command goes on with it\n"
    (out / WORKPLACE).rmdir()
    (out / RECORD).write_text("{")
    assert main(["status", str(out)]) == 1
    assert "film.json cannot be read" in capsys.readouterr().err
