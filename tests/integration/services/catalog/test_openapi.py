"""Whatever is sent to the catalog, it answers without failing, and as its description says."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from kernel import signing
from tests.fixtures.catalog import NODE_KEY, TestCatalog


@pytest.fixture
def known(catalog: TestCatalog) -> dict[str, str]:
    """Path parameters that lead to things that are there."""
    registry = catalog.new_registry("http://127.0.0.1:1")
    version = catalog.new_version()
    image = catalog.add_image(version, registry)
    bundle = catalog.ask("POST", "/config-bundles", {"name": "bundle"}, expect=201)
    return {
        "team_id": str(catalog.team_id),
        "registry_id": registry["id"],
        "project_id": version["project_id"],
        "version_id": version["id"],
        "image_id": image["id"],
        "bundle_id": bundle["id"],
        "template_id": "gitea",
    }


def test_no_request_is_answered_by_a_failure_or_against_the_description(catalog: TestCatalog, known: dict[str, str]) -> None:
    schema = schemathesis.openapi.from_wsgi("/openapi.json", catalog.app)
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]  # all can be read
    ours = [one for one in operations if one.path.startswith(("/api/", "/internal/"))]
    assert len(ours) > 35
    # What deletes comes last, so that the others find what they ask for.
    for operation in sorted(ours, key=lambda one: one.method.upper() == "DELETE"):
        _try(operation, catalog, known)


def _try(operation: Any, catalog: TestCatalog, known: dict[str, str]) -> None:
    """Any: schemathesis has no public names for its types."""

    @given(case=operation.as_strategy())
    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def try_it(case: Any) -> None:
        case.path_parameters = {name: known.get(name, value) for name, value in (case.path_parameters or {}).items()}
        if isinstance(case.body, dict) and "node_seal_key" in case.body:
            case.body["node_seal_key"] = signing.to_text(NODE_KEY.public_key)
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer user:owner:{catalog.team_id}"}
        answer = case.call()
        # 503 is an answer too: the registry that is asked here is away.
        if answer.status_code != 503:
            case.validate_response(answer, checks=[not_a_server_error, response_schema_conformance])

    try_it()
