"""What an error line calls the thing it is about, from a path into the tree."""

from collections.abc import Mapping

from lb.config.diagnostic import Path, line_text

_SINGULAR = {"frontends": "frontend", "backends": "backend", "limits": "limit"}


def subject_of(path: Path, data: object) -> str:
    """Return `frontend 'web'`, `server 'app/a'`, `global` ... for a path; names of servers are looked up in the data."""
    if not path or path[0] in ("version",):
        return "configuration"
    top = path[0]
    if top in _SINGULAR and len(path) > 1:
        owner = line_text(str(path[1]))
        if len(path) > 3 and path[2] == "servers":
            name = _server_name(path, data)
            if name:
                return f"server '{owner}/{line_text(name)}'"
        return f"{_SINGULAR[str(top)]} '{owner}'"
    if top in ("global", "defaults"):
        return str(top)
    return "configuration"


def label_of(path: Path) -> str:
    """Return the keyword of a path as its subject would call it: `timeouts.client`, `bind`, `match.host`."""
    rest = (
        path[2:]
        if path and path[0] in _SINGULAR and len(path) > 1
        else path[1:]
        if path and path[0] in ("global", "defaults")
        else path
    )
    words = [line_text(step) for step in rest if isinstance(step, str)]
    return ".".join(words)


def _server_name(path: Path, data: object) -> str:
    value = data
    for step in path[:4]:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return ""
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return str(value["name"])
    return ""
