"""Send a server of the default settings what it should refuse, and write what it answered into docs/benchmarks.md.

``python scripts/serve_faults.py`` starts ``understudy serve`` in a process and a folder of its own, with shorter
deadlines than the default's (they are in the table), asks, and after each row checks that the server still returns a
portrait with its face replaced, holds no bytes, and has written no file. It ends with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- serve-faults:begin -->", "<!-- serve-faults:end -->"
PORTRAIT = (ROOT / "src/understudy/portraits/grace_hopper.jpg").read_bytes()
TOKEN = "0123456789abcdef0123456789abcdef"
HEADER_S, BODY_S = 3, 6
SETTINGS = ["port=0", f"header_s={HEADER_S}", f"body_s={BODY_S}", "requests_per_minute=0"]
JPEG, PNG = {"Content-Type": "image/jpeg"}, {"Content-Type": "image/png"}
HEAD = (
    f"POST /v1/anonymize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nAuthorization: Bearer {TOKEN}\r\n"
)


WORDS = (
    "Made by `python scripts/serve_faults.py`: `understudy serve` with its default parts and a token, as a process of "
    "its own. After each row the script checks that the server still replaces the face of a portrait, holds no bytes "
    "of any picture, and has written no file and no line of a log. Peak memory is that of the process so far, Python, "
    "libraries and networks included. The seconds were measured on a busy machine: they say that nothing hangs."
)


class Server:
    """A server process and its folder."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.log = folder / "log"
        kept = {
            key: value for key, value in os.environ.items() if key in {"PATH", "UNDERSTUDY_MODELS", "OMP_NUM_THREADS"}
        }
        cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))  # converted weights are found again
        own = {"HOME": str(self.home), "TMPDIR": str(self.home), "XDG_CACHE_HOME": cache, "UNDERSTUDY_TOKEN": TOKEN}
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "understudy", "serve", *SETTINGS],
                cwd=self.home,
                env={**kept, **own, "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        while "listening on " not in self.log.read_text():
            if self.process.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.1)
        self.url = self.log.read_text().partition("listening on ")[2].split()[0]
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def post(self, body: bytes | Iterator[bytes], headers: dict[str, str], token: str = TOKEN) -> httpx.Response:
        """One picture."""
        given = {**headers, "Authorization": f"Bearer {token}"}
        return httpx.post(
            f"{self.url}v1/anonymize", content=body, headers=given, timeout=600, trust_env=False, verify=False
        )

    def drip(self, first: str) -> str:
        """What is answered where a request comes in byte by byte."""
        got = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=0.2) as raw:
            raw.sendall(first.encode())
            for _ in range(600):
                try:
                    piece = raw.recv(65536)
                    got += piece
                    if not piece:
                        break
                except TimeoutError:
                    raw.sendall(b"a")
                except OSError:
                    break
        return f"{got.split()[1].decode()} `{json.loads(got.partition(b'{')[1] + got.partition(b'{')[2])['kind']}`"

    def memory_peak_mib(self) -> float:
        """The most that was resident so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def check(self) -> list[str]:
        """What is wrong with it now; nothing is expected."""
        answer = self.post(PORTRAIT, JPEG)
        wrong = [] if answer.status_code == 200 and answer.headers["understudy-replaced"] == "1" else ["not alive"]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        counted = httpx.get(f"{self.url}metrics", headers=headers, trust_env=False, verify=False).text
        wrong += [] if "understudy_held_bytes 0\n" in counted else ["bytes held"]
        wrong += [str(path.relative_to(self.home)) for path in self.home.rglob("*")]
        return wrong + ([] if self.log.read_text().count("\n") <= 2 else ["it logged"])


def said(answer: httpx.Response) -> str:
    """An answer in a few words."""
    if answer.headers["content-type"].startswith("image/"):
        return f"{answer.status_code}, {answer.headers['understudy-replaced']} replaced"
    return f"{answer.status_code} `{answer.json()['kind']}`"


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 px: 10.8 GB of pixels, all black, in some 10 MB."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    start = packer.flush(
        zlib.Z_FULL_FLUSH
    )  # after it, the same bytes unpack to the same rows as often as they stand there
    hundred_rows = packer.compress(b"\0" * (100 * (1 + 3 * 60_000))) + packer.flush(zlib.Z_FULL_FLUSH)
    data = start + 600 * hundred_rows + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def gigabyte() -> Iterator[bytes]:
    """A body of 1 GiB, made on the way."""
    for _ in range(1 << 14):
        yield b"\xff\xd8\xff" + b"\0" * 65533


def animation() -> bytes:
    """A GIF of three frames."""
    frames = [Image.fromarray(np.full((64, 64, 3), 80 * k, np.uint8)) for k in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def enlarged(width: int, height: int) -> bytes:
    """The portrait in the middle of a larger JPEG."""
    canvas = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    canvas.paste(Image.open(io.BytesIO(PORTRAIT)).convert("RGB"), ((width - 512) // 2, (height - 600) // 2))
    buffer = io.BytesIO()
    canvas.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def crowd(server: Server) -> str:
    """200 requests at once."""
    with ThreadPoolExecutor(200) as pool:
        answers = Counter(pool.map(lambda _: said(server.post(PORTRAIT, JPEG)), range(200)))
    return "; ".join(f"{n} x {answer}" for answer, n in sorted(answers.items()))


def rows() -> dict[str, Callable[[Server], str]]:
    """Each row's name, and how it is asked."""
    return {
        "a portrait": lambda s: said(s.post(PORTRAIT, JPEG)),
        "no picture (100 kB of zeros)": lambda s: said(s.post(b"\0" * 100_000, JPEG)),
        "1 GiB without announced length": lambda s: said(s.post(gigabyte(), JPEG)),
        "1 GB announced, one byte at a time": lambda s: s.drip(HEAD + "Content-Length: 1000000000\r\n\r\n"),
        "a bomb: PNG of 60,000 x 60,000 px in 10 MB": lambda s: said(s.post(bomb(), PNG)),
        "a JPEG cut off after a third": lambda s: said(s.post(PORTRAIT[:20_000], JPEG)),
        "an animated GIF": lambda s: said(s.post(animation(), {"Content-Type": "image/gif"})),
        "a form instead of a picture": lambda s: said(s.post(PORTRAIT, {"Content-Type": "multipart/form-data"})),
        "a wrong token": lambda s: said(s.post(PORTRAIT, JPEG, "0" * 32)),
        f"a head, one byte at a time (header_s={HEADER_S})": lambda s: s.drip(HEAD + "X-A: "),
        f"a body, one byte at a time (body_s={BODY_S})": lambda s: s.drip(HEAD + "Content-Length: 1000\r\n\r\n"),
        "200 portraits at once": crowd,
        "a JPEG of 1920 x 1080 px": lambda s: said(s.post(enlarged(1920, 1080), JPEG)),
        "a JPEG of 4000 x 3000 px": lambda s: said(s.post(enlarged(4000, 3000), JPEG)),
    }


