"""How the report says things: names of metrics, numbers with their units, what a status means."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.audit.plots import THIN, fixed, number, percent

DASH = "\u2013"
_COUNTED = frozenset({"subjects", "people", "faces", "pictures"})


@dataclass(frozen=True)
class Wording:
    """What readers are told of a metric."""

    section: str
    title: str
    null: str = "null edit"
    """What ``null_value`` is for this metric."""
    signed: bool = False


SECTIONS: Mapping[str, str] = {
    "privacy": "Privacy",
    "residual": "Residual faces",
    "drift": "Drift of attributes",
    "beautification": "Beautification",
    "fidelity": "Fidelity",
    "utility": "Utility",
    "resemblance": "Resemblance",
    "other": "Other figures",
}
"""Sections in their order; the last one only where something belongs nowhere else, so that nothing is dropped."""

ALIASES: Mapping[str, str] = {"re-identification": "privacy", "identity": "privacy", "residual faces": "residual"}
"""What else a section may be called where something is missing."""

QUESTIONS: Mapping[str, str] = {
    "privacy": "Can people still be recognised?",
    "residual": "Are there faces that were not replaced?",
    "drift": "Do people look like another group of people than before?",
    "beautification": "Do people look retouched?",
    "fidelity": "Did everything else stay as it was?",
    "utility": "Do detectors still find what they found?",
    "resemblance": "Does an understudy look like another real person, or all like one?",
    "other": "",
}

METHODS: Mapping[str, str] = {
    "privacy": (
        "An attacker is a face recogniser. It is shown each anonymised face and searches for the person among "
        "the original faces (rank-1 and CMC), or says whether two pictures show one person at a threshold "
        "that lets through so many original impostors (FAR). A face that it cannot find counts as not "
        "recognised. Attackers with +ridge or +metric in their name were retrained on anonymised faces of "
        "other people. An attacker that served as the anonymiser's guard is not independent and cannot carry "
        "the verdict."
    ),
    "residual": (
        "A face is residual where its pixels differ from the original by no more than a re-encoding does, or "
        "where what a second detector finds in its place passes for the original."
    ),
    "drift": (
        "Each face is read before, after and, where there is one, in a null edit (the same picture with "
        "nothing replaced). Tests are paired and compare after with the null edit, so that a meter that "
        "wavers by itself does not count; p-values are adjusted by Holm's method. Total variation and Jensen- "
        "Shannon distance are never 0 by chance: read them beside their floor. All attributes are perceived "
        "ones, unless labels were given."
    ),
    "beautification": (
        "Each part of the index is signed so that more is the direction of a retouch, in spreads (sd) of that "
        "part between the people of before, net of the null edit. 0 is no change; read sharpness beside the "
        "index."
    ),
    "fidelity": (
        "Pixels outside the masks, the seam at their edge, and the shift of keypoints, each beside the null edit."
    ),
    "utility": "Boxes that a detector finds before are taken as the truth for those that it finds after.",
    "resemblance": (
        "The nearest other person of each understudy, beside the nearest other person of each original: of "
        "many people somebody is always near, so real people are the yardstick."
    ),
    "other": "",
}
"""How a section was measured, in general; sentences of the audit itself stand beside it."""

METRICS: Mapping[str, Wording] = {
    "rank1_rate": Wording("privacy", "Right person ranked first (rank\u20111)", "chance"),
    "raw_rank1_rate": Wording("privacy", "Rank\u20111 on other originals (raw control)", "chance"),
    "gallery_size": Wording("privacy", "People in the gallery", ""),
    "eer": Wording("privacy", "Equal error rate (0.5 is guessing)", "raw control"),
    "face_not_found_share": Wording("privacy", "Faces that the attacker could not find", "raw control"),
    "rank1_rate_gap": Wording("privacy", "Largest gap of rank\u20111 between groups", "floor"),
    "residual_share": Wording("residual", "Faces that are still the original"),
    "anonymiser_miss_share": Wording("residual", "Faces that the anonymiser did not see"),
    "face_lost_share": Wording("utility", "Faces of before with no face in their place after"),
    "total_variation": Wording("drift", "Total variation", "floor"),
    "js_distance": Wording("drift", "Jensen-Shannon distance", "floor"),
    "asymmetric_change": Wording("drift", "Change in one direction"),
    "entropy_drift": Wording("drift", "Change of entropy", signed=True),
    "changed_share": Wording("drift", "Faces that read otherwise than before"),
    "net_changed_share": Wording("drift", "Changed faces, net of the null edit", "", signed=True),
    "share_drift": Wording("drift", "Change of a share", "", signed=True),
    "mean_drift": Wording("drift", "Change of the mean", signed=True),
    "standardised_drift": Wording("drift", "Change of the mean, in standard deviations", signed=True),
    "calibrated_drift": Wording("drift", "Change of the mean, in the labels' units", signed=True),
    "calibration_slope": Wording("drift", "Reading over label (1: as labelled)", "as labelled"),
    "mean_abs_change": Wording("drift", "Mean size of the change"),
    "variance_ratio": Wording("drift", "Variance ratio (under 1: alike)", "no change"),
    "invalid_share": Wording("drift", "Readings that could not be made"),
    "group_gap": Wording("drift", "Largest gap between groups", "floor"),
    "beautification_drift": Wording("beautification", "Beautification", signed=True),
    "context_changed_share": Wording("fidelity", "Pixels changed outside the masks"),
    "context_identical_share": Wording("fidelity", "Pictures without any change outside the masks"),
    "context_mean_abs": Wording("fidelity", "Mean difference outside the masks"),
    "context_max_abs": Wording("fidelity", "Largest difference outside the masks, mean"),
    "context_psnr": Wording("fidelity", "Signal to noise outside the masks (PSNR)"),
    "context_ssim": Wording("fidelity", "Structural similarity outside the masks (SSIM)"),
    "frechet_distance": Wording("fidelity", "Fr\u00e9chet distance of embeddings"),
    "fid": Wording("fidelity", "FID"),
    "kid": Wording("fidelity", "KID"),
    "kid_sd": Wording("fidelity", "KID, spread over subsets"),
    "head_pose_change": Wording("fidelity", "Change of the head's yaw, whichever way"),
    "expression_change": Wording("fidelity", "Faces with another expression"),
    "mouth_opening_change": Wording("fidelity", "Change of the mouth's opening, whichever way"),
    "eye_opening_change": Wording("fidelity", "Change of the eyes' opening, whichever way"),
    "lpips": Wording("fidelity", "LPIPS"),
    "seam_visibility": Wording("fidelity", "Visibility of the seam (log ratio)", "before", signed=True),
    "keypoint_nme": Wording("fidelity", "Shift of keypoints, of the face's size"),
    "average_precision": Wording("utility", "Average precision against the boxes of before"),
    "resembling_share": Wording("resemblance", "Understudies that resemble another person", "expected"),
    "effective_people": Wording("resemblance", "Effective number of different people (Vendi)", "originals"),
}
"""Metrics that have words of their own; all others are named by their code name."""

ATTRIBUTES: Mapping[str, str] = {
    "ita": "skin tone (ITA)",
    "monk_tone": "Monk skin tone",
    "yaw": "head yaw",
    "perceived_gender_expression": "perceived gender expression",
}
"""Attributes whose code name is no word."""

_SECTION_PATTERNS = (
    ("privacy", r"rank\d|cmc|tar_at|attack|re_?identif"),
    ("residual", r"residual|unmatched|unchanged|miss"),
    ("beautification", r"beauti"),
    ("utility", r"average_precision|^ap(_|\d|$)|recall|detected|lost"),
    ("resemblance", r"resembl|effective_people|diversity|nearest"),
    ("fidelity", r"context|seam|keypoint|nme|pose|openness|opening|expression|fid|kid|frechet|ssim|psnr|lpips|mask"),
    ("drift", r"drift|variation|distance|transition|gap|entropy|ratio"),
)
"""Where a metric without words of its own is told: the first pattern that its name holds."""

STATUS_WORDS: Mapping[str, str] = {
    "ok": "",
    "too_few": "withheld: too few people",
    "not_measured": "not measured",
    "undecided": "undecided: the data carry no verdict",
}
_SELECTED_ATTACKER = "not independent: the guard's own"
_SELECTED_ESTIMATOR = "not independent: the anonymiser's own"

VERDICTS: Mapping[str, str] = {
    "pass": "pass",
    "passed": "pass",
    "fail": "fail",
    "failed": "fail",
    "undecided": "undecided",
}
"""What gates and verdicts may be called, and what the report calls them."""
VERDICT_WORDS: Mapping[str, str] = {"pass": "Passed", "fail": "Failed", "undecided": "Undecided"}


def wording(metric: str) -> Wording:
    """The words for a metric; where there are none, those that follow from its name."""
    if metric in METRICS:
        return METRICS[metric]
    if rank := re.fullmatch(r"rank(\d+)_rate", metric):
        return Wording("privacy", f"Right person among the first {rank[1]}", "chance")
    if far := re.fullmatch(r"tar_at_far_(1e-\d+|[\d.]+)", metric):
        return Wording("privacy", f"Accepted as the same person at FAR {far[1]}", "raw control")
    section = next((name for name, pattern in _SECTION_PATTERNS if re.search(pattern, metric)), "other")
    return Wording(section, spoken(metric), signed=metric.endswith("_drift"))


def spoken(name: str) -> str:
    """A code name as words: "skin_tone/dark" is "skin tone: dark"."""
    head, slash, rest = name.partition("/")
    head = ATTRIBUTES.get(head, head).replace("_", " ")
    return (head + (f": {rest.replace('/', ': ').replace('_', ' ')}" if slash else "")).strip()


def limit_words(limit: float, unit: str) -> str:
    """A limit as it was set, without digits that nobody gave."""
    return f"{number(100 * limit)}{THIN}%" if unit == "share" else quantity(limit, unit)


def usual_unit(metric: str) -> str:
    """The unit of a metric, for a limit that is told without a row."""
    if metric.endswith(("_share", "_rate")) or metric.startswith(("tar_at", "share_drift")):
        return "share"
    return "sd" if metric in ("standardised_drift", "beautification_drift") else ""


def sentence_case(text: str) -> str:
    """The same with a capital at its start."""
    return text[:1].upper() + text[1:]


def status_words(row: Mapping[str, Any]) -> str:
    """What a row's status means, in words; empty where it is simply measured."""
    status = str(row.get("status", ""))
    if status == "selected":
        return _SELECTED_ATTACKER if wording(str(row.get("metric"))).section == "privacy" else _SELECTED_ESTIMATOR
    return STATUS_WORDS.get(status, spoken(status))


