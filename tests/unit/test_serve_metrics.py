"""Metrics are what Prometheus reads, and hold nothing that a client chose."""

from __future__ import annotations

import re

from understudy.serve.metrics import BUCKETS_S, Metrics

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="[^"\\\n]*",?)+)\})? (-?[0-9.]+(?:e-?[0-9]+)?)')


def parsed(text: str) -> dict[str, float]:
    """Samples by name and labels; every family has its HELP and TYPE before its samples, as the text format wants."""
    found: dict[str, float] = {}
    family = ""
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            family = line.split()[2]
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family
            assert line.split()[3] in {"counter", "gauge", "histogram"}
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1].startswith(family)
            found[f"{match[1]}{{{match[2] or ''}}}"] = float(match[3])
    assert text.endswith("\n")
    return found


def test_counts_and_the_histogram_add_up() -> None:
    metrics = Metrics()
    metrics.count_request("/", 200)
    metrics.count_request("/", 200)
    metrics.count_request("other", 404)
    metrics.count_picture("anonymised", 0.25, 1000, {"replaced": 2, "filled": 1})
    metrics.count_picture("refused", 0.3, 50, {})
    metrics.count_picture("anonymised", 100.0, 7, {"replaced": 1})
    found = parsed(metrics.text({"queue_depth": ("Pictures that wait.", 3.0)}))
    assert found['understudy_requests_total{path="/",status="200"}'] == 2
    assert found['understudy_requests_total{path="other",status="404"}'] == 1
    assert found['understudy_pictures_total{result="anonymised"}'] == 2
    assert found['understudy_pictures_total{result="refused"}'] == 1
    assert found['understudy_regions_total{outcome="replaced"}'] == 3
    assert found['understudy_regions_total{outcome="obscured"}'] == 0
    assert found["understudy_picture_bytes_total{}"] == 1057
    assert found["understudy_queue_depth{}"] == 3
    buckets = [found[f'understudy_picture_seconds_bucket{{le="{b:g}"}}'] for b in BUCKETS_S]
    assert buckets == [0, 1, 2, 2, 2, 2, 2, 2, 2]  # 0.25 lies in the bucket of 0.25: bounds are inclusive
    assert found['understudy_picture_seconds_bucket{le="+Inf"}'] == 3
    assert found["understudy_picture_seconds_count{}"] == 3
    assert found["understudy_picture_seconds_sum{}"] == 100.55
    assert metrics.mean_seconds == (0.25 + 0.3 + 100) / 3


def test_before_the_first_picture_everything_is_there_and_zero() -> None:
    found = parsed(Metrics().text({}))
    assert found['understudy_regions_total{outcome="replaced"}'] == 0
    assert found["understudy_picture_seconds_count{}"] == 0
    assert Metrics().mean_seconds == 1.0
