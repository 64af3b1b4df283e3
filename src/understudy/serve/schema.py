"""What OpenAPI says of the server's requests and answers."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field

from understudy.serve.problem import Problem

MEDIA_TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp", "image/gif", "image/heic")
"""What a picture may be returned as."""
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_MEANINGS = {
    400: "Not understood: an empty body, an unknown value.",
    401: "The token is missing or another one.",
    403: "A page of another site asks.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is no picture of a kind that is read.",
    421: "The Host header names another server.",
    422: "The picture is refused, damaged, or somebody in it could not be replaced; nothing of it is returned.",
    429: "Too many requests; Retry-After says when again.",
    500: "Something went wrong, and nothing is returned.",
    503: "Busy or being stopped; Retry-After says when again.",
}


class RegionReport(BaseModel):
    """One replaced region."""

    region: int
    xyxy: list[float] = Field(description="Box in pixels of the upright picture: x0, y0, x1, y1.")
    confidence: float
    outcome: str = Field(description="replaced (an understudy), filled (one colour), or obscured (baselines).")
    attempts: int
    found_by: str = Field(description="primary or residual: which detector found it.")


class Report(BaseModel):
    """The anonymised picture and what became of each region."""

    media_type: str
    width: int
    height: int
    outcomes: dict[str, int]
    regions: list[RegionReport]
    notes: list[str] = Field(description="What could not be written as it was in the source.")
    seconds: float
    picture: str = Field(description="The anonymised picture, base64.", json_schema_extra={"format": "byte"})


class Health(BaseModel):
    """Whether pictures are taken."""

    status: Literal["ok", "stopping"]
    version: str
    waiting: int
    busy: bool


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The entries of OpenAPI for refusals."""
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in statuses}


def _header(meaning: str, kind: str = "integer") -> dict[str, Any]:
    return {"description": meaning, "schema": {"type": kind}}


PICTURE: dict[str, Any] = {
    "model": Report,
    "description": "The anonymised picture; with report=1 a report that holds it.",
    "content": dict.fromkeys(MEDIA_TYPES, _BINARY),
    "headers": {
        "Understudy-Replaced": _header("Regions in which an understudy stands."),
        "Understudy-Filled": _header("Regions filled with one colour."),
        "Understudy-Obscured": _header("Regions blurred or the like (baselines)."),
        "Understudy-Seconds": _header("Time of the work, without waiting.", "number"),
        "Understudy-Notes": {**_header("What could not be written as it was.", "string"), "required": False},
    },
}
"""The answer 200 to a picture."""
BODY: dict[str, Any] = {
    "required": True,
    "description": "The bytes of one picture; its content decides what it is.",
    "content": dict.fromkeys((*MEDIA_TYPES, "application/octet-stream"), _BINARY),
}
"""The body of a request with a picture."""


def with_token(app: FastAPI) -> None:
    """Say in the app's OpenAPI that a bearer token is asked for."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        described = plain()
        schemes = described.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["token"] = {"type": "http", "scheme": "bearer"}
        described["security"] = [{"token": []}]
        return described

    app.openapi = openapi  # type: ignore[method-assign]
