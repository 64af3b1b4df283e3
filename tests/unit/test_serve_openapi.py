"""What OpenAPI declares is what the server does: schemathesis asks a real one on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.faults.tiny_serve import Running, serving_tiny

schemathesis = pytest.importorskip("schemathesis")
pytest.importorskip("uvicorn")
positive_data_acceptance = pytest.importorskip("schemathesis.checks").positive_data_acceptance


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving_tiny(tmp_path_factory.mktemp("server"), {"requests_per_minute": 0}) as running:
        yield running


@pytest.fixture(scope="module")
def api(server: Running) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}openapi.json")


@pytest.mark.parametrize(
    ("mode", "path"),
    [("positive", path) for path in ("/", "/v1/anonymize", "/healthz", "/metrics")] + [("negative", "/v1/anonymize")],
)
def test_every_answer_to_what_a_fuzzer_sends_is_declared(api: Any, path: str, mode: str) -> None:
    operation = next(iter(api[path].values()))

    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(case: Any) -> None:
        case.call_and_validate(excluded_checks=[positive_data_acceptance])  # no schema says which bytes are a picture

    ask()


def test_all_paths_of_the_server_are_in_its_openapi(api: Any) -> None:
    assert set(api) == {"/", "/v1/anonymize", "/healthz", "/metrics"}
