"""Digests and signatures: whatever is changed in a report is found, and named."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from tests.audit_sample import sample_audit

from understudy.audit import report_seal, report_verify
from understudy.audit.folders import collection_digest
from understudy.audit.report import write_report
from understudy.audit.report_verify import State, verify_report
from understudy.audit.signing import (
    KEY_VARIABLE,
    PASSWORD_VARIABLE,
    canonical_json,
    figures_digest,
    figures_message,
    fingerprint,
    load_private_key,
    load_public_key,
    part_digests,
    sign_report,
    signer,
)
from understudy.audit.table import Status
from understudy.cli.main import main
from understudy.errors import ConfigError, InvalidInputError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def small() -> dict[str, Any]:
    """An audit that is drawn in no time."""
    row = {
        "metric": "rank1_rate", "attribute": "facenet", "group": "overall", "n": 120, "n_missing": 0, "value": 0.03125,
        "unit": "share", "ci_low": 0.01, "ci_high": 0.06, "p_adjusted": None, "null_value": 0.008, "status": "ok",
    }  # fmt: skip
    return {
        "format": 1,
        "verdict": {"verdict": "pass", "reason": "all 1 gates hold"},
        "gates": [{"name": "privacy", "verdict": "passed", "reason": "rank1_rate = 0.03", "holds": True}],
        "table": [row],
        "plots": {},
        "collections": {"before": {"digest": "a" * 64}, "after": {"digest": "b" * 64}},
        "missing": {},
        "config": {"seed": 1},
        "weights": {"facenet": "c" * 64},
        "software": {"understudy": "0.1.0"},
        "how": {},
    }


def pem(key: Any, *, public: bool = False, password: bytes | None = None) -> bytes:
    encoding = serialization.Encoding.PEM
    if public:
        return key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    secret = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, secret)


def written(folder: Path, name: str, data: bytes, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.fixture
def public(tmp_path: Path) -> Path:
    return written(tmp_path, "key.pub.pem", pem(KEY, public=True))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A signed report with its audit.json beside it."""
    folder = tmp_path / "out"
    folder.mkdir()
    audit = sign_report(small(), KEY)
    (folder / "audit.json").write_text(json.dumps(audit))
    return write_report(audit, folder, key=KEY)


def test_the_canonical_form_is_the_one_that_rfc_8785_has_for_its_kinds() -> None:
    value = {"b": [1.0, 0.1, -0.0, 1e22, None, True], "a": "\u00e9", "c": float("nan"), "d": np.float64(2.5)}
    assert canonical_json(value) == b'{"a":"\\u00e9","b":[1,0.1,0,1e+22,null,true],"c":null,"d":2.5}'


def test_the_same_figures_have_the_same_digest_however_they_are_held() -> None:
    audit = small()
    held_otherwise = {**dict(reversed(audit.items())), "table": tuple(audit["table"])}
    held_otherwise["table"][0]["n"] = np.int64(120)
    held_otherwise["table"][0]["status"] = Status.OK
    assert figures_digest(held_otherwise) == figures_digest(json.loads(json.dumps(small())))
    assert figures_digest({**audit, "signature": 1, "figures_sha256": 2, "part_sha256": 3}) == figures_digest(audit)


def test_the_digest_is_that_of_the_parts_digests_written_out() -> None:
    parts = part_digests({"x": [1.5], "y": "z"})
    assert parts["x"] == hashlib.sha256(b"[1.5]").hexdigest()
    of_y = hashlib.sha256(b'"z"').hexdigest()
    text = '{"x":"' + parts["x"] + '","y":"' + of_y + '"}'
    assert figures_digest({"x": [1.5], "y": "z"}) == hashlib.sha256(text.encode()).hexdigest()


def test_infinite_numbers_and_strange_things_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="infinite"):
        canonical_json({"a": [float("inf")]})
    with pytest.raises(InvalidInputError, match="object"):
        canonical_json(object())


def test_a_signature_holds_for_its_message_alone() -> None:
    signed = sign_report(small(), KEY)
    message = figures_message(signed["figures_sha256"])
    KEY.public_key().verify(base64.b64decode(signed["signature"]["value"]), message)
    assert fingerprint(signer(signed["signature"], message)) == fingerprint(KEY.public_key())
    assert signer(signed["signature"], message + b" ") is None
    for broken in ({"value": "AAAA"}, {"public_key": "no base64"}, {"algorithm": "none"}):
        assert signer({**signed["signature"], **broken}, message) is None
    assert signer("nonsense", message) is None


def test_a_signed_report_is_good_in_every_check(report: Path, public: Path) -> None:
    result = verify_report(report, public)
    states = {check.name: check.state for check in result.checks}
    assert states.pop("before") is states.pop("after") is State.OPEN  # no folders were given
    assert states == dict.fromkeys(("figures", "page", "audit.json", "signature"), State.GOOD)
    assert (result.ok, result.exit_code) == (True, 0)
    assert verify_report(report.parent / "audit.json", public).ok
    assert verify_report(report.parent, public).path == report


