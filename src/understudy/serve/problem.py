"""How a request that is not fulfilled is answered: a status, one word for programs, one sentence for people."""

from __future__ import annotations

import math

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from understudy.errors import UnderstudyError


class Problem(BaseModel):
    """Why a request was not fulfilled."""

    kind: str = Field(description="One word for programs.")
    reason: str = Field(description="One sentence for people.")


class ProblemError(UnderstudyError):
    """A request that is not fulfilled.

    Parameters
    ----------
    status : int
        HTTP status.
    kind, reason : str
        As in ``Problem``.
    retry_s : float, optional
        When it may be tried again.
    headers : dict, optional
    """

    def __init__(
        self,
        status: int,
        kind: str,
        reason: str,
        *,
        retry_s: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})
        if retry_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_s)))

    def response(self) -> JSONResponse:
        """The answer."""
        content = Problem(kind=self.kind, reason=str(self)).model_dump()
        return JSONResponse(content, self.status, headers=self.headers)
