"""The report: what it says, that nothing in it can escape or call home, and that it can be read on any screen."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests import chromium
from tests.audit_sample import NASTY, sample_audit

from understudy.audit.plots import WIDTH, number, percent, ticks
from understudy.audit.plots_curve import cmc_plot, roc_plot
from understudy.audit.plots_distribution import distribution_plot
from understudy.audit.plots_dots import group_plot
from understudy.audit.plots_matrix import transition_plot
from understudy.audit.report import render_page, write_report
from understudy.audit.report_leads import lead
from understudy.audit.report_sections import gate_words
from understudy.audit.report_words import SECTIONS, interval_words, null_words, quantity, value_words, wording
from understudy.audit.signing import sign_report
from understudy.errors import InvalidInputError

VOID = {"meta", "img", "br", "link", "input", "hr"}


@dataclass
class Element:
    name: str
    attributes: dict[str, str]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, *names: str) -> Iterator[Element]:
        for child in self.children:
            if not names or child.name in names:
                yield child
            yield from child.all(*names)

    def said(self) -> str:
        return self.text + "".join(child.said() for child in self.children)


class Tree(HTMLParser):
    """A page as a tree; ends that do not fit their start are refused."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.here = Element("", {})
        self.feed(page)
        assert self.here is self.root, f"{self.here.name} is never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice"
        element = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(element)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here.children.append(Element(tag, {name: value or "" for name, value in attrs}, self.here))

    def handle_endtag(self, tag: str) -> None:
        assert self.here.name == tag, f"</{tag}> closes {self.here.name}"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.text += data