@pytest.mark.parametrize("part", sorted(small()))
def test_a_change_of_any_part_of_audit_json_is_found_and_named(report: Path, public: Path, part: str) -> None:
    path = report.parent / "audit.json"
    audit = json.loads(path.read_text())
    audit[part] = {"changed": 1}
    path.write_text(json.dumps(audit))
    result = verify_report(path, public)
    assert result.changed_parts == (part,)
    assert result.exit_code == 4
    assert part in result.lines()[0]
    assert verify_report(report).state("audit.json") is State.BAD


def test_a_part_that_was_added_or_taken_away_is_found(report: Path) -> None:
    path = report.parent / "audit.json"
    audit = json.loads(path.read_text())
    del audit["weights"]
    audit["extra"] = 1
    path.write_text(json.dumps(audit))
    assert verify_report(path).changed_parts == ("extra", "weights")


def test_digests_computed_anew_do_not_help_who_has_not_the_key(report: Path, public: Path) -> None:
    path = report.parent / "audit.json"
    audit = json.loads(path.read_text())
    signature = audit["signature"]
    audit["table"][0]["value"] = 0.0
    path.write_text(json.dumps({**sign_report(audit), "signature": signature}))
    result = verify_report(path, public)
    assert result.state("figures") is State.GOOD
    assert result.state("signature") is State.BAD
    path.write_text(json.dumps(sign_report(audit, OTHER)))
    assert "another key" in next(c.said for c in verify_report(path, public).checks if c.name == "signature")


def test_the_tables_digest_survives_a_round_trip_of_a_whole_audit(tmp_path: Path) -> None:
    audit = sign_report(sample_audit(), KEY)
    (tmp_path / "audit.json").write_text(json.dumps(audit, indent=1, ensure_ascii=False))
    assert verify_report(tmp_path / "audit.json").ok


def reseal(page: bytes, change: Callable[[bytes], bytes], key: Any = None) -> bytes:
    """A page with its body changed and its digest computed anew, as a forger would."""
    opened = report_seal.open_page(page, "page")
    return report_seal.seal_page(change(opened.body), opened.audit["figures_sha256"], key)


def test_a_changed_word_on_the_page_is_found(report: Path, public: Path) -> None:
    page = report.read_bytes()
    shown = "3\u202f%".encode()
    assert shown in page
    report.write_bytes(page.replace(shown, "0\u202f%".encode()))
    result = verify_report(report, public)
    assert result.state("figures") is State.GOOD
    assert result.state("page") is result.state("signature") is State.BAD


def test_a_changed_word_is_found_although_the_digest_was_computed_anew(report: Path) -> None:
    changed = reseal(report.read_bytes(), lambda body: body.replace("3\u202f%".encode(), "0\u202f%".encode()))
    report.write_bytes(changed)
    page = next(check for check in verify_report(report).checks if check.name == "page")
    assert page.state is State.BAD
    assert "own figures" in page.said


def test_a_page_of_another_version_is_held_to_its_signature(
    report: Path, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_verify, "renderer", lambda: "another version")
    result = verify_report(report, public)
    assert result.state("page") is State.OPEN
    assert result.state("signature") is State.GOOD
    report.write_bytes(reseal(report.read_bytes(), lambda body: body.replace(b"Passed", b"Failed")))
    assert verify_report(report, public).state("signature") is State.BAD
    report.write_bytes(reseal(report.read_bytes(), lambda body: body, OTHER))
    assert verify_report(report, public).state("signature") is State.BAD


def test_changed_data_inside_the_page_are_found(report: Path) -> None:
    page = report.read_bytes()
    assert page.count(b'"value":0.03125') == 1
    report.write_bytes(page.replace(b'"value":0.03125', b'"value":0.00125'))
    result = verify_report(report)
    assert result.changed_parts == ("table",)
    assert result.state("page") is State.BAD


def test_a_report_without_a_signature_is_good_until_a_key_is_given(tmp_path: Path, public: Path) -> None:
    path = write_report(small(), tmp_path)
    assert verify_report(path).ok
    assert verify_report(path).state("signature") is State.OPEN
    assert verify_report(path, public).state("signature") is State.BAD


def test_without_a_public_key_a_signature_is_told_and_not_believed(report: Path) -> None:
    result = verify_report(report)
    assert result.state("signature") is State.OPEN
    assert any(fingerprint(KEY.public_key()) in line for line in result.lines())


def test_a_contact_sheet_is_part_of_what_is_checked(tmp_path: Path) -> None:
    import io

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (10, 200, 30)).save(buffer, "PNG")
    path = write_report(small(), tmp_path, contact_sheet=buffer.getvalue())
    assert verify_report(path).state("page") is State.GOOD
    page = path.read_bytes()
    path.write_bytes(re.sub(rb"base64,.{20}", b"base64,AAAAAAAAAAAAAAAAAAAA", page, count=1))
    assert verify_report(path).state("page") is State.BAD


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95, 0.999])
def test_a_file_that_was_cut_off_is_told_as_such(report: Path, share: float) -> None:
    for path in (report, report.parent / "audit.json"):
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InvalidInputError, match=r"cut off|no whole"):
            verify_report(path)