def value_words(row: Mapping[str, Any], key: str = "value") -> str:
    """One of a row's numbers with its unit, as exact as its interval makes sense; a dash where there is none."""
    signed = wording(str(row["metric"])).signed
    return quantity(row.get(key), str(row.get("unit") or ""), _decimals(row), signed=signed)


def interval_words(row: Mapping[str, Any]) -> str:
    """A row's interval, "2.1 to 4.3 %"; a dash where there is none."""
    if row.get("ci_low") is None or row.get("ci_high") is None:
        return DASH
    low, high = value_words(row, "ci_low"), value_words(row, "ci_high")
    number_of_low, _, unit_of_low = low.partition(THIN)
    same_unit = unit_of_low and unit_of_low == high.partition(THIN)[2]
    return f"{number_of_low if same_unit else low} to {high}"


def null_words(row: Mapping[str, Any]) -> str:
    """What the figure is where nothing happened, and what that means for this metric."""
    value = row.get("null_value")
    if value is None:
        return DASH
    words = wording(str(row["metric"]))
    unit, decimals = str(row.get("unit") or ""), _decimals(row)
    if decimals is not None and 0 < abs(value) < 10.0**-decimals / (100 if unit == "share" else 1):
        decimals = None  # smaller than what the row's own digits show
    if decimals is None and unit != "share":
        value = float(f"{value:.2g}")
    tiny = 10.0 ** -((_decimals(row) or 6) + 2) / (100 if unit == "share" else 1)
    if 0 < abs(value) < tiny:
        return f"about 0 ({words.null})" if words.null else "about 0"
    said = quantity(value, unit, decimals, signed=words.signed)
    return f"{said} ({words.null})" if words.null else said


