"""Holds frames to docs/asyncapi.yaml.

Stricter than a client should be: a field that the document does not name fails, since it would be
one that nobody was told of.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

DOCUMENT = Path(__file__).parents[1] / "docs" / "asyncapi.yaml"


def validate_event(frame: dict[str, Any]) -> None:
    """Raises AssertionError unless the document tells of such an event."""
    _validate("type", frame)


def validate_action(frame: dict[str, Any]) -> None:
    """Raises AssertionError unless the document tells of such an action."""
    _validate("action", frame)


@cache
def document() -> dict[str, Any]:
    loaded = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@cache
def schema_names(tag: str) -> dict[str, str]:
    """Schema by name of the frame. tag: "type" for events, "action" for actions."""
    schemas = document()["components"]["schemas"]
    return {
        name: schema
        for schema, body in schemas.items()
        if tag in body["properties"]
        for name in body["properties"][tag]["enum"]
    }


@cache
def _validator(schema: str) -> Draft202012Validator:
    components = document()["components"]
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": components}
    )


def _validate(tag: str, frame: dict[str, Any]) -> None:
    schema = schema_names(tag).get(frame.get(tag, ""))
    assert schema is not None, f"no frame of this {tag} is described: {frame}"
    error = best_match(_validator(schema).iter_errors(frame))
    assert error is None, f"{error.message} in {frame}"
    described = document()["components"]["schemas"][schema]["properties"]
    assert set(frame) <= set(described), f"{set(frame) - set(described)} is not described: {frame}"