def test_what_is_no_report_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        verify_report(tmp_path / "gone.html")
    with pytest.raises(InvalidInputError, match="neither"):
        verify_report(tmp_path)
    with pytest.raises(InvalidInputError, match="no digest"):
        verify_report(written(tmp_path, "audit.json", b"{}"))
    with pytest.raises(InvalidInputError, match="0 blocks"):
        verify_report(written(tmp_path, "page.html", b"<html><body>\n</body>\n</html>\n"))


def test_data_that_stand_twice_in_a_page_are_refused(report: Path) -> None:
    page = report.read_bytes()
    block = re.search(rb'<script type="application/json" id="understudy-audit">.*?</script>\n', page, re.DOTALL)
    assert block is not None
    report.write_bytes(page.replace(block[0], block[0] + block[0]))
    with pytest.raises(InvalidInputError, match="2 blocks"):
        verify_report(report)


def test_the_command_prints_the_checks_and_ends_with_their_code(
    report: Path, public: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", f"verify={report}", f"public_key={public}"]) == 0
    assert "nothing was found to be wrong" in capsys.readouterr().out
    report.write_bytes(report.read_bytes().replace(b"Passed", b"Failed"))
    assert main(["audit", f"verify={report}"]) == 4
    assert "WRONG  page" in capsys.readouterr().out
    assert main(["audit", f"verify={report}", "kay=1"]) == 1
    assert "verify takes public_key" in capsys.readouterr().err
    assert main(["audit", f"verify={report}", "public_key=/gone.pem"]) == 1
    assert "the key /gone.pem cannot be read" in capsys.readouterr().err


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for role, color in (("before", 40), ("after", 90)):
        (tmp_path / role / "sub").mkdir(parents=True)
        for name in ("a.png", "sub/b.png"):
            Image.new("RGB", (4, 4), (color, len(name), 0)).save(tmp_path / role / name)
        found[role] = tmp_path / role
    return found


def audit_of(folders: dict[str, Path]) -> dict[str, Any]:
    names = ("a.png", "sub/b.png")
    digests = {
        role: collection_digest({name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names})
        for role, folder in folders.items()
    }
    return {**small(), "collections": {role: {"digest": digest} for role, digest in digests.items()}}


def test_pictures_are_those_that_were_audited_until_one_byte_changes(tmp_path: Path, folders: dict[str, Path]) -> None:
    path = write_report(audit_of(folders), tmp_path / "out")
    result = verify_report(path, folders=dict(folders))
    assert result.state("before") is result.state("after") is State.GOOD
    Image.new("RGB", (4, 4), (90, 5, 1)).save(folders["after"] / "a.png")
    result = verify_report(path, folders=dict(folders))
    assert (result.state("before"), result.state("after")) == (State.GOOD, State.BAD)
    assert result.exit_code == 4
    with pytest.raises(ConfigError, match="both"):
        verify_report(path, folders={"after": folders["after"]})


def test_keys_are_read_from_a_file_or_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert load_private_key() is None
    for key in (
        load_private_key(written(tmp_path, "key.pem", pem(KEY))),
        monkeypatch.setenv(KEY_VARIABLE, pem(KEY).decode()) or load_private_key(),
        monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
        or load_private_key(written(tmp_path, "locked.pem", pem(KEY, password=b"secret"))),
    ):
        assert key is not None
        assert fingerprint(key.public_key()) == fingerprint(KEY.public_key())
    assert fingerprint(load_public_key(written(tmp_path, "pub", pem(KEY, public=True)))) == fingerprint(
        KEY.public_key()
    )


def test_a_key_that_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=r"cannot be read.*openssl genpkey"):
        load_private_key(tmp_path / "gone.pem")
    with pytest.raises(ConfigError, match="chmod 600"):
        load_private_key(written(tmp_path, "open.pem", pem(KEY), 0o644))
    with pytest.raises(ConfigError, match="no private key"):
        load_private_key(written(tmp_path, "junk.pem", b"junk"))
    with pytest.raises(ConfigError, match=PASSWORD_VARIABLE):
        load_private_key(written(tmp_path, "locked.pem", pem(KEY, password=b"secret")))
    with pytest.raises(ConfigError, match="not Ed25519"):
        load_private_key(written(tmp_path, "ec.pem", pem(generate_private_key(SECP256R1()))))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_public_key(tmp_path / "gone.pub.pem")
    with pytest.raises(ConfigError, match="the public one is needed"):
        load_public_key(written(tmp_path, "private.pem", pem(KEY)))
    with pytest.raises(ConfigError, match="no public key"):
        load_public_key(written(tmp_path, "junk.pub.pem", b"junk"))
