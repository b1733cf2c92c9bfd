"""Stick tables beside HAProxy's: the same tables, the same requests in the same order, and byte for byte the same values."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.client import Client
from kit.deadline import DEADLINE
from kit.inprocess import InProcess
from kit.settings import LOOPBACK

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

TABLES = {
    "all": (
        "string",
        "30",
        "1h",
        (
            "server_id gpt0 gpc0 gpc0_rate(1h) conn_cnt conn_rate(1h) conn_cur http_req_cnt http_req_rate(1h) http_err_cnt "
            "http_err_rate(1h) bytes_in_cnt bytes_in_rate(1h) bytes_out_cnt bytes_out_rate(1h) gpc1 gpc1_rate(1h) http_fail_cnt "
            "http_fail_rate(1h) sess_cnt sess_rate(1h)"
        ),
    ),
    "arrays": ("string", "30", "1h", "gpc(4) gpc_rate(3,1h) gpt(3)"),
    "rates": ("string", "30", "", "gpc0_rate(1h)"),
    "none": ("string", "30", "1h", ""),
    "small": ("string", "4", "1h", "gpc0"),
    "ips": ("ip", "", "1h", "gpc0 gpc1 conn_cnt gpt0 http_req_rate(1h) bytes_in_cnt"),
    "sixes": ("ipv6", "", "1h", "gpc(2) gpc_rate(2,1h)"),
    "numbers": ("integer", "", "1h", "gpc0"),
    "bins": ("binary", "6", "1h", "gpc0"),
}
"""Type of the key, its length, expire, stores."""

FETCHED = """
    conn_cnt conn_cur conn_rate sess_cnt sess_rate http_req_cnt http_req_rate http_err_cnt http_err_rate http_fail_cnt
    http_fail_rate bytes_in_rate bytes_out_rate kbytes_in kbytes_out get_gpc0 get_gpc1 get_gpt0 gpc0_rate gpc1_rate
    """.split()  # noqa: SIM905
CONVERTED = """
    conn_cnt conn_rate sess_cnt sess_rate http_req_cnt http_req_rate http_err_cnt http_err_rate http_fail_cnt http_fail_rate
    bytes_out_rate kbytes_out gpc0 gpc1 gpt0 gpc0_rate gpc1_rate server_id conn_cur
    """.split()  # noqa: SIM905
# table_trackers is not here: HAProxy 2.6 counts the converter itself as a tracker.
NUMBERED = ["get_gpc", "gpc_rate", "get_gpt"]
KEY = "req.hdr(x-key)"

EXPRESSIONS = [
    # What is tracked, by any name, and also in tables that store less, or nothing, or another type.
    *[f"sc_{each}({track})" for each in FETCHED for track in (0, 1, 2)],
    *[f"sc{track}_{each}" for each in FETCHED for track in (0, 1)],
    *[f"sc_{each}(0,{table})" for each in FETCHED for table in ("arrays", "none", "all")],
    *[f"sc1_{each}(all)" for each in FETCHED],
    *[f"sc_{each}({cell},{track})" for each in NUMBERED for cell in (0, 2, 3) for track in (0, 1, 2)],
    *[f"sc_tracked({track})" for track in (0, 1, 2)],
    *["sc0_tracked", "sc2_tracked", "sc_tracked(0,arrays)", "sc_tracked(0,none)", "sc_tracked(2,all)"],
    *["sc_trackers(0)", "sc1_trackers", "sc_trackers(2)", "sc_trackers(0,none)"],
    *["sc_get_gpc0(0,ips)", "sc_get_gpc0(0,numbers)", "sc_tracked(0,ips)"],
    # What counts.
    *["sc_inc_gpc0(0)", "sc_inc_gpc0(0)", "sc_inc_gpc1(0)", "sc0_inc_gpc1", "sc_gpc0_rate(0)", "sc_get_gpc1(0)"],
    *["sc_inc_gpc0(1)", "sc_inc_gpc1(1)", "sc_inc_gpc(2,1)", "sc_inc_gpc(3,1)", "sc_inc_gpc(4,1)"],
    *[
        "sc_get_gpc(2,1)",
        "sc_gpc_rate(2,1)",
        "sc_gpc_rate(0,1)",
        "sc_get_gpc0(1)",
        "sc_gpc0_rate(1)",
        "sc_gpc1_rate(1)",
    ],
    *["sc_inc_gpc0(2)", "sc_inc_gpc0(0,none)", "sc_inc_gpc0(0,arrays)", "sc_inc_gpc0(1,rates)", "sc_inc_gpc(0,0)"],
    *["sc_clr_gpc0(0)", "sc_get_gpc0(0)", "sc_clr_gpc1(1)", "sc_get_gpc1(1)", "sc_clr_gpc(2,1)", "sc_get_gpc(2,1)"],
    *[
        "sc_clr_gpc(9,1)",
        "sc1_clr_gpc0",
        "sc_clr_gpc0(2)",
        "sc_clr_gpc0(0,none)",
        "sc_clr_gpc(0,0)",
        "sc_clr_gpc0(0,ips)",
    ],
    # The client's address.
    *[f"src_{each}(ips)" for each in FETCHED],
    *["src_inc_gpc0(ips)", "src_inc_gpc0(ips)", "src_inc_gpc1(ips)", "src_get_gpc0(ips)", "src_clr_gpc0(ips)"],
    *[
        "src_get_gpc0(ips)",
        "src_updt_conn_cnt(ips)",
        "src_updt_conn_cnt(ips)",
        "src_conn_cnt(ips)",
        "src_get_gpc(0,ips)",
    ],
    # src_inc_gpc and src_clr_gpc bring HAProxy 2.6 down (SIGSEGV) when the address has no entry.
    *["src_get_gpc(0,sixes)", "src_inc_gpc0(sixes)", "src_inc_gpc1(sixes)", "src_gpc_rate(1,sixes)"],
    *["src_clr_gpc0(sixes)", "src_get_gpc(1,sixes)", "src_get_gpc(7,sixes)"],
    *[
        "src_updt_conn_cnt(sixes)",
        "src_inc_gpc0(none)",
        "src_get_gpc0(none)",
        "src_conn_cnt(all)",
        "src_get_gpt(0,sixes)",
    ],
    # Converters: keys that are there, that are not, and that cannot be.
    *[f"{KEY},table_{each}({table})" for each in CONVERTED for table in ("all", "arrays", "none", "small")],
    *[f"str(nobody),table_{each}(all)" for each in CONVERTED],
    *[f"{KEY},table_{each}({cell},arrays)" for each in ("gpc", "gpt", "gpc_rate") for cell in (0, 1, 3, 7)],
    *["str(nobody),table_gpc(0,arrays)", "str(nobody),table_gpc(9,arrays)", f"{KEY},table_gpc(0,all)"],
    *[f"{KEY},in_table({table})" for table in ("all", "arrays", "none", "small", "ips", "numbers", "bins")],
    *["str(nobody),in_table(all)", "src,in_table(ips)", "src,in_table(sixes)", "str(x),in_table(ips)"],
    *["ipv4(127.0.0.1),table_gpc1(ips)", "ipv6(::ffff:127.0.0.1),in_table(ips)", "ipv6(2001:db8::1),in_table(ips)"],
    *["str(127.0.0.1),table_gpc1(ips)", "int(2130706433),in_table(ips)", "src,table_gpc(1,sixes)"],
    *["str(nobody),table_idle(all)", "str(nobody),table_idle(all,7)", "str(nobody),table_expire(all,-3)"],
    *["str(nobody),table_expire(all)", f"{KEY},table_idle(rates)", f"{KEY},table_expire(rates,9)"],
    *["str(nobody),table_expire(rates,9)", "str(nobody),table_trackers(all)", "str(10.9.9.9),table_idle(ips,5)"],
    *["table_cnt(ips)", "table_avl(ips)", "table_cnt(none)", "table_avl(none)", "table_cnt(sixes)"],
    *["int(5),in_table(numbers)", "str(5),in_table(numbers)", "int(4294967301),in_table(numbers)"],
    *["bin(0102),in_table(bins)", "str(abcdefghij),in_table(bins)", "bin(616263646566),in_table(bins)"],
    *["str(longer),in_table(small)", "str(long),in_table(small)", "str(lon),in_table(small)"],
]

ACTIONS = [
    # HAProxy's words, ours.
    ("track-sc0 req.hdr(x-key) table all", {"track": "req.hdr(x-key)", "table": "all"}),
    ("track-sc1 req.hdr(x-key) table arrays", {"track": "req.hdr(x-key)", "table": "arrays", "as": 1}),
    ("track-sc2 req.hdr(x-third) table small", {"track": "req.hdr(x-third)", "table": "small", "as": 2}),
    ("sc-inc-gpc(0,1)", {"sc_inc_gpc": [0, 1]}),
    ("sc-inc-gpc(0,2)", {"sc_inc_gpc": [0, 2]}),
    ("sc-inc-gpc(9,1)", {"sc_inc_gpc": [9, 1]}),
    ("sc-inc-gpc0(0)", {"sc_inc_gpc0": 0}),
    ("sc-inc-gpc1(0)", {"sc_inc_gpc1": 0}),
    ("sc-inc-gpc1(1)", {"sc_inc_gpc1": 1}),
    ("sc-inc-gpc0(2)", {"sc_inc_gpc0": 2}),
    ("sc-set-gpt0(0) 5", {"sc_set_gpt0": [0, 5]}),
    ("sc-set-gpt0(1) req.hdr_val(x-mark)", {"sc_set_gpt0": [1, "req.hdr_val(x-mark)"]}),
    ("sc-set-gpt(1,1) req.hdr(x-mark)", {"sc_set_gpt": [1, 1, "req.hdr(x-mark)"]}),
    ("sc-set-gpt(2,1) 4294967295", {"sc_set_gpt": [2, 1, 4294967295]}),
    ("sc-set-gpt0(2) 7", {"sc_set_gpt0": [2, 7]}),
    ("track-sc0 str(other) table all", {"track": "str(other)", "table": "all"}),
]

REQUESTS = [
    ("X-Key: a",),
    ("X-Key: a", "X-Mark: 17"),
    ("X-Key: b", "X-Third: longer"),
    ("X-Key: 127.0.0.1", "X-Mark: no"),
    ("X-Mark: 3",),
    ("X-Key: a", "X-Mark: -1", "X-Third: lon"),
    ("X-Key: " + "k" * 40,),
    ("X-Key: ", "X-Mark: 4294967301"),
]

MANY = 40
"""Expressions that one request shows."""


def groups() -> list[list[str]]:
    """Return expressions in the groups that are asked for together."""
    return [EXPRESSIONS[i : i + MANY] for i in range(0, len(EXPRESSIONS), MANY)]


def body_of(group: list[str]) -> str:
    return "".join(f"{text}=%[{text}];" for text in group)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


class Peer:
    """HAProxy with the tables."""

    def __init__(self, directory: Path) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.address = sock.getsockname()
        lines = ["defaults", " mode http", *(f" timeout {each} 30s" for each in ("client", "server", "connect"))]
        for name, (kind, length, expire, stores) in TABLES.items():
            words = ["stick-table type", kind, *(["len", length] if length else []), "size 1k"]
            words += [*(["expire", expire] if expire else []), *(["store", ",".join(stores.split())] if stores else [])]
            lines += [f"backend {name}", " " + " ".join(words)]
        lines += ["frontend web", f" bind fd@{sock.fileno()}"]
        lines += [f" http-request {action} if !{{ req.fhdr(x-quiet) -m found }}" for action, _ in ACTIONS]
        for i, group in enumerate(groups()):
            lines.append(
                f" http-request return status 200 content-type text/plain lf-string {quoted(body_of(group))}"
                f" if {{ req.fhdr(x-case) e{i} }}"
            )
        config = directory / "peer.cfg"
        config.write_text("\n".join(lines) + "\n")
        with (directory / "peer.stderr").open("wb") as err:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=err, pass_fds=[sock.fileno()]
            )
        sock.close()

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE)


def settings() -> dict[str, Any]:
    """Return lb's configuration with the tables."""
    tables: dict[str, Any] = {}
    for name, (kind, length, expire, stores) in TABLES.items():
        tables[name] = {"key": f"{kind}({length})" if length else kind, "size": "1k", "store": stores.split()}
        if expire:
            tables[name]["expire"] = expire
    rules: list[dict[str, Any]] = [{**action, "unless": "{ req.fhdr(x-quiet) -m found }"} for _, action in ACTIONS]
    rules += [
        {"return": {"content_type": "text/plain", "body": body_of(group)}, "if": f"{{ req.fhdr(x-case) e{i} }}"}
        for i, group in enumerate(groups())
    ]
    return {
        "version": 1,
        "global": {"workers": 1},
        "tables": tables,
        "frontends": {"web": {"bind": [{"address": LOOPBACK}], "rules": rules, "default_backend": "app"}},
        "backends": {"app": {"servers": ["127.0.0.1:1"]}},
    }


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[Client]]:
    """A client of lb and one of HAProxy."""
    (tmp_path / "lb").mkdir()
    ours = InProcess(settings(), tmp_path / "lb")
    peer = Peer(tmp_path)
    clients = [Client(ours.addresses["web"][0]), Client(peer.address)]
    yield clients
    for client in clients:
        client.close()
    ours.settle()
    ours.stop()
    peer.stop()


BYTES = ("bytes_in_rate", "bytes_out_rate", "kbytes_in", "kbytes_out")


def values(client: Client, fields: tuple[str, ...], group: int) -> dict[str, str]:
    """Ask for a group of expressions."""
    head = "\r\n".join(["GET / HTTP/1.1", "Host: x", *fields, f"X-Case: e{group}", "", ""])
    client.send(head.encode())
    answer = client.response()
    assert answer.status == 200
    rows = [each.split("=", 1) for each in answer.body.decode().split(";")[:-1]]
    assert [name for name, _ in rows] == groups()[group]
    # Heads differ in length, and so do counts of bytes; the same expression may stand there twice.
    return {f"{i} {name}": value for i, (name, value) in enumerate(rows) if not any(each in name for each in BYTES)}


def test_what_requests_see_of_tables(pair: list[Client]) -> None:
    differ: list[tuple[str, ...]] = []
    for fields in REQUESTS:
        for group in range(len(groups())):
            ours, theirs = [values(client, fields, group) for client in pair]
            differ += [(fields[0], name, ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]]
    assert not differ, "\n".join(map(str, differ))
