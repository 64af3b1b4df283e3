"""A stand-in for the hub on loopback: the routes that huggingface_hub asks for model repositories, and no more."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Repo:
    """One repository: its files at each commit; the last one is what ``main`` means."""

    commits: dict[str, dict[str, bytes]]
    gated: bool = False


@dataclass
class Hub:
    """Repositories by id, and the paths that were asked for."""

    repos: dict[str, Repo] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    endpoint: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub; its ``endpoint`` is what HF_ENDPOINT would be."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self.answer(body=True)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            hub.asked.append(path)
            status, headers, content = respond(hub, path)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def respond(hub: Hub, path: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a path."""
    if path.startswith("api/models/"):
        repo_id, _, rest = path.removeprefix("api/models/").partition("/revision/")
        repo_id, _, tree = repo_id.partition("/tree/")
        repo = hub.repos.get(repo_id)
        if repo is None:
            return refused(401, "RepoNotFound", "Repository not found")
        if repo.gated:
            return refused(403, "GatedRepo", "Access to model is restricted")
        commit = commit_of(repo, rest or tree.partition("/")[0] or "main")
        if commit is None:
            return refused(404, "RevisionNotFound", "Invalid rev id")
        return 200, {"Content-Type": "application/json"}, listing(repo_id, commit, repo.commits[commit], bool(tree))
    repo_id, _, rest = path.partition("/resolve/")
    revision, _, name = rest.partition("/")
    repo = hub.repos.get(repo_id)
    commit = None if repo is None else commit_of(repo, revision)
    if repo is None or commit is None or name not in repo.commits[commit]:
        return refused(404, "EntryNotFound", "Entry not found")
    content = repo.commits[commit][name]
    digest = hashlib.sha256(content).hexdigest()
    return 200, {"ETag": f'"{digest}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}, content


def refused(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"X-Error-Code": code, "X-Error-Message": message}, b"{}"


def commit_of(repo: Repo, revision: str) -> str | None:
    if revision == "main":
        return list(repo.commits)[-1]
    return revision if revision in repo.commits else None


def listing(repo_id: str, commit: str, files: dict[str, bytes], tree: bool) -> bytes:
    if tree:
        return json.dumps(
            [{"type": "file", "path": name, "size": len(data), "oid": commit} for name, data in files.items()]
        ).encode()
    siblings = [{"rfilename": name} for name in files]
    return json.dumps({"_id": "0", "id": repo_id, "modelId": repo_id, "sha": commit, "siblings": siblings}).encode()
