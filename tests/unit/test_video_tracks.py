"""Tracks: who is who from frame to frame, what gaps and ends become, where a scene ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.unit.video_films import MagentaDetector, is_face, job, pipeline, read_film, scene, write_film

from understudy.cli.main import main
from understudy.errors import InvalidInputError, RefusedImageError
from understudy.types import Detections
from understudy.video.cuts import color_histogram, histogram_difference
from understudy.video.live import refuse_live
from understudy.video.settings import VideoSettings
from understudy.video.smoothing import complete
from understudy.video.tracks import Track, Tracker, rows_of


def found(*boxes: tuple[float, float, float, float], confidence: float = 0.9) -> Detections:
    return Detections.faces(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), confidence))


def run(frames: list[Detections], *, cuts: tuple[int, ...] = (), max_gap: int = 5) -> list[Track]:
    tracker = Tracker(max_gap=max_gap, high_confidence=0.6)
    ended = [t for k, f in enumerate(frames) for t in tracker(k, rows_of(f, k), cut=k in cuts)]
    return sorted([*ended, *tracker.finish()], key=lambda t: t.track_id)


def seen_in(track: Track) -> list[int]:
    return [int(row["frame"]) for row in track.rows]


def test_two_who_cross_behind_a_gap_keep_their_velocity_and_so_their_tracks() -> None:
    left = [(10.0 + 8 * k, 20.0, 30.0 + 8 * k, 44.0) for k in range(12)]
    right = [(120.0 - 8 * k, 30.0, 140.0 - 8 * k, 54.0) for k in range(12)]
    frames = [found() if 5 <= k <= 8 else found(left[k], right[k]) for k in range(12)]
    tracks = run(frames)
    assert [seen_in(t) for t in tracks] == [[0, 1, 2, 3, 4, 9, 10, 11]] * 2
    for track, truth in zip(tracks, (left, right), strict=True):
        assert [float(row["xyxy"][0]) for row in track.rows] == [truth[int(row["frame"])][0] for row in track.rows]


def test_a_face_that_moves_by_more_than_its_own_box_a_frame_is_one_track() -> None:
    places = [0.0, 24.0, 50.0, 73.0, 99.0]  # px; the box is 20 wide, so no two overlap
    boxes = [(10 + x, 20.0, 30 + x, 46.0) for x in places]
    assert [seen_in(t) for t in run([found(box, confidence=0.5) for box in boxes])] == [[0, 1, 2, 3, 4]]


def test_a_face_of_another_size_beside_a_lost_one_begins_a_track_of_its_own() -> None:
    small, large = (10.0, 20.0, 30.0, 46.0), (34.0, 10.0, 74.0, 62.0)
    assert [seen_in(t) for t in run([found(small), found(large)])] == [[0], [1]]


def test_two_neighbours_of_whom_one_turns_away_stay_apart() -> None:
    one, other = (10.0, 20.0, 30.0, 46.0), (40.0, 20.0, 60.0, 46.0)
    tracks = run([found(one, other), found(one), found(one, other)])
    assert [seen_in(t) for t in tracks] == [[0, 1, 2], [0, 2]]


def test_a_face_that_was_found_once_is_lengthened_by_little_for_it_would_stand_still() -> None:
    (track,) = run([found(), found((10.0, 10.0, 30.0, 34.0)), *[found()] * 9])
    rows = complete(track, scene_end=11, extend=5, smooth=0, height=64, width=96)
    assert rows["frame"].tolist() == [0, 1, 2, 3]


def test_a_faint_detection_keeps_a_track_and_begins_one_where_there_is_none() -> None:
    box = (10.0, 10.0, 30.0, 34.0)
    assert [seen_in(t) for t in run([found(box), found(box, confidence=0.2), found(box)])] == [[0, 1, 2]]
    assert len(run([found(box, confidence=0.1)])) == 1


def test_a_gap_that_is_too_long_and_a_cut_end_a_track() -> None:
    box = (10.0, 10.0, 30.0, 34.0)
    frames = [found(box), *[found()] * 5, found(box)]
    assert [seen_in(t) for t in run(frames, max_gap=5)] == [[0, 6]]
    assert [seen_in(t) for t in run(frames, max_gap=4)] == [[0], [6]]
    assert [(seen_in(t), t.scene_start) for t in run([found(box)] * 4, cuts=(2,))] == [([0, 1], 0), ([2, 3], 2)]


def test_a_gap_is_closed_on_the_straight_line_and_the_ends_go_on_but_over_no_cut() -> None:
    frames = [found() if k in (0, 1, 2, 5, 6) else found((10 + 2 * k, 20, 30 + 2 * k, 44)) for k in range(10)]
    (track,) = run(frames, cuts=(2,))
    rows = complete(track, scene_end=11, extend=5, smooth=2.0, height=64, width=96)
    assert rows["frame"].tolist() == list(range(2, 11))
    assert rows["observed"].tolist() == [False, True, True, False, False, True, True, True, False]
    centers = (rows["xyxy"][:, 0] + rows["xyxy"][:, 2]) / 2
    np.testing.assert_allclose(centers, 20 + 2 * rows["frame"], atol=1e-3)
    widths = rows["xyxy"][:, 2] - rows["xyxy"][:, 0]
    assert (widths[~rows["observed"]] > widths[rows["observed"]].min()).all()


def test_smoothing_steadies_a_trembling_box_and_never_moves_it_off_the_face() -> None:
    noise = np.random.default_rng(0).normal(0, 0.8, 60)
    frames = [found((30 + noise[k], 20, 50 + noise[k], 44)) for k in range(60)]
    (track,) = run(frames)
    plain, steady = (complete(track, scene_end=60, extend=0, smooth=s, height=64, width=96) for s in (0.0, 2.0))
    assert np.abs(np.diff(steady["xyxy"][:, 0])).mean() < 0.4 * np.abs(np.diff(plain["xyxy"][:, 0])).mean()
    jump = [found((30 + 12 * (k >= 5), 20, 50 + 12 * (k >= 5), 44)) for k in range(10)]
    (jumping,) = run(jump)
    moved = complete(jumping, scene_end=10, extend=0, smooth=2.0, height=64, width=96)["xyxy"]
    truth = np.array([[30 + 12 * (k >= 5), 50 + 12 * (k >= 5)] for k in range(10)])
    assert np.abs((moved[:, 0] + moved[:, 2]) / 2 - truth.mean(axis=1)).max() <= 0.08 * 24 + 1e-4


def test_histograms_tell_a_cut_from_a_movement() -> None:
    a, b = scene((10, 20, 30, 44)), scene((16, 20, 36, 44))
    other = np.random.default_rng(0).integers(0, 256, a.shape, np.uint8)
    assert histogram_difference(color_histogram(a), color_histogram(a)) == 0
    assert histogram_difference(color_histogram(a), color_histogram(b)) < 0.1
    assert histogram_difference(color_histogram(a), color_histogram(other)) > 0.8
    black, white = np.zeros_like(a), np.full_like(a, 255)
    assert histogram_difference(color_histogram(black), color_histogram(white)) == 1


def test_after_a_cut_nobody_is_painted_where_the_scene_before_had_a_face(tmp_path: Path) -> None:
    pictures = [scene((20, 20, 44, 48))] * 6 + [scene(None, shade=180)] * 6
    film = write_film(tmp_path / "a.mp4", pictures)
    result = job(pipeline(detector=MagentaDetector(blind=[4, 5])))(film, tmp_path / "out")
    assert result.outcomes == {"filled": 6}
    after, _, _ = read_film(tmp_path / "out" / "images" / "a.mp4")
    assert not any(is_face(picture).any() for picture in after)


@pytest.mark.parametrize("text", ["rtsp://10.0.0.1/a", "webcam", "/dev/video0", "udp://@:1234", "v4l2:/dev/video1"])
def test_live_input_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(RefusedImageError, match="record it to a file"):
        refuse_live(text)


def test_the_command_says_politely_that_a_camera_is_no_film(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["anonymize", "input=rtsp://camera/1", f"output={tmp_path / 'out'}"]) == 1
    assert "is live" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.weights("centerface")
def test_the_command_anonymises_a_film(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    film = write_film(tmp_path / "a b=c.mp4", [scene(None)] * 4)
    fast = ["detector=centerface", "residual=none", "guard=none", "generator=fill"]
    assert main(["anonymize", f"input={film}", f"output={tmp_path / 'out'}", *fast, "video.crf=30"]) == 0
    assert "4 frames, 0 tracks" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"images", "film.json", "frames.jsonl", "run.yaml"}


@pytest.mark.parametrize("wrong", [{"segment_frames": 0}, {"cut": 1.5}, {"audio": "keep"}, {"smooth": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        VideoSettings(**wrong)  # type: ignore[arg-type]
