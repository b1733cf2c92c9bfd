"""`show stat` and `show info` as `typed` lines and as `json`, to HAProxy's byte (management guide 9.2).

Each value has a place, a name, and three letters that say where it comes from, what it is and what it is about; this module has
those of all columns. What is not known is left out, as HAProxy does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import orjson

from lb.admin.statistics import BACKEND, COLUMNS, Row

_STAT = """
CGS:str addr mode algo proto
CGS:u32 type check_rise check_fall check_health agent_rise agent_fall agent_health
CLP:u32 slim rate_lim src_ilim
CLS:u32 qlimit
CNS:str tracked cookie
KGP:u32 pid
KGS:u32 iid sid srid
KNS:str pxname svname
MAP:s32 lastsess
MAP:u32 lastchg
MCP:u32 downtime
MCP:u64 stot bin bout dreq dresp ereq econ eresp wretr wredis chkfail chkdown lbtot hrsp_1xx hrsp_2xx hrsp_3xx hrsp_4xx hrsp_5xx
MCP:u64 hrsp_other hanafail req_tot cli_abrt srv_abrt comp_in comp_out comp_byp comp_rsp conn_tot intercepted dcon dses wrew connect
MCP:u64 reuse cache_lookups cache_hits eint sess_other h1sess h2sess h3sess req_other h1req h2req h3req reqbin reqbout resbin
MCP:u64 resbout cache_hint_hits
MDP:u64 check_duration agent_duration
MGP:u32 qcur scur throttle srv_icur idle_conn_cur safe_conn_cur used_conn_cur need_conn_est agg_server_status
MGP:u32 agg_server_check_status agg_check_status priv_idle_cur
MMP:u32 qmax smax rate_max req_rate_max conn_rate_max qtime_max ctime_max rtime_max ttime_max
MOP:str check_status last_chk last_agt agent_status check_desc agent_desc
MOP:u32 check_code agent_code
MRP:u32 rate req_rate conn_rate
MaP:u32 weight qtime ctime rtime ttime uweight
SGP:str status
SGP:u32 act bck
"""

_INFO = """
CGS:u32 Nbthread Nbproc
CLP:u32 Memmax_MB Ulimit-n Maxsock Maxconn Hard_maxconn Maxpipes ConnRateLimit SessRateLimit SslRateLimit CompressBpsRateLim
CLP:u32 Memmax_bytes
COS:str node description
KGP:u32 Process_num
MCP:u32 PoolFailed CumConns CumReq CumSslConns SslCacheLookups SslCacheMisses CumRecvLogs
MDP:str Uptime
MDP:u32 Uptime_sec Start_time_sec
MGP:u32 PoolAlloc_MB PoolUsed_MB CurrConns CurrSslConns PipesUsed PipesFree SslFrontendKeyRate SslFrontendSessionReuse_pct Tasks
MGP:u32 Run_queue Stopping Jobs Unstoppable_Jobs Listeners ActivePeers ConnectedPeers DroppedLogs BusyPolling FailedResolutions
MGP:u32 DebugCommandsIssued
MGP:u64 TotalBytesOut TotalSplicedBytesOut PoolAlloc_bytes PoolUsed_bytes
MMP:u32 MaxSslConns MaxConnRate MaxSslRate SslFrontendMaxKeyRate SslBackendMaxKeyRate
MRP:u32 ConnRate SessRate MaxSessRate SslRate SslBackendKeyRate CompressBpsIn CompressBpsOut
MRP:u64 BytesOutRate
MaP:u32 Idle_pct
POS:str Name Version Release_date Build_info
SGP:str Tainted
SGP:u32 Pid
"""

# The places of HAProxy's list; a name keeps its place whether or not it has a value.
_INFO_PLACES = (
    *(
        "Name",
        "Version",
        "Release_date",
        "Nbthread",
        "Nbproc",
        "Process_num",
        "Pid",
        "Uptime",
        "Uptime_sec",
        "Memmax_MB",
    ),
    *(
        "PoolAlloc_MB",
        "PoolUsed_MB",
        "PoolFailed",
        "Ulimit-n",
        "Maxsock",
        "Maxconn",
        "Hard_maxconn",
        "CurrConns",
        "CumConns",
    ),
    *("CumReq", "MaxSslConns", "CurrSslConns", "CumSslConns", "Maxpipes", "PipesUsed", "PipesFree", "ConnRate"),
    *(
        "ConnRateLimit",
        "MaxConnRate",
        "SessRate",
        "SessRateLimit",
        "MaxSessRate",
        "SslRate",
        "SslRateLimit",
        "MaxSslRate",
    ),
    *("SslFrontendKeyRate", "SslFrontendMaxKeyRate", "SslFrontendSessionReuse_pct", "SslBackendKeyRate"),
    *(
        "SslBackendMaxKeyRate",
        "SslCacheLookups",
        "SslCacheMisses",
        "CompressBpsIn",
        "CompressBpsOut",
        "CompressBpsRateLim",
    ),
    *("ZlibMemUsage", "MaxZlibMemUsage", "Tasks", "Run_queue", "Idle_pct", "node", "description", "Stopping", "Jobs"),
    *(
        "Unstoppable Jobs",
        "Listeners",
        "ActivePeers",
        "ConnectedPeers",
        "DroppedLogs",
        "BusyPolling",
        "FailedResolutions",
    ),
    *("TotalBytesOut", "TotalSplicedBytesOut", "BytesOutRate", "DebugCommandsIssued", "CumRecvLogs", "Build info"),
    *("Memmax_bytes", "PoolAlloc_bytes", "PoolUsed_bytes", "Start_time_sec", "Tainted"),
)

_WORDS = (
    {"M": "Metric", "S": "Status", "K": "Key", "C": "Config", "P": "Product"},
    {
        "A": "Age",
        "a": "Avg",
        "C": "Counter",
        "D": "Duration",
        "G": "Gauge",
        "L": "Limit",
        "M": "Max",
        "m": "Min",
        "N": "Name",
        "O": "Output",
        "R": "Rate",
        "T": "Time",
    },
    {"C": "Cluster", "P": "Process", "S": "Service", "s": "System"},
)
_OBJECTS = (("F", "Frontend"), ("B", "Backend"), ("S", "Server"), ("L", "Listener"))

Value = int | str


def _kinds(table: str) -> dict[str, tuple[str, str]]:
    found = {}
    for line in table.strip().splitlines():
        kind, *names = line.split()
        tags, _, form = kind.partition(":")
        found.update(
            dict.fromkeys((name.replace("_Jobs", " Jobs").replace("Build_", "Build ") for name in names), (tags, form))
        )
    return found


STAT = _kinds(_STAT)
INFO = _kinds(_INFO)


def _stat(row: Row) -> Iterator[tuple[int, str, str, str, Value]]:
    for place, column in enumerate(COLUMNS):
        value = row.get(column, "")
        if value == "":
            continue
        tags, form = STAT[column]
        if row["type"] == BACKEND and column in ("act", "bck", "rate", "rate_max"):
            tags = "MGP"
        yield place, column, tags, form, value


def _info(fields: Mapping[str, Value]) -> Iterator[tuple[int, str, str, str, Value]]:
    for place, name in enumerate(_INFO_PLACES):
        if name in fields:
            yield place, name, *INFO[name], fields[name]


def stat_lines(row: Row) -> str:
    """Return the lines of a row of `show stat`."""
    letter, _ = _OBJECTS[int(row["type"])]
    head = f"{letter}.{row['iid']}.{row['sid']}"
    return "".join(f"{head}.{place}.{name}.1:{tags}:{form}:{value}\n" for place, name, tags, form, value in _stat(row))


def info_lines(fields: Mapping[str, Value]) -> str:
    """Return the lines of `show info`."""
    return "".join(f"{place}.{name}.1:{tags}:{form}:{value}\n" for place, name, tags, form, value in _info(fields))


def stat_json(row: Row) -> str:
    """Return a row of `show stat` as an array."""
    _, word = _OBJECTS[int(row["type"])]
    head = {"objType": word, "proxyId": row["iid"], "id": row["sid"]}
    return _array({**head, **_item(*each)} for each in _stat(row))


def info_json(fields: Mapping[str, Value]) -> str:
    """Return `show info` as an array."""
    return _array(_item(*each) for each in _info(fields))


def _item(place: int, name: str, tags: str, form: str, value: Value) -> dict[str, object]:
    origin, nature, scope = (words[letter] for words, letter in zip(_WORDS, tags, strict=True))
    return {
        "field": {"pos": place, "name": name},
        "processNum": 1,
        "tags": {"origin": origin, "nature": nature, "scope": scope},
        "value": {"type": form, "value": value},
    }


def _array(items: Iterable[dict[str, object]]) -> str:
    return orjson.dumps(list(items)).decode()
