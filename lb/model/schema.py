"""JSON Schema of the configuration, for editors."""

import msgspec

from lb.model.configuration import Configuration

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, object]:
    """Return the schema; what only tests may write is left out."""
    made = msgspec.json.schema(Configuration)
    parts: dict[str, dict[str, object]] = made["$defs"]
    parts.pop("Debug", None)
    for part in parts.values():
        properties = part.get("properties")
        if isinstance(properties, dict):
            properties.pop("debug", None)
    return {"$schema": DIALECT, "title": "Configuration of lb", **made}


def schema_json() -> str:
    """Return the schema as text."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode()
