"""The merged API description."""

from __future__ import annotations

from openapi_spec_validator import validate

from gateway.openapi import Document, merge


def described(path: str, shape: Document) -> Document:
    answer = {"description": "ok", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}
    inner = {"type": "object", "properties": {"part": {"$ref": "#/components/schemas/Part"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "x", "version": "1"},
        "tags": [{"name": "things"}],
        "paths": {path: {"get": {"responses": {"200": answer}}}, "/internal/x": {"get": {"responses": {"200": {"description": "no"}}}}},
        "components": {
            "schemas": {"Thing": inner, "Part": shape, "Same": {"type": "string"}},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def test_two_services_that_call_different_things_alike_are_told_apart() -> None:
    merged = merge(
        {"identity": described("/api/v1/me", {"type": "string"}), "catalog": described("/api/v1/teams", {"type": "integer"})},
        "http://127.0.0.1:8080",
    )
    validate(merged)
    schemas = merged["components"]["schemas"]
    assert set(schemas) >= {"Thing", "Part", "Same", "CatalogPart"}
    assert schemas["CatalogPart"] == {"type": "integer"}
    assert "CatalogSame" not in schemas
    answer = merged["paths"]["/api/v1/teams"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    thing = schemas[answer["$ref"].rpartition("/")[2]]
    assert thing["properties"]["part"]["$ref"] == "#/components/schemas/CatalogPart"
    assert [tag["name"] for tag in merged["tags"]] == ["things", "gateway"]


def test_what_is_internal_is_not_described() -> None:
    merged = merge({"identity": described("/api/v1/me", {"type": "string"})}, "http://127.0.0.1:8080")
    assert not any(path.startswith("/internal") for path in merged["paths"])
    assert "/api/v1/teams/{team_id}/events/stream" in merged["paths"]
