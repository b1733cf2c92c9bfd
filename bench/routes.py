"""Configurations of many routes: `python bench/routes.py 100000 > many.yaml`, and what peers read for the same.

Each route is a host of its own, with a path: the case that a table, a tree or a list would show its size in.
"""

from __future__ import annotations

import sys

ASKED = "h7.example"  # the host that a scenario asks for


def hosts(count: int) -> list[str]:
    """Return the hosts of so many routes."""
    return [f"h{number}.example" for number in range(count)]


def lb_routes(count: int, backend: str) -> str:
    """Return the key `routes` of a frontend, as YAML in lines of four spaces."""
    lines = [f"      - {{match: {{host: {host}, path: /*}}, to: {backend}}}\n" for host in hosts(count)]
    return "    routes:\n" + "".join(lines) if lines else ""


def haproxy_map(count: int, backend: str) -> str:
    """Return a map file of HAProxy."""
    return "".join(f"{host} {backend}\n" for host in hosts(count))


def nginx_map(count: int, upstream: str) -> str:
    """Return a map of nginx."""
    entries = "".join(f"        {host} {upstream};\n" for host in hosts(count))
    size = max(2048, 4 * count)
    return f"    map_hash_max_size {size};\n    map $host $target {{\n        default {upstream};\n{entries}    }}\n"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print('version: 1\nfrontends:\n  web:\n    bind: [":8080"]')
    print(lb_routes(count, "app"), end="")
    print('    default_backend: app\nbackends:\n  app: {servers: ["127.0.0.1:9001"]}')


if __name__ == "__main__":
    main()
