"""JSON Schema of the configuration, for editors."""

from typing import Any

import msgspec

from lb.model.configuration import Configuration

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# What is said about a value rather than of which values there are.
_ABOUT = ("title", "description", "default", "examples")

Schema = dict[str, Any]


def schema() -> Schema:
    """Return the schema; what only tests may write is left out, and every value may be a variable."""
    made = msgspec.json.schema(Configuration)
    parts: dict[str, Schema] = made["$defs"]
    parts.pop("Debug")
    for part in parts.values():
        part["properties"].pop("debug", None)
        part["properties"] = {name: _open(each) for name, each in part["properties"].items()}
    parts["Variable"] = {
        "description": "`${NAME}` or `${NAME-default}`: a variable of the environment.",
        "type": "string",
        "pattern": r"\$\{",
    }
    return {"$schema": DIALECT, "title": "Configuration of lb", **made}


def _open(value: Schema) -> Schema:
    """Return the schema of a value that may also be written as a variable."""
    if "items" in value:
        return {**value, "items": _open(value["items"])}
    variable = {"$ref": "#/$defs/Variable"}
    if "anyOf" in value:
        return {**value, "anyOf": [*value["anyOf"], variable]}
    if value.get("type") in ("integer", "boolean") or "enum" in value or "pattern" in value:
        rule = {key: each for key, each in value.items() if key not in _ABOUT}
        about = {key: each for key, each in value.items() if key in _ABOUT}
        return {**about, "anyOf": [rule, variable]}
    return value


def schema_json() -> str:
    """Return the schema as text."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode()
