"""What the language knows: types, fetches, converters, match methods.

Numbers are those of `lb/_speedups/policy/{sample,program,fetch,convert}.pxd`; a test compares them by name. An entry says what
HAProxy's manual says of it (7.3): the type of its result and its arguments.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import product

from lb.language.tables import ARRAY_MAX, LOOKS, TRACKS, UNBUILT


class Type(IntEnum):
    """Types of samples (`sample_type`)."""

    ANY = 0
    BOOL = 1
    SINT = 2
    ADDR = 3
    IPV4 = 4
    IPV6 = 5
    STR = 6
    BIN = 7
    METH = 8

    def __str__(self) -> str:
        return _TYPE_NAMES[self]


_TYPE_NAMES = {
    Type.ANY: "any",
    Type.BOOL: "boolean",
    Type.SINT: "integer",
    Type.ADDR: "address",
    Type.IPV4: "IPv4 address",
    Type.IPV6: "IPv6 address",
    Type.STR: "string",
    Type.BIN: "binary",
    Type.METH: "method",
}

CASTS: dict[Type, frozenset[Type]] = {
    Type.ANY: frozenset(Type),
    Type.BOOL: frozenset({Type.ANY, Type.BOOL, Type.SINT, Type.STR}),
    Type.SINT: frozenset(
        {Type.ANY, Type.BOOL, Type.SINT, Type.ADDR, Type.IPV4, Type.IPV6, Type.STR, Type.BIN},
    ),
    Type.ADDR: frozenset(
        {Type.ANY, Type.ADDR, Type.IPV4, Type.IPV6, Type.STR, Type.BIN, Type.SINT},
    ),  # what it really is, is known when it runs
    Type.IPV4: frozenset({Type.ANY, Type.SINT, Type.ADDR, Type.IPV4, Type.IPV6, Type.STR, Type.BIN}),
    Type.IPV6: frozenset({Type.ANY, Type.ADDR, Type.IPV4, Type.IPV6, Type.STR, Type.BIN}),
    Type.STR: frozenset(Type),
    Type.BIN: frozenset({Type.ANY, Type.STR, Type.BIN, Type.METH}),
    Type.METH: frozenset({Type.ANY, Type.STR, Type.BIN, Type.METH}),
}
"""What can be turned into what (HAProxy's sample_casts)."""


class Needs(IntEnum):
    """What must be there for a fetch to find anything; up to RESPONSE each has all that stands before it."""

    NOTHING = 0
    CONNECTION = 1
    REQUEST = 2
    RESPONSE = 3
    BYTES = 4  # of either connection (mode tcp); what stands before this is not there then
    PAYLOAD = 5  # of the client's
    ANSWER = 6  # of the server's


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a fetch or converter.

    Kinds: `int`, `text`, `name` (a token), `unit` (of a date), `frontend`, `backend`, `server`, `table`, `userlist`, `ipv4`,
    `ipv6`, `hex`, `mask4`, `mask6` (a mask or its bits), `flag` (0 or 1), `query` (this word), `char` (one character),
    `json_path`; of a few words one: `asint` (`int`), `input_code`, `forwarded` (a parameter); `variable` (its name),
    `operand` (an integer or a variable); `regex`, `references` (what replaces a match), `regex_flags` (`g`, and `i` that
    goes with the regex); and, of all arguments that are left, `conditions` (of setting a variable), `acls` and `when` (its
    condition and ACLs); `digest`, `sha2` (bits), `jwt_algorithm`, `base64` (or a variable that holds it), `bits` (of an AES
    key), `jwt_key` (a secret or a file); `time` (a unit), `tlv` (of a PROXY header), `env` (a variable of the environment).
    `map_<match>_<output>`: the file of a map; `address`.
    `offset` (with a sign: from where it would be without).
    """

    kind: str
    is_optional: bool = False
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """Where a sample comes from."""

    name: str
    code: int
    type: Type
    args: tuple[Argument, ...] = ()
    needs: Needs = Needs.NOTHING
    preset: tuple[int, int] | None = None
    """An argument that the name says, and which it is: `sc0_get_gpc0` is `sc_get_gpc0(0)`."""


@dataclass(frozen=True, slots=True)
class Converter:
    """What a sample can be turned into."""

    name: str
    code: int
    takes: Type
    gives: Type | None  # None: what it took
    args: tuple[Argument, ...] = ()


def arguments(text: str) -> tuple[Argument, ...]:
    """Read the short form of the tables below: kinds with `?` for optional, and bounds as in `int?[-10..10]`."""
    made: list[Argument] = []
    for each in text.split():
        kind, _, bounds = each.partition("[")
        low, _, high = bounds.removesuffix("]").partition("..")
        is_optional = kind.endswith("?")
        made.append(
            Argument(kind.removesuffix("?"), is_optional, int(low) if low else None, int(high) if high else None)
        )
    return tuple(made)


def _fetches(family: int, needs: Needs, table: str) -> list[Fetch]:
    """One fetch a line: name, type, arguments; numbered from 1 in this order."""
    made: list[Fetch] = []
    for number, line in enumerate(filter(None, map(str.strip, table.splitlines())), 1):
        name, kind, *rest = line.split(None, 2)
        made.append(Fetch(name, family << 8 | number, Type[kind], arguments(*rest) if rest else (), needs))
    return made


def _needing(more: dict[str, Needs], fetches: list[Fetch]) -> list[Fetch]:
    """Return fetches that need more than their family where their name begins with one of these words."""
    return [
        replace(each, needs=next((needs for word, needs in more.items() if each.name.startswith(word)), each.needs))
        for each in fetches
    ]


def _converters(family: int, table: str) -> list[Converter]:
    """One converter a line: name, what it takes, what it gives (`=` the same), arguments."""
    made: list[Converter] = []
    for number, line in enumerate(filter(None, map(str.strip, table.splitlines())), 1):
        name, takes, gives, *rest = line.split(None, 3)
        made.append(
            Converter(
                name,
                family << 8 | number,
                Type[takes],
                None if gives == "=" else Type[gives],
                arguments(*rest) if rest else (),
            )
        )
    return made


def _maps(family: int) -> list[Converter]:
    """`map_<match>_<output>`: matches of texts, numbers and addresses; outputs text, integer, address, the key itself."""
    made: list[Converter] = []
    outputs = {"": Type.STR, "_int": Type.SINT, "_ip": Type.ADDR, "_key": Type.STR}
    matches = ("str", "beg", "end", "sub", "dir", "dom", "int", "ip", "len")
    for number, (match, output) in enumerate(product(matches, outputs), 1):
        takes = {"int": Type.SINT, "ip": Type.ADDR}.get(match, Type.STR)
        default = {"_int": "int?", "_ip": "address?"}.get(output, "text?")
        args = arguments(f"map_{match}_{output[1:]} {default}")
        made.append(Converter(f"map_{match}{output}", family << 8 | number, takes, outputs[output], args))
    return [*made, Converter("map", family << 8 | 41, Type.STR, Type.STR, made[0].args)]


INTERNAL, CONNECTION, REQUEST, RESPONSE, TRACKED, SOURCE, VARIABLE, PAYLOAD, BODY = range(1, 10)
AUTH = 11
TRANSACTION = 10
LAST_RULE_FILE = "last_rule_file"  # which language/expression.py gives its argument,
LOG_VARIABLE = "%log"  # and this one language/format.py
SOCKET, PROCESS, TABLE = 12, 13, 14
TABLE_CONVERTERS = 9
DIGEST = 10


def _looks() -> list[Fetch]:
    """Fetches of entries: tracked ones, also with the number of the track in the name, and the client address's."""
    made: list[Fetch] = []
    for look in LOOKS:
        if look.constant in UNBUILT:
            continue
        kind = Type.BOOL if look.is_truth else Type.SINT
        number = f"int[0..{ARRAY_MAX - 1}] " if look.is_numbered else ""
        if look.tracked:
            code = TRACKED << 8 | look.number
            args = arguments(f"{number}int[0..{TRACKS - 1}] table?")
            made.append(Fetch(look.tracked, code, kind, args, Needs.CONNECTION))
            for track in range(TRACKS):
                name = look.tracked.replace("sc_", f"sc{track}_")
                args = arguments(f"{number}table?")
                made.append(Fetch(name, code, kind, args, Needs.CONNECTION, (int(look.is_numbered), track)))
        if look.source:
            args = arguments(f"{number}table")
            made.append(Fetch(look.source, SOURCE << 8 | look.number, kind, args, Needs.CONNECTION))
    return made


def _table_converters() -> list[Converter]:
    made: list[Converter] = []
    for look in LOOKS:
        if not look.converter or look.constant in UNBUILT:
            continue
        kind = Type.BOOL if look.is_truth else Type.SINT
        args = f"int[0..{ARRAY_MAX - 1}] table" if look.is_numbered else "table"
        if look.constant in ("IDLE", "EXPIRE"):
            args += " int?"
        made.append(Converter(look.converter, TABLE_CONVERTERS << 8 | look.number, Type.ANY, kind, arguments(args)))
    return made


FETCHES: dict[str, Fetch] = {
    each.name: each
    for each in [
        *_fetches(
            INTERNAL,
            Needs.NOTHING,
            """
            always_true BOOL
            always_false BOOL
            int SINT int
            str STR text
            bool BOOL flag
            bin BIN hex
            ipv4 IPV4 ipv4
            ipv6 IPV6 ipv6
            meth METH text
            date SINT int? unit?
            date_us SINT
            rand SINT int?[1..4294967295]
            uuid STR int?[4..4]
            hostname STR
            fe_name STR
            be_name STR
            srv_name STR
            fe_id SINT
            be_id SINT
            srv_id SINT
            fe_conn SINT frontend?
            be_conn SINT backend?
            srv_conn SINT server
            nbsrv SINT backend?
            act_conn SINT
            stopping BOOL
            """,
        ),
        *_fetches(
            CONNECTION,
            Needs.CONNECTION,
            """
            src ADDR
            src_port SINT
            dst ADDR
            dst_port SINT
            so_name STR
            so_id SINT
            """,
        ),
        *_fetches(
            REQUEST,
            Needs.REQUEST,
            """
            method METH
            path STR
            pathq STR
            query STR
            url STR
            base STR
            req.ver STR
            req.hdr STR name int?[-10..1000]
            req.fhdr STR name int?[-10..1000]
            req.hdr_cnt SINT name?
            req.fhdr_cnt SINT name?
            req.hdr_names STR text?
            req.hdr_ip ADDR name int?[-10..1000]
            req.hdr_val SINT name int?[-10..1000]
            req.cook STR text
            req.cook_cnt SINT text
            req.cook_val SINT text
            urlp STR text
            urlp_val SINT text
            http_first_req BOOL
            unique-id STR
            req.proto_http BOOL
            baseq STR
            base32 SINT
            base32+src BIN
            url32 SINT
            url32+src BIN
            url_ip IPV4
            url_port SINT
            req.hdrs BIN
            req.hdrs_bin BIN
            req.cook_names STR text?
            """,
        ),
        *_fetches(
            RESPONSE,
            Needs.RESPONSE,
            """
            status SINT
            res.ver STR
            res.hdr STR name int?[-10..1000]
            res.fhdr STR name int?[-10..1000]
            res.hdr_cnt SINT name?
            res.fhdr_cnt SINT name?
            res.hdr_names STR text?
            res.hdr_ip ADDR name int?[-10..1000]
            res.hdr_val SINT name int?[-10..1000]
            res.cook STR text
            res.cook_cnt SINT text
            res.cook_val SINT text
            res.hdrs BIN
            res.hdrs_bin BIN
            res.cook_names STR text?
            server_status SINT
            """,
        ),
        *_looks(),
        *_fetches(
            TABLE,
            Needs.NOTHING,
            """
            table_cnt SINT table
            table_avl SINT table
            """,
        ),
        *_fetches(
            AUTH,
            Needs.REQUEST,
            """
            http_auth BOOL userlist
            http_auth_group STR userlist
            http_auth_user STR
            http_auth_pass STR
            http_auth_type STR
            http_auth_bearer STR name?
            """,
        ),
        *_needing(
            {"capture.req": Needs.REQUEST, "capture.res": Needs.RESPONSE},
            _fetches(
                VARIABLE,
                Needs.NOTHING,
                """
                var ANY variable text?
                capture.req.hdr STR int[0..999]
                capture.res.hdr STR int[0..999]
                capture.req.method STR
                capture.req.uri STR
                capture.req.ver STR
                capture.res.ver STR
                acl BOOL acls
                """,
            ),
        ),
        *_fetches(
            TRANSACTION,
            Needs.CONNECTION,
            """
            txn.status SINT
            txn.sess_term_state STR
            txn.conn_retries SINT
            txn.redispatched BOOL
            txn.id32 SINT
            txn.timer.total SINT
            txn.timer.user SINT
            req.timer.hdr SINT
            req.timer.idle SINT
            req.timer.queue SINT
            req.timer.tq SINT
            res.timer.hdr SINT
            res.timer.data SINT
            bc.timer.connect SINT
            fc.timer.handshake SINT
            fc.timer.total SINT
            bytes_in SINT
            bytes_out SINT
            last_rule_file STR
            last_rule_line SINT
            %log STR
            """,
        ),
        *_fetches(
            SOCKET,
            Needs.CONNECTION,
            """
            fc_src ADDR
            fc_src_port SINT
            fc_dst ADDR
            fc_dst_port SINT
            fc_src_is_local BOOL
            fc_dst_is_local BOOL
            src_is_local BOOL
            dst_is_local BOOL
            dst_conn SINT
            fc_http_major SINT
            fc_rcvd_proxy BOOL
            fc_pp_authority STR
            fc_pp_unique_id STR
            fc_pp_tlv STR tlv
            fc_rtt SINT time?
            fc_rttvar SINT time?
            fc_unacked SINT
            fc_sacked SINT
            fc_lost SINT
            fc_retrans SINT
            fc_fackets SINT
            fc_reordering SINT
            bc_src ADDR
            bc_src_port SINT
            bc_dst ADDR
            bc_dst_port SINT
            bc_http_major SINT
            bc_rtt SINT time?
            bc_rttvar SINT time?
            """,
        ),
        *_fetches(
            PROCESS,
            Needs.NOTHING,
            """
            env STR env
            nbproc SINT
            nbthread SINT
            proc SINT
            thread SINT
            pid SINT
            fe_defbe STR
            fe_client_timeout SINT
            be_server_timeout SINT
            be_tunnel_timeout SINT
            fe_sess_rate SINT frontend?
            fe_req_rate SINT frontend?
            be_sess_rate SINT backend?
            srv_sess_rate SINT server
            srv_is_up BOOL server
            srv_weight SINT server
            srv_iweight SINT server
            srv_uweight SINT server
            """,
        ),
        *_needing(
            {"wait_end": Needs.CONNECTION, "payload": Needs.BYTES, "res.": Needs.ANSWER},
            _fetches(
                PAYLOAD,
                Needs.PAYLOAD,
                """
                wait_end BOOL
                req.len SINT
                req.payload BIN int[0..4294967295] int[0..4294967295]
                req.payload_lv BIN int[0..4294967295] int[1..8] offset?
                req.ssl_sni STR
                req.ssl_ver SINT
                req.ssl_hello_type SINT
                req.ssl_alpn STR
                req.ssl_ec_ext BOOL
                req.ssl_st_ext SINT
                req.rdp_cookie STR text?
                req.rdp_cookie_cnt SINT text?
                payload BIN int[0..4294967295] int[0..4294967295]
                payload_lv BIN int[0..4294967295] int[1..8] offset?
                res.len SINT
                res.payload BIN int[0..4294967295] int[0..4294967295]
                res.payload_lv BIN int[0..4294967295] int[1..8] offset?
                res.ssl_hello_type SINT
                """,
            ),
        ),
        *_fetches(
            BODY,
            Needs.REQUEST,
            """
            req.body BIN
            req.body_len SINT
            req.body_size SINT
            req.body_param STR text?
            """,
        ),
    ]
}

ALIASES: dict[str, str] = {
    "hdr": "req.hdr",
    "hdr_cnt": "req.hdr_cnt",
    "hdr_ip": "req.hdr_ip",
    "hdr_val": "req.hdr_val",
    "fhdr": "req.fhdr",
    "cook": "req.cook",
    "cook_cnt": "req.cook_cnt",
    "cook_val": "req.cook_val",
    "url_param": "urlp",
    "url_param_val": "urlp_val",
    "shdr": "res.hdr",
    "shdr_cnt": "res.hdr_cnt",
    "shdr_ip": "res.hdr_ip",
    "shdr_val": "res.hdr_val",
    "scook": "res.cook",
    "set-cookie": "res.cook",
    "scook_cnt": "res.cook_cnt",
    "scook_val": "res.cook_val",
    "req_ver": "req.ver",
    "res_ver": "res.ver",
    "resp_ver": "res.ver",
    "req_proto_http": "req.proto_http",
    "req_len": "req.len",
    "req_ssl_sni": "req.ssl_sni",
    "req_ssl_ver": "req.ssl_ver",
    "req_ssl_hello_type": "req.ssl_hello_type",
    "rep_ssl_hello_type": "res.ssl_hello_type",
    "rdp_cookie": "req.rdp_cookie",
    "rdp_cookie_cnt": "req.rdp_cookie_cnt",
    "req_rdp_cookie": "req.rdp_cookie",
    "req_rdp_cookie_cnt": "req.rdp_cookie_cnt",
}
"""Old names that are still written."""

CONVERTERS: dict[str, Converter] = {
    each.name: each
    for each in [
        *_converters(
            1,
            """
            lower STR STR
            upper STR STR
            length STR SINT
            bytes BIN BIN int[0..65535] int?[0..65535]
            field STR STR int[-10000..10000] text int?[0..10000]
            word STR STR int[-10000..10000] text int?[0..10000]
            ltrim STR STR text
            rtrim STR STR text
            reverse STR STR
            iif BOOL STR text text
            url_dec STR STR flag?
            cut_crlf STR STR
            param STR STR text char?
            language STR STR text text?
            """,
        ),
        *_converters(
            2,
            """
            add SINT SINT operand
            sub SINT SINT operand
            mul SINT SINT operand
            div SINT SINT operand
            mod SINT SINT operand
            neg SINT SINT
            and SINT SINT operand
            or SINT SINT operand
            xor SINT SINT operand
            cpl SINT SINT
            not SINT BOOL
            bool SINT BOOL
            odd SINT BOOL
            even SINT BOOL
            """,
        ),
        *_converters(
            3,
            """
            hex BIN STR
            hex2i STR SINT
            base64 BIN STR
            b64dec STR BIN
            ub64enc BIN STR
            ub64dec STR BIN
            be2dec BIN STR text int[1..8] flag?
            be2hex BIN STR text? int?[1..65535] flag?
            htonl SINT BIN
            url_enc STR STR query?
            base2 BIN STR
            le2dec BIN STR text int[1..8] flag?
            """,
        ),
        *_converters(
            4,
            """
            crc32 BIN SINT int?
            crc32c BIN SINT int?
            djb2 BIN SINT int?
            sdbm BIN SINT int?
            wt6 BIN SINT int?
            xxh3 BIN SINT int?
            xxh32 BIN SINT int?
            xxh64 BIN SINT int?
            """,
        ),
        *_converters(
            5,
            """
            ipmask ADDR = mask4 mask6?
            host_only STR STR
            port_only STR SINT
            """,
        ),
        *_converters(
            6,
            """
            http_date SINT STR int? unit?
            ltime SINT STR text int?
            utime SINT STR text int?
            ms_ltime SINT STR text int?
            ms_utime SINT STR text int?
            us_ltime SINT STR text int?
            us_utime SINT STR text int?
            """,
        ),
        *_maps(8),
        *_converters(
            DIGEST,
            """
            sha1 BIN BIN
            sha2 BIN BIN sha2?
            md5 BIN BIN
            digest BIN BIN digest
            hmac BIN BIN digest base64
            jwt_verify BIN SINT jwt_algorithm jwt_key
            aes_gcm_dec BIN BIN bits base64 base64 base64
            aes_gcm_enc BIN BIN bits base64 base64 variable
            """,
        ),
        *_converters(
            11,
            """
            json STR STR input_code?
            json_query STR ANY json_path asint?
            jwt_header_query BIN ANY json_path? asint?
            jwt_payload_query BIN ANY json_path? asint?
            rfc7239_is_valid STR BOOL
            rfc7239_field STR STR forwarded
            rfc7239_n2nn STR ANY
            rfc7239_n2np STR ANY
            """,
        ),
        *_converters(
            7,
            """
            regsub STR STR regex references regex_flags?
            """,
        ),
        *_converters(
            12,
            """
            set-var ANY = variable conditions?
            unset-var ANY = variable
            concat STR STR text? variable? text?
            strcmp STR SINT variable
            secure_memcmp BIN BOOL variable
            when ANY = when
            add_item STR STR text variable? text?
            """,
        ),
        *_table_converters(),
    ]
}


class Match(IntEnum):
    """How a sample is compared with patterns (`match_method`)."""

    FOUND = 1
    BOOL = 2
    INT = 3
    IP = 4
    LEN = 5
    STR = 6
    BIN = 7
    BEG = 8
    END = 9
    SUB = 10
    DIR = 11
    DOM = 12
    REG = 13


MATCH_TAKES: dict[Match, Type] = {
    Match.FOUND: Type.ANY,
    Match.BOOL: Type.BOOL,
    Match.INT: Type.SINT,
    Match.IP: Type.ADDR,
    Match.LEN: Type.STR,
    Match.STR: Type.STR,
    Match.BIN: Type.BIN,
    Match.BEG: Type.STR,
    Match.END: Type.STR,
    Match.SUB: Type.STR,
    Match.DIR: Type.STR,
    Match.DOM: Type.STR,
    Match.REG: Type.STR,
}

MATCH_OF_TYPE: dict[Type, Match] = {
    Type.BOOL: Match.BOOL,
    Type.SINT: Match.INT,
    Type.ADDR: Match.IP,
    Type.IPV4: Match.IP,
    Type.IPV6: Match.IP,
    Type.STR: Match.STR,
    Type.METH: Match.STR,
}
"""What compares a sample of a type when nothing is said."""

DERIVED = {
    "beg": Match.BEG,
    "end": Match.END,
    "sub": Match.SUB,
    "dir": Match.DIR,
    "dom": Match.DOM,
    "len": Match.LEN,
    "reg": Match.REG,
}
"""Endings of fetch names that say how to match: `path_beg` is `path -m beg`."""

PREDEFINED = {
    "TRUE": "always_true",
    "FALSE": "always_false",
    "LOCALHOST": "src 127.0.0.1/8 ::1",
    "HTTP": "req.proto_http",
    "HTTP_1.0": "req.ver 1.0",
    "HTTP_1.1": "req.ver 1.1",
    "METH_GET": "method GET HEAD",
    "METH_HEAD": "method HEAD",
    "METH_POST": "method POST",
    "METH_PUT": "method PUT",
    "METH_DELETE": "method DELETE",
    "METH_OPTIONS": "method OPTIONS",
    "METH_TRACE": "method TRACE",
    "METH_CONNECT": "method CONNECT",
    "HTTP_URL_ABS": "url -m beg -i http:// https://",
    "HTTP_URL_SLASH": "url -m beg /",
    "HTTP_URL_STAR": "url *",
    "HTTP_CONTENT": "req.hdr_val(content-length) gt 0",
    "RDP_COOKIE": "req.rdp_cookie_cnt gt 0",
    "REQ_CONTENT": "req.len gt 0",
    "WAIT_END": "wait_end",
}
"""ACLs that exist without being defined (manual 7.4)."""
