"""A real S3 server on the loopback address, with a proxy before it that fails where a test says so."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "pictures"
Fault = Callable[[str, str, int], str | int | None]
"""From method, path and how often both came before to what goes wrong: a status, "cut", "slow", or nothing."""


class ObjectStore:
    """The proxy's address, its fault, and what was asked of it."""

    def __init__(self) -> None:
        self.fault: Fault = lambda method, path, n: None
        self.requests: Counter[str] = Counter()
        self.endpoint = ""

    def n(self, method: str, part: str = "") -> int:
        return sum(n for key, n in self.requests.items() if key.startswith(method) and part in key)


def handler(store: ObjectStore, port: int) -> type[BaseHTTPRequestHandler]:
    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def forward(self) -> None:
            key = f"{self.command} {self.path}"
            n_before = store.requests[key]
            store.requests[key] += 1
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = store.fault(self.command, self.path, n_before)
            if isinstance(fault, int):
                self.send_response(fault)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault == "slow":
                time.sleep(0.5)
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in {"connection", "expect"}}
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            data = answer.read()
            upstream.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "connection", "content-length", "date", "server"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
            if fault == "cut":
                self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward  # noqa: N815 - the server calls them so

        def handle(self) -> None:
            with suppress(ConnectionError, TimeoutError):
                super().handle()

    return Proxy


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """moto's S3 behind the proxy, empty but for one bucket."""
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    store = ObjectStore()
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler(store, server.server_port))
    proxy.daemon_threads = True
    store.endpoint = f"http://127.0.0.1:{proxy.server_port}"
    threads = [threading.Thread(target=it.serve_forever, daemon=True) for it in (server, proxy)]
    for thread in threads:
        thread.start()
    make = http.client.HTTPConnection("127.0.0.1", server.server_port)
    make.request("POST", "/moto-api/reset")
    make.getresponse().read()
    make.request("PUT", f"/{BUCKET}", headers={"Host": "s3.amazonaws.com"})
    make.getresponse().read()
    make.close()
    try:
        yield store
    finally:
        proxy.shutdown()
        server.shutdown()
        proxy.server_close()
        server.server_close()


def environment(store: ObjectStore) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": store.endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
