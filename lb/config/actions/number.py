"""Numbers of actions: those of `lb/_speedups/policy/action.pxd`; a test compares them."""

from enum import IntEnum


class Action(IntEnum):
    """What a rule does; the high byte is its family."""

    ALLOW = 0x101
    DENY = 0x102
    REJECT = 0x103
    RETURN = 0x104
    REDIRECT = 0x105
    USE_BACKEND = 0x106
    TARPIT = 0x107
    SILENT_DROP = 0x108

    SET_HEADER = 0x201
    ADD_HEADER = 0x202
    DEL_HEADER = 0x203
    SET_METHOD = 0x204
    SET_PATH = 0x205
    SET_QUERY = 0x206
    SET_PATHQ = 0x207
    SET_STATUS = 0x208

    REPLACE_HEADER = 0x301
    REPLACE_VALUE = 0x302
    REPLACE_PATH = 0x303
    REPLACE_PATHQ = 0x304
    REPLACE_URI = 0x305
    SET_URI = 0x306
    NORMALIZE_URI = 0x307

    SET_VAR = 0x401
    SET_VAR_FMT = 0x402
    UNSET_VAR = 0x403
    CAPTURE = 0x404
    SET_MAP = 0x501
    DEL_MAP = 0x502
    ADD_ACL = 0x503
    DEL_ACL = 0x504

    TRACK = 0x601
    SC_INC_GPC = 0x602
    SC_INC_GPC0 = 0x603
    SC_INC_GPC1 = 0x604
    SC_ADD_GPC = 0x605
    SC_SET_GPT = 0x606
    SC_SET_GPT0 = 0x607

    SET_LOG_LEVEL = 0x701
    SET_TIMEOUT = 0x702
    SET_SRC = 0x703
    SET_SRC_PORT = 0x704
    SET_DST = 0x705
    SET_DST_PORT = 0x706
    USE_SERVER = 0x707
    EARLY_HINT = 0x708
    STRICT_MODE = 0x709
    PAUSE = 0x70A
    SET_FC_MARK = 0x70B
    SET_FC_TOS = 0x70C

    EXPECT_PROXY = 0x801
    WAIT_FOR_BODY = 0x802
