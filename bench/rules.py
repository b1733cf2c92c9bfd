"""Twenty rules that a site might have, as lb and HAProxy read them: what `h1-rules` puts before a server.

One counts the client in a stick table, one looks at his rate, the rest judge and edit requests and responses. None of them ends
the request that the scenario sends.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    lb: str  # a rule in YAML's short form
    haproxy: str  # what stands behind `http-request` or `http-response`


REQUEST = (
    Rule("{track: src, table: clients}", "track-sc0 src table clients"),
    Rule(
        '{deny: 429, if: "{ sc_http_req_rate(0) gt 100000000 }"}',
        "deny deny_status 429 if { sc_http_req_rate(0) gt 100000000 }",
    ),
    Rule(
        '{deny: 403, if: "{ src 192.0.2.0/24 198.51.100.0/24 203.0.113.7 2001:db8::/32 }"}',
        "deny if { src 192.0.2.0/24 198.51.100.0/24 203.0.113.7 2001:db8::/32 }",
    ),
    Rule(
        '{deny: 403, if: "{ path_beg /admin /internal } !{ src 10.0.0.0/8 }"}',
        "deny if { path_beg /admin /internal } !{ src 10.0.0.0/8 }",
    ),
    Rule('{deny: 405, if: "{ method TRACE CONNECT }"}', "deny deny_status 405 if { method TRACE CONNECT }"),
    Rule(
        '{deny: 403, if: "{ req.hdr(user-agent) -m sub -i sqlmap nikto masscan }"}',
        "deny if { req.hdr(user-agent) -m sub -i sqlmap nikto masscan }",
    ),
    Rule('{deny: 400, if: "{ req.hdr_cnt(host) gt 1 }"}', "deny deny_status 400 if { req.hdr_cnt(host) gt 1 }"),
    Rule(
        '{deny: 404, if: "{ path_end -i .php .asp .bak .sql }"}',
        "deny deny_status 404 if { path_end -i .php .asp .bak .sql }",
    ),
    Rule('{deny: 403, if: "{ path_sub /../ /./ }"}', "deny if { path_sub /../ /./ }"),
    Rule('{deny: 403, if: "{ urlp(debug) -m found }"}', "deny if { urlp(debug) -m found }"),
    Rule('{redirect: /new, if: "{ path /old /older }"}', "redirect location /new if { path /old /older }"),
    Rule('{set_header: [x-real-ip, "%[src]"]}', "set-header x-real-ip %[src]"),
    Rule('{set_header: [x-request-start, "t=%[date_us]"]}', "set-header x-request-start t=%[date_us]"),
    Rule('{set_header: [x-session, "%[req.cook(session)]"]}', "set-header x-session %[req.cook(session)]"),
    Rule('{set_header: [x-path-hash, "%[path,crc32,hex]"]}', "set-header x-path-hash %[path,crc32,hex]"),
    Rule(
        '{set_header: [x-mobile, "1"], if: "{ req.hdr(user-agent) -m sub Mobile Android }"}',
        "set-header x-mobile 1 if { req.hdr(user-agent) -m sub Mobile Android }",
    ),
    Rule("{del_header: x-debug}", "del-header x-debug"),
)

RESPONSE = (
    Rule("{set_header: [x-frame-options, DENY]}", "set-header x-frame-options DENY"),
    Rule(
        "{set_header: [strict-transport-security, max-age=31536000]}",
        "set-header strict-transport-security max-age=31536000",
    ),
    Rule("{del_header: server}", "del-header server"),
)

TABLE_LB = "tables:\n  clients: {key: ip, size: 100k, expire: 10m, store: [conn_cur, http_req_rate(10s)]}\n"
TABLE_HAPROXY = "backend clients\n    stick-table type ip size 100k expire 10m store conn_cur,http_req_rate(10s)\n"

# The keys that lb's JSON has, from what HAProxy knows of them.
HAPROXY_LOG = (
    '{"time":"%tr","client":"%ci","port":%cp,"frontend":"%f","backend":"%b","server":"%s","bytes_in":%U,'
    '"bytes_out":%B,"queue_ms":%Tw,"connect_ms":%Tc,"total_ms":%Ta,"termination":"%ts","retries":"%rc",'
    '"process_connections":%ac,"frontend_connections":%fc,"backend_connections":%bc,"server_connections":%sc,'
    '"request_ms":%TR,"response_ms":%Tr,"status":%ST,"method":"%HM","version":"%HV","target":"%HU"}'
)


def lb_rules() -> str:
    """Return the keys `rules` and `response_rules` of a frontend."""
    request = "".join(f"      - {rule.lb}\n" for rule in REQUEST)
    response = "".join(f"      - {rule.lb}\n" for rule in RESPONSE)
    return f"    rules:\n{request}    response_rules:\n{response}"


def haproxy_rules() -> str:
    """Return the same as lines of a frontend."""
    request = "".join(f"    http-request {rule.haproxy}\n" for rule in REQUEST)
    return request + "".join(f"    http-response {rule.haproxy}\n" for rule in RESPONSE)
