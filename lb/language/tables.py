"""Names of what the language knows of stick tables' entries.

Three families see the same: fetches of tracked entries, fetches of the client's address, converters. Numbers are those of
`lb/_speedups/policy/look.pxd`; a test compares them.
"""

from typing import NamedTuple

ARRAY_MAX = 100
TRACKS = 3


class Look(NamedTuple):
    """What can be seen of an entry, and by which names; empty: that family has none."""

    constant: str
    number: int
    tracked: str
    source: str
    converter: str

    @property
    def is_numbered(self) -> bool:
        """Whether the first argument is the number in an array."""
        return self.constant in ("GPC", "GPT", "GPC_RATE", "INC_GPC", "CLR_GPC")

    @property
    def is_truth(self) -> bool:
        """Whether it is a boolean."""
        return self.constant in ("TRACKED", "IN_TABLE")


_NAMES = """
CONN_CNT sc_conn_cnt src_conn_cnt table_conn_cnt
CONN_CUR sc_conn_cur src_conn_cur table_conn_cur
CONN_RATE sc_conn_rate src_conn_rate table_conn_rate
SESS_CNT sc_sess_cnt src_sess_cnt table_sess_cnt
SESS_RATE sc_sess_rate src_sess_rate table_sess_rate
HTTP_REQ_CNT sc_http_req_cnt src_http_req_cnt table_http_req_cnt
HTTP_REQ_RATE sc_http_req_rate src_http_req_rate table_http_req_rate
HTTP_ERR_CNT sc_http_err_cnt src_http_err_cnt table_http_err_cnt
HTTP_ERR_RATE sc_http_err_rate src_http_err_rate table_http_err_rate
HTTP_FAIL_CNT sc_http_fail_cnt src_http_fail_cnt table_http_fail_cnt
HTTP_FAIL_RATE sc_http_fail_rate src_http_fail_rate table_http_fail_rate
GLITCH_CNT sc_glitch_cnt src_glitch_cnt table_glitch_cnt
GLITCH_RATE sc_glitch_rate src_glitch_rate table_glitch_rate
BYTES_IN_RATE sc_bytes_in_rate src_bytes_in_rate table_bytes_in_rate
BYTES_OUT_RATE sc_bytes_out_rate src_bytes_out_rate table_bytes_out_rate
KBYTES_IN sc_kbytes_in src_kbytes_in table_kbytes_in
KBYTES_OUT sc_kbytes_out src_kbytes_out table_kbytes_out
GPC0 sc_get_gpc0 src_get_gpc0 table_gpc0
GPC1 sc_get_gpc1 src_get_gpc1 table_gpc1
GPT0 sc_get_gpt0 src_get_gpt0 table_gpt0
GPC0_RATE sc_gpc0_rate src_gpc0_rate table_gpc0_rate
GPC1_RATE sc_gpc1_rate src_gpc1_rate table_gpc1_rate
INC_GPC0 sc_inc_gpc0 src_inc_gpc0 table_inc_gpc0
INC_GPC1 sc_inc_gpc1 src_inc_gpc1 table_inc_gpc1
CLR_GPC0 sc_clr_gpc0 src_clr_gpc0 table_clr_gpc0
CLR_GPC1 sc_clr_gpc1 src_clr_gpc1 table_clr_gpc1
GPC sc_get_gpc src_get_gpc table_gpc
GPT sc_get_gpt src_get_gpt table_gpt
GPC_RATE sc_gpc_rate src_gpc_rate table_gpc_rate
INC_GPC sc_inc_gpc src_inc_gpc table_inc_gpc
CLR_GPC sc_clr_gpc src_clr_gpc table_clr_gpc
TRACKERS sc_trackers - table_trackers
TRACKED sc_tracked - -
UPDT_CONN_CNT - src_updt_conn_cnt -
SERVER_ID - - table_server_id
IDLE - - table_idle
EXPIRE - - table_expire
IN_TABLE - - in_table
"""


def _look(number: int, line: str) -> Look:
    constant, *names = line.split()
    return Look(constant, number, *("" if name == "-" else name for name in names))


UNBUILT = frozenset(["GLITCH_CNT", "GLITCH_RATE"])
"""What nothing counts yet."""

LOOKS = [_look(number, line) for number, line in enumerate(_NAMES.split("\n")[1:-1], 1)]