def main() -> int:
    """Ask, check, write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    table, failed = [], []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            for name, ask in rows().items():
                began = time.perf_counter()
                answer = ask(server)
                seconds = time.perf_counter() - began
                peak = server.memory_peak_mib()
                wrong = server.check()
                failed += [f"{name}: {', '.join(wrong)}"] if wrong else []
                table.append(f"| {name} | {answer} | {seconds:.1f} | {peak:.0f} | {', '.join(wrong) or 'yes'} |")
                print(table[-1], flush=True)
        finally:
            server.process.terminate()
            code = server.process.wait(60)
    cpu = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), "?"
    )
    text = [
        BEGIN,
        "## Bad input to the server",
        "",
        (
            f"{WORDS} SIGTERM in the end: exit code {code}. {os.cpu_count()} cores of {cpu}, "
            f"Python {platform.python_version()}."
        ),
        "",
        "| sent | answer | s | peak memory so far, MiB | alive, empty, silent |",
        "|---|---|---|---|---|",
        *table,
        END,
    ]
    old = DOCS.read_text(encoding="utf-8")
    before, found, rest = old.partition(BEGIN)
    after = rest.partition(END)[2] if found else "\n"
    DOCS.write_text(before.rstrip("\n") + "\n\n" + "\n".join(text) + after, encoding="utf-8")
    print("\n".join(failed) or "every check holds", file=sys.stderr)
    return 1 if failed or code else 0


if __name__ == "__main__":
    sys.exit(main())