def sheet() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), (120, 160, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def page() -> bytes:
    return render_page(sign_report(sample_audit()), sheet())


@pytest.fixture(scope="module")
def tree(page: bytes) -> Element:
    return Tree(page.decode()).root


def bare(**parts: Any) -> str:
    return render_page(sign_report({"format": 1, **parts})).decode()


def section(tree: Element, key: str) -> Element:
    return next(e for e in tree.all("section") if e.attributes.get("aria-labelledby") == key)


def test_the_same_audit_gives_the_same_bytes(page: bytes) -> None:
    again = json.loads(json.dumps(sign_report(sample_audit())))
    assert render_page(again, sheet()) == page


def test_the_page_loads_nothing_and_runs_nothing(page: bytes, tree: Element) -> None:
    assert not [
        e.name for e in tree.all("link", "iframe", "object", "embed", "form", "input", "base", "audio", "video")
    ]
    for element in tree.all():
        for name, value in element.attributes.items():
            assert not name.startswith("on"), f"{element.name} has a handler"
            assert name != "style", "inline styles are not in the Content-Security-Policy"
            if name in {"src", "href", "action", "data", "srcset", "poster", "xlink:href"}:
                assert value.startswith(("#", "data:image/")), value
    assert all(e.attributes["type"] == "application/json" for e in tree.all("script"))
    assert b"url(" not in page
    assert b"@import" not in page
    assert not re.findall(rb"https?://", page)


def test_the_content_security_policy_lets_through_its_own_style_and_pictures_alone(tree: Element) -> None:
    (policy,) = (e for e in tree.all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(maxsplit=1) for rule in policy.attributes["content"].split("; "))
    (style,) = tree.all("style")
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_markup_in_names_stays_text(page: bytes, tree: Element) -> None:
    assert b"<img src=x" not in page
    assert page.count(b"</script>") == len(list(tree.all("script")))
    assert NASTY in section(tree, "about").said()
    (block,) = tree.all("script")
    assert json.loads(block.text)["config"]["note"] == NASTY


def test_markup_in_every_kind_of_name_stays_text() -> None:
    row = {
        "metric": NASTY, "attribute": NASTY, "group": f"{NASTY}={NASTY}", "n": 5, "n_missing": 1, "value": 1.0,
        "unit": NASTY, "ci_low": 0.5, "ci_high": 2.0, "p_adjusted": 0.5, "null_value": 0.1, "status": NASTY,
    }  # fmt: skip
    groups = {f"beautification_drift, {NASTY}": [row]}
    categories = {"kind": "categorical", "categories": [NASTY, "b"], "before": [1, 2], "null": None, "after": [2, 1]}
    moves = {"categories": [NASTY, "b"], "counts": [[1, 1], [1, 1]]}
    html = bare(
        verdict={"verdict": NASTY, "reason": NASTY},
        created=NASTY,
        gates=[{"name": NASTY, "verdict": NASTY, "reason": NASTY, "metric": NASTY, "limit": 1, "row": row}],
        table=[row, {**row, "group": "overall"}],
        plots={
            "distributions": {NASTY: categories},
            "transitions": {NASTY: moves},
            "roc": {NASTY: {"raw": {"far": [0.1, 1], "tar": [0.5, 1]}}},
            "groups": groups,
        },
        missing={NASTY: NASTY, "drift": [NASTY]},
        how={NASTY: NASTY},
        weights={NASTY: NASTY},
        collections={NASTY: {"path": NASTY, "n": 3}},
    )
    root = Tree(html).root
    assert not list(root.all("img", "b"))
    assert not [e for e in root.all() if "onerror" in e.attributes]


def test_the_verdict_comes_first_and_in_words(tree: Element) -> None:
    (h1,) = tree.all("h1")
    assert "Failed" in h1.said()
    (main,) = tree.all("main")
    assert main.children[0].attributes["class"] == "verdict fail"
    assert "Audit report: failed" in next(tree.all("title")).said()
    for pill in (e for e in tree.all("span") if e.attributes.get("class", "").startswith("pill")):
        assert re.fullmatch(r"(\d+ )?(passed|failed|undecided|no gate)", pill.said().strip().lower())


def test_every_section_is_there_in_its_order_with_a_sentence(tree: Element) -> None:
    headings = [e.said() for e in tree.all("h2")]
    assert headings == ["At a glance", "Gates", *SECTIONS.values(), "Pictures of after", "About this audit"]
    for key in SECTIONS:
        (told,) = (e for e in section(tree, key).all("p") if e.attributes.get("class") == "lead")
        assert told.said().endswith(".")


def test_headings_never_skip_a_level_and_landmarks_are_named(tree: Element) -> None:
    levels = [int(e.name[1]) for e in tree.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert next(tree.all("html")).attributes["lang"] == "en"
    assert len(list(tree.all("main"))) == len(list(tree.all("header"))) == len(list(tree.all("footer"))) == 1
    assert all(e.attributes.get("aria-label") for e in tree.all("nav"))
    ids = [e.attributes["id"] for e in tree.all() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in tree.all():
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(element.attributes.get(name, "").split()) <= set(ids)
        if element.attributes.get("href", "").startswith("#"):
            assert element.attributes["href"][1:] in ids


def test_tables_have_captions_scopes_and_a_container_that_scrolls(tree: Element) -> None:
    tables = list(tree.all("table"))
    assert len(tables) > 10
    for table in tables:
        assert table.children[0].name == "caption"
        assert table.children[0].said()
        assert all(e.attributes.get("scope") in {"row", "col"} for e in table.all("th"))
        assert table.parent is not None
        around = table.parent.attributes
        assert (around["class"], around["role"], around["tabindex"]) == ("scroll", "region", "0")
        assert around["aria-label"]
        widths = {len([c for c in row.children if c.name in {"td", "th"}]) for row in table.all("tr")}
        assert len(widths) == 1


def test_every_plot_has_words_and_its_numbers(tree: Element) -> None:
    plots = [e for e in tree.all("figure") if e.attributes.get("class") == "plot"]
    assert len(plots) >= 9
    for plot in plots:
        (svg,) = (e for e in plot.all("svg"))
        assert svg.attributes["role"] == "img"
        assert [e.name for e in svg.children[:2]] == ["title", "desc"]
        assert all(len(e.said()) > 10 for e in svg.children[:2])
        assert list(plot.all("details"))
        assert list(plot.all("figcaption"))
    assert all(e.attributes.get("alt") for e in tree.all("img"))
    decorative = [e for e in tree.all("svg") if e.attributes.get("role") != "img"]
    assert all(e.attributes.get("aria-hidden") == "true" for e in decorative)


def test_no_picture_is_in_it_unless_asked_for(page: bytes) -> None:
    without = render_page(sign_report(sample_audit()))
    assert b"<img" not in without
    assert b"data:image" not in without
    assert b"This page holds no picture." in without
    assert page.count(b"data:image/jpeg;base64,") == 1
    with pytest.raises(InvalidInputError, match="no picture"):
        render_page(sign_report({}), b"junk")


def test_a_guard_as_attacker_and_a_policys_estimator_are_said_to_be_so(tree: Element) -> None:
    privacy, drift = section(tree, "privacy").said(), section(tree, "drift").said()
    assert "strongest independent attacker (facenet)" in privacy
    assert "dlib served as the anonymiser's guard" in privacy
    assert "not independent: the guard's own" in privacy
    assert "The estimator of perceived age was also used by the anonymiser" in drift
    assert "withheld: too few people" in drift


def test_only_the_guards_own_attacker_is_told_to_prove_nothing() -> None:
    row = next(r for r in sample_audit()["table"] if (r["metric"], r["attribute"]) == ("rank1_rate", "dlib"))
    assert "it cannot speak for the anonymiser" in lead("privacy", [row])[0]


def test_an_audit_of_nothing_says_not_measured_everywhere() -> None:
    root = Tree(bare()).root
    assert "Undecided" in next(root.all("h1")).said()
    told = [e.said() for e in root.all("p") if e.attributes.get("class") == "lead"]
    assert len(told) == len(SECTIONS) - 1
    assert all(said.startswith("Not measured: ") for said in told)
    assert "run without gates" in root.said()


def test_an_audit_of_one_row_shows_it_and_the_reason_for_what_is_missing() -> None:
    row = next(r for r in sample_audit()["table"] if r["metric"] == "keypoint_nme")
    root = Tree(bare(table=[row], missing={"re-identification": ["no attacker is installed"], "x_y": 3})).root
    assert "3.1\u202f%" in section(root, "fidelity").said()
    assert "Not measured: No attacker is installed." in section(root, "privacy").said()
    assert "X y: 3." in section(root, "about").said()


def test_a_section_whose_rows_have_no_value_tells_why() -> None:
    row = {**sample_audit()["table"][0], "metric": "rank1_rate", "value": None, "status": "not_measured"}
    assert lead("privacy", [row]) == ["Not measured: no reading that it rests on could be made."]
    assert lead("privacy", [{**row, "status": "too_few"}]) == ["Not measured: withheld: too few people."]
    assert lead("privacy", [row], ["No face was found."]) == ["Not measured: No face was found."]


def test_a_gate_is_told_in_plain_words_with_its_limit() -> None:
    row = {"metric": "tar_at_far_1e-2", "attribute": "dlib", "group": "skin_tone=dark", "n": 60, "unit": "share",
           "value": 0.2, "ci_low": 0.1, "ci_high": 0.4, "null_value": 0.9, "status": "ok"}  # fmt: skip
    gate = {"metric": "tar_at_far_1e-2", "limit": 0.1, "rule": "at_most", "row": row}
    assert gate_words(gate) == (
        "Accepted as the same person at FAR 1e-2, dlib, skin tone: dark: at most 10\u202f% is wanted; "
        "found 20\u202f% (interval 10 to 40\u202f%), n\u00a0=\u00a060."
    )
    assert gate_words({**gate, "row": None}) == "Accepted as the same person at FAR 1e-2: at most 10\u202f% is wanted."
    assert gate_words({"name": "privacy"}) == ""


def test_a_verdict_that_is_not_given_follows_from_the_gates() -> None:
    def told(*verdicts: tuple[str, bool]) -> str:
        gates = [{"name": "g", "verdict": verdict, "holds": holds} for verdict, holds in verdicts]
        return next(Tree(bare(gates=gates)).root.all("h1")).said().strip()

    assert told(("passed", True)).endswith("Passed")
    assert told(("passed", True), ("undecided", False)).endswith("Undecided")
    assert told(("undecided", False), ("failed", False)).endswith("Failed")
    assert told(("undecided", True)).endswith("Passed")  # the config lets it be undecided


def test_a_plot_that_cannot_be_drawn_is_told_and_the_rest_is_shown() -> None:
    broken = {"kind": "categorical", "categories": ["a"], "before": [1, 2], "null": None, "after": [1]}
    html = bare(plots={"distributions": {"skin_tone": broken}})
    assert "The plot of the distribution of skin tone could not be drawn" in html


def test_a_file_name_that_is_no_utf8_does_not_stop_the_report(tmp_path: Path) -> None:
    audit = {"collections": {"before": {"path": b"/data/\xff".decode(errors="surrogateescape")}}}
    assert b"/data/\\udcff" in write_report(audit, tmp_path).read_bytes()


def test_numbers_are_written_for_people() -> None:
    assert [number(v) for v in (0, 12345.6, 3.14159, -0.0123, 0.00001)] == [
        "0", "12,346", "3.14", "\u22120.0123", "1.00e\u221205",
    ]  # fmt: skip
    assert [percent(v) for v in (0, 1, 0.5, 0.031, 0.0004)] == [
        "0\u202f%", "100\u202f%", "50.0\u202f%", "3.1\u202f%", "0.04\u202f%",
    ]  # fmt: skip
    assert ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-3, 8, 4) == [0, 5]
    assert quantity(2.5, "years", signed=True) == "+2.5\u202fyears"
    assert quantity(-2.5, "deg", signed=True) == "\u22122.5\u00b0"
    assert quantity(None, "share") == "\u2013"


def test_a_figure_has_as_many_digits_as_its_interval_makes_sense() -> None:
    row = {
        "metric": "mean_drift",
        "unit": "years",
        "value": 3.14159,
        "ci_low": 2.4,
        "ci_high": 4.06,
        "null_value": 0.02,
    }
    assert value_words(row) == "+3.1\u202fyears"
    assert interval_words(row) == "+2.4 to +4.1\u202fyears"
    assert null_words(row) == "+0.02\u202fyears (null edit)"
    share = {
        "metric": "rank1_rate",
        "unit": "share",
        "value": 0.1417,
        "ci_low": 0.083,
        "ci_high": 0.204,
        "null_value": 0.001,
    }
    assert (value_words(share), interval_words(share)) == ("14\u202f%", "8 to 20\u202f%")
    assert null_words(share) == "0.10\u202f% (chance)"


@pytest.mark.parametrize(
    ("metric", "key"),
    [("rank5_rate", "privacy"), ("tar_at_far_1e-3", "privacy"), ("frechet_distance", "fidelity"), ("new", "other"),
     ("anonymiser_miss_share", "residual"), ("age_drift", "drift"), ("average_precision_people", "utility")],
)  # fmt: skip
def test_a_metric_finds_its_section(metric: str, key: str) -> None:
    assert wording(metric).section == key


def test_bars_are_as_long_as_their_shares() -> None:
    data = {"kind": "categorical", "categories": ["a", "b"], "before": [1, 3], "null": None, "after": [2, 2]}
    plot = distribution_plot("tone", data)
    assert plot is not None
    bars = re.findall(r'class="fill-(before|after)" x="108" y="[\d.]+" width="([\d.]+)"', plot.svg)
    widths = {("before", 0): 0.25, ("after", 0): 0.5, ("before", 1): 0.75, ("after", 1): 0.5}
    unit = float(bars[2][1]) / 0.75
    assert [float(width) / unit for _, width in bars] == pytest.approx(list(widths.values()), abs=0.001)
    assert plot.rows == (("a", "25.0\u202f%", "50.0\u202f%"), ("b", "75.0\u202f%", "50.0\u202f%"))
    assert "largest move is that of a" in plot.description or "largest move is that of b" in plot.description
    empty = {"kind": "numeric", "edges": [0, 1], "before": [0], "null": None, "after": [0]}
    assert distribution_plot("tone", empty) is None


def test_a_heat_map_tells_shares_of_its_rows() -> None:
    plot = transition_plot("tone", {"categories": ["a", "b"], "counts": [[3, 1], [0, 4]]})
    assert plot is not None
    assert plot.rows == (("a (n = 4)", "3 (75\u202f%)", "1 (25\u202f%)"), ("b (n = 4)", "0", "4 (100\u202f%)"))
    assert "87.5\u202f% of 8 faces" in plot.description
    opacities = [float(v) for v in re.findall(r'fill-opacity="([\d.]+)"', plot.svg)]
    assert opacities == pytest.approx([0.04 + 0.7 * share for share in (0.75, 0.25, 0, 1)], abs=0.0051)
    with pytest.raises(InvalidInputError, match="shape"):
        transition_plot("tone", {"categories": ["a"], "counts": [[1, 2]]})
    assert transition_plot("tone", {"categories": ["a"], "counts": [[0]]}) is None


def test_a_roc_has_a_logarithmic_axis_and_reads_as_a_step() -> None:
    plot = roc_plot("facenet", {"raw": {"far": [0.001, 0.1, 1], "tar": [0.25, 0.75, 1]}, "anonymised": None})
    assert plot is not None
    (points,) = re.findall(r'class="line-before" points="([^"]+)"', plot.svg)
    xs = [float(pair.split(",")[0]) for pair in points.split()]
    assert (xs[1] - xs[0]) / (xs[2] - xs[1]) == pytest.approx(2, abs=0.01)  # two decades, then one
    assert [row[:2] for row in plot.rows] == [
        ("0.001", "25.0\u202f%"), ("0.01", "25.0\u202f%"), ("0.1", "75.0\u202f%"), ("1", "100\u202f%"),
    ]  # fmt: skip
    assert roc_plot("facenet", {"raw": None, "anonymised": None, "retrained": None}) is None


def test_a_long_curve_is_thinned_without_losing_its_ends() -> None:
    far = np.geomspace(1e-5, 1, 20_000).tolist()
    plot = roc_plot("facenet", {"anonymised": {"far": far, "tar": far}})
    assert plot is not None
    (points,) = re.findall(r'class="line-after" points="([^"]+)"', plot.svg)
    assert len(points.split()) <= 240
    assert points.split()[-1] == "352,28"


def test_a_cmc_may_be_given_as_rates_alone() -> None:
    plot = cmc_plot("facenet", {"anonymised": [0.1, 0.2, 0.4], "gallery_size": 10})
    assert plot is not None
    assert plot.rows == (("1", "10.0\u202f%"), ("2", "20.0\u202f%"))
    assert "line-chance" in plot.svg


def test_a_dot_stands_where_its_value_is_and_small_groups_stay_without() -> None:
    groups = [
        {"group": "a", "n": 40, "value": 0.2, "ci_low": 0.1, "ci_high": 0.3},
        {"group": "b", "n": 3, "value": None, "ci_low": None, "ci_high": None},
        {"group": "c", "n": 40, "value": 0.4, "ci_low": 0.3, "ci_high": 0.5},
    ]
    plot = group_plot("Rate", groups, percent, everybody=0.3, unit="share")
    assert plot is not None
    first, second = (float(x) for x in re.findall(r'class="dot" cx="([\d.]+)"', plot.svg))
    (line,) = (float(x) for x in re.findall(r'class="everybody" x1="([\d.]+)"', plot.svg))
    assert line == pytest.approx((first + second) / 2, abs=0.01)
    assert plot.rows[1] == ("b", "3", "withheld or not measured", "none")
    assert plot.rows[0] == ("a", "40", "20.0\u202f%", "10.0\u202f% to 30.0\u202f%")


CONTRASTS = [
    ("--ink", "--bg", 7), ("--quiet", "--bg", 4.5), ("--quiet", "--soft", 4.5), ("--link", "--bg", 4.5),
    ("--pass", "--pass-bg", 4.5), ("--fail", "--fail-bg", 4.5), ("--undecided", "--undecided-bg", 4.5),
    ("--quiet", "--fail-bg", 4.5), ("--quiet", "--pass-bg", 4.5), ("--quiet", "--undecided-bg", 4.5),
    ("--after", "--bg", 3), ("--before", "--bg", 3), ("--retrained", "--bg", 3), ("--null", "--bg", 3),
]  # fmt: skip


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    digits = color.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), CONTRASTS)
def test_text_and_lines_stand_out(tree: Element, scheme: int, front: str, back: str, least: float) -> None:
    (style,) = tree.all("style")
    palette = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{3,6});", re.findall(r":root \{([^}]+)\}", style.text)[scheme]))
    light, dark = sorted((luminance(palette[front]), luminance(palette[back])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= least


@pytest.mark.skipif(chromium.find() is None, reason="Chromium is not installed")
def test_a_browser_shows_it_at_both_widths_without_complaint(page: bytes, tmp_path: Path) -> None:
    path = write_report(sample_audit(), tmp_path, contact_sheet=sheet())
    with chromium.Browser() as browser:
        for width in (390, 1280):
            browser.open(path, width)
            browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert browser.evaluate("document.documentElement.scrollWidth") == width
            assert browser.complaints() == []
            asked = [url for url in browser.requests() if not url.startswith("data:")]
            assert asked == [path.resolve().as_uri()]
            style = "getComputedStyle(document.querySelector('.verdict')).borderLeftWidth"
            assert browser.evaluate(style) == "6px"  # the policy lets the style through
        assert len(browser.pdf()) > 10_000


def test_groups_of_which_none_has_a_figure_get_no_plot() -> None:
    small = {"group": "tone=dark", "n": 3, "value": None, "ci_low": None, "ci_high": None, "unit": "share"}
    large = {**small, "n": 40, "value": 0.2, "ci_low": 0.1, "ci_high": 0.3}

    def drawn(*members: dict[str, object]) -> bool:
        plots = {"groups": {"rank1_rate, dlib": list(members)}}
        return "(rank\u20111), dlib, by tone" in render_page(sign_report({**sample_audit(), "plots": plots})).decode()

    assert drawn(small, {**large, "group": "tone=light"})
    assert not drawn(small, {**small, "group": "tone=light"})


@pytest.mark.parametrize("names", [["under 13", "13 to 29", "30 to 44", "45 to 59", "60 and over"], ["no", "yes"]])
def test_slanted_names_end_within_the_plot(names: list[str]) -> None:
    plot = transition_plot("age", {"categories": names, "counts": np.eye(len(names)).tolist()})
    assert plot is not None
    starts = [float(x) for x in re.findall(r'x="([\d.]+)"[^>]*rotate', plot.svg)]
    assert len(starts) == len(names)
    assert all(x + 5.2 * len(name) <= WIDTH + 0.1 for x, name in zip(starts, names, strict=True))
