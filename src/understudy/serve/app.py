"""The FastAPI app: one picture in, its anonymised self out; a page, health, metrics, OpenAPI."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from understudy import __version__
from understudy.serve.body import ClientGoneError, Reader, gone
from understudy.serve.gate import CLIENT_GONE, LOOPBACK_NAMES, Gate
from understudy.serve.limits import Held, RateLimit
from understudy.serve.metrics import CONTENT_TYPE, OUTCOMES, Metrics
from understudy.serve.page import load_page
from understudy.serve.picture import Anonymized, Job, Refused, anonymize_picture
from understudy.serve.problem import ProblemError
from understudy.serve.schema import BODY, PICTURE, Health, problems, with_token
from understudy.serve.settings import ServeSettings
from understudy.serve.worker import QueueFullError, StoppingError, Worker

ANONYMIZE = "/v1/anonymize"
PATHS = frozenset({"/", ANONYMIZE, "/healthz", "/metrics", "/openapi.json"})
ANY_BYTES = "application/octet-stream"
"""Besides image/*, what a body may call itself; its content decides."""
MAX_NOTES = 500


@dataclass(frozen=True)
class Served:
    """An app with what has to be stopped with it."""

    app: Gate
    worker: Worker[Anonymized | Refused]
    reader: Reader
    metrics: Metrics

    def stop(self) -> None:
        """Take nothing more; only the picture that is worked on is finished."""
        self.worker.stop()
        self.reader.stop()

    def count(self, path: str, status: int) -> None:
        """Count an answer under one of the server's own paths."""
        self.metrics.count_request(path if path in PATHS else "other", status)


def build_app(job: Job, settings: ServeSettings, *, is_loopback: bool) -> Served:
    """Build the app around a job, and start its worker.

    Parameters
    ----------
    job : Job
    settings : ServeSettings
    is_loopback : bool
        Whether only this machine reaches it; the Host header is checked then, and elsewhere if ``hosts`` are given.
    """
    metrics = Metrics()

    def work(data: bytes) -> Anonymized | Refused:
        return _worked(job, data, metrics)

    worker = Worker(work, settings.max_waiting)
    held = Held(settings.max_bytes_held)
    reader = Reader(settings.max_bytes, settings.body_s, held)
    app = FastAPI(
        title="understudy",
        version=__version__,
        description="Replaces every person in a picture by someone who does not exist. No picture is kept or logged.",
        docs_url=None,
        redoc_url=None,
        exception_handlers=_HANDLERS,
        responses=problems(400, 403, 408, 421, 429, 500, 503, *([401] if settings.token else [])),
    )
    if settings.token:
        with_token(app)
    _add_picture_route(app, worker, reader, metrics)
    _add_plain_routes(app, worker, held, metrics, settings)
    hosts = (LOOPBACK_NAMES | {settings.host} if is_loopback else frozenset()) | frozenset(settings.hosts)
    rate = RateLimit(settings.requests_per_minute, settings.burst)

    def count(path: str, status: int) -> None:
        served.count(path, status)

    gate = Gate(app, hosts=hosts or None, token=settings.token, rate=rate, count=count)
    served = Served(gate, worker, reader, metrics)
    return served


def _worked(job: Job, data: bytes, metrics: Metrics) -> Anonymized | Refused:
    """Called in the worker's thread."""
    began = time.perf_counter()
    answer = anonymize_picture(job, data)
    kind, outcomes = ("anonymised", answer.outcomes) if isinstance(answer, Anonymized) else (answer.kind, {})
    metrics.count_picture(kind, time.perf_counter() - began, len(data), outcomes)
    return answer


def _add_picture_route(app: FastAPI, worker: Worker[Anonymized | Refused], reader: Reader, metrics: Metrics) -> None:
    def busy() -> ProblemError:
        wait_s = metrics.mean_seconds * (worker.n_waiting + 1)
        return ProblemError(503, "busy", f"{worker.n_waiting} pictures are waiting, and no more may", retry_s=wait_s)

    @app.post(
        ANONYMIZE,
        summary="Replace every person in a picture",
        response_class=Response,
        responses={**problems(413, 415, 422), 200: PICTURE},
        openapi_extra={"requestBody": BODY},
    )
    async def anonymize(
        request: Request,
        report: Literal["0", "1"] = Query("0", description="1: answer with JSON that holds picture and regions."),
    ) -> Response:
        """The picture comes back in its own format, with the number of regions of each outcome in its headers."""
        _check_query(request)
        _check_media_type(request.headers.get("content-type", ""))
        if worker.is_full:
            raise busy()
        with reader.body() as body:
            try:
                future = worker.offer(await reader.read(request, body))
            except QueueFullError as error:
                raise busy() from error
            except StoppingError as error:
                raise ProblemError(503, "stopping", str(error), retry_s=10) from error
            answer = await _answer(request, future)
        if isinstance(answer, Refused):
            raise ProblemError(answer.status, answer.kind, answer.reason)
        return _as_report(answer) if report == "1" else _as_picture(answer)


async def _answer(request: Request, future: Future[Anonymized | Refused]) -> Anonymized | Refused:
    """Wait for the worker, or for the client to go away; a picture that nobody waits for is not begun."""
    waiting = asyncio.wrap_future(future)
    leaving = asyncio.ensure_future(gone(request))
    try:
        both: set[asyncio.Future[Any]] = {waiting, leaving}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientGoneError
        return waiting.result()
    except StoppingError as error:
        raise ProblemError(503, "stopping", str(error), retry_s=10) from error
    finally:
        future.cancel()
        waiting.cancel()
        leaving.cancel()


def _check_query(request: Request) -> None:
    """A mistyped parameter is told, not passed over."""
    if [name for name, _ in request.query_params.multi_items()] not in ([], ["report"]):
        raise ProblemError(400, "bad_request", "the only parameter is report, given once: report=0 or report=1")


def _check_media_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("image/") or media_type == ANY_BYTES:
        return
    said = f"not {media_type[:60]!r}" if media_type else "and the request has none"
    raise ProblemError(
        415, "wrong_content_type", f"send the bytes of one picture with Content-Type image/jpeg, image/png, ..., {said}"
    )


def _facts(answer: Anonymized) -> dict[str, str]:
    """Headers that say what became of a picture."""
    facts = {f"Understudy-{kind.capitalize()}": str(answer.outcomes.get(kind, 0)) for kind in OUTCOMES}
    facts["Understudy-Seconds"] = f"{answer.seconds:.3f}"
    if answer.notes:
        facts["Understudy-Notes"] = (
            " ".join("; ".join(answer.notes).split()).encode("ascii", "replace").decode()[:MAX_NOTES]
        )
    return facts


def _as_picture(answer: Anonymized) -> Response:
    suffix = answer.media_type.partition("/")[2].replace("jpeg", "jpg")
    headers = {**_facts(answer), "Content-Disposition": f'inline; filename="anonymised.{suffix}"'}
    return Response(answer.data, media_type=answer.media_type, headers=headers)


def _as_report(answer: Anonymized) -> Response:
    content = {
        "media_type": answer.media_type,
        "width": answer.width,
        "height": answer.height,
        "outcomes": dict(answer.outcomes),
        "regions": [dict(region) for region in answer.regions],
        "notes": list(answer.notes),
        "seconds": round(answer.seconds, 3),
        "picture": base64.b64encode(answer.data).decode("ascii"),
    }
    return JSONResponse(content, headers=_facts(answer))


async def _http_problem(_: Request, error: Exception) -> Response:
    """404, 405 and the like in our own words."""
    status, headers = getattr(error, "status_code", 500), dict(getattr(error, "headers", None) or {})
    kinds = {404: ("not_found", "there is nothing under this path"), 405: ("wrong_method", "not with this method")}
    kind, reason = kinds.get(status, ("bad_request", "this request is not understood"))
    return ProblemError(status, kind, reason, headers=headers).response()


async def _invalid(_: Request, error: Exception) -> Response:
    """A value that a parameter does not take; what was sent is not repeated."""
    where = [str(e["loc"][-1]) for e in error.errors()] if isinstance(error, RequestValidationError) else []
    reason = f"{', '.join(where) or 'something'} has a value that it does not take"
    return ProblemError(400, "bad_request", reason).response()


async def _problem(_: Request, error: Exception) -> Response:
    """Our own problems as they are; a client that has gone gets nothing; of anything else nothing is told."""
    if isinstance(error, ProblemError):
        return error.response()
    if isinstance(error, ClientGoneError):
        return Response(status_code=CLIENT_GONE)
    return ProblemError(500, "unexpected", "something unexpected went wrong; nothing is returned").response()


_HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    HTTPException: _http_problem,
    RequestValidationError: _invalid,
    ProblemError: _problem,
    ClientGoneError: _problem,
    Exception: _problem,
}


def _add_plain_routes(
    app: FastAPI, worker: Worker[Anonymized | Refused], held: Held, metrics: Metrics, settings: ServeSettings
) -> None:
    page, policy = load_page(needs_token=bool(settings.token), max_bytes=settings.max_bytes)

    @app.get("/", summary="A page for trying out", response_class=HTMLResponse, openapi_extra={"security": []})
    async def show_page() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    @app.get(
        "/healthz",
        summary="Whether pictures are taken",
        response_model=Health,
        responses={503: {"model": Health, "description": "The server is being stopped."}},
        openapi_extra={"security": []},
    )
    async def healthz() -> Response:
        status: Literal["ok", "stopping"] = "ok" if worker.is_well else "stopping"
        health = Health(status=status, version=__version__, waiting=worker.n_waiting, busy=worker.is_busy)
        return JSONResponse(health.model_dump(), 200 if worker.is_well else 503)

    @app.get("/metrics", summary="Counters for Prometheus", response_class=PlainTextResponse, responses=problems(401))
    async def show_metrics() -> Response:
        gauges = {
            "queue_depth": ("Pictures that wait.", float(worker.n_waiting)),
            "working": ("1 while a picture is worked on.", float(worker.is_busy)),
            "held_bytes": ("Bytes of pictures in the server.", float(held.n_bytes)),
        }
        return Response(metrics.text(gauges), media_type=CONTENT_TYPE)