def p_words(p: float | None) -> str:
    """A p-value with as many digits as anybody needs."""
    if p is None:
        return DASH
    return "<\u00a00.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def quantity(value: float | None, unit: str, decimals: int | None = None, *, signed: bool = False) -> str:
    """A number with its unit; shares in per cent, and a plus before rises where a sign matters.

    Parameters
    ----------
    value : float or None
    unit : str
        As the table has it.
    decimals : int, optional
        Digits after the point (of the per cents, for shares); three significant ones where they are not given.
    signed : bool
    """
    if value is None:
        return DASH
    if unit == "share":
        text = percent(value, decimals)
    elif unit in _COUNTED:
        text = f"{value:,.0f}" if float(value).is_integer() else number(value)
    else:
        text = number(value) if decimals is None or value == 0 else fixed(value, decimals)
        text += {"": "", "deg": "\u00b0", "face size": f"{THIN}of face size", "0 to 1": f"{THIN}of 1"}.get(
            unit, f"{THIN}{unit}"
        )
    return f"+{text}" if signed and value > 0 and any(digit in text for digit in "123456789") else text


def _decimals(row: Mapping[str, Any]) -> int | None:
    """Digits after the point that tell the ends of the interval apart in 3 to 30 steps; None without an interval."""
    low, high = row.get("ci_low"), row.get("ci_high")
    if low is None or high is None or not high > low:
        return None
    width = (high - low) * (100 if row.get("unit") == "share" else 1)
    return min(max(-math.floor(math.log10(width / 3)), 0), 6)


def verdict_word(value: object) -> str:
    """One of "pass", "fail" and "undecided"; what is none of them is undecided."""
    return VERDICTS.get(str(value), "undecided")
