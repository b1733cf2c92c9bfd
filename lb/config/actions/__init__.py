"""What each action of a rule is compiled to.

An action is a keyword of `lb.model.rule.Rule`, a number of `policy/action.pxd`, and a function here that checks what is given
and returns the number with its arguments. To add one: the keyword, the number, the function, the line below, and its body
in the module of its family (`policy/action_*.pyx`) or in relay.
"""

from collections.abc import Callable
from typing import NamedTuple

from lb.config.actions import answer, arrival, check, edit, reference, rewrite, steer, stream, table, variable
from lb.config.actions.context import Made, Phase, RuleContext
from lb.config.actions.number import Action
from lb.language.catalog import Type

_REQUEST = (Phase.REQUEST,)
_RESPONSE = (Phase.RESPONSE,)
_EVERYWHERE = tuple(Phase)
_HEADS = (Phase.REQUEST, Phase.RESPONSE)
_WRITTEN = (*_HEADS, Phase.AFTER_RESPONSE)
_ARRIVAL = (Phase.CONNECTION, Phase.SESSION, Phase.CONTENT)


class Kind(NamedTuple):
    """How an action is compiled, and in which lists it may stand."""

    compile: Callable[[RuleContext, object], Made]
    phases: tuple[Phase, ...] = _HEADS


ACTIONS = {
    "allow": Kind(answer.allow, _WRITTEN),
    "accept": Kind(answer.accept, (*_ARRIVAL, Phase.RESPONSE_CONTENT)),
    "deny": Kind(answer.deny),
    "reject": Kind(answer.reject, (*_REQUEST, *_ARRIVAL, Phase.RESPONSE_CONTENT)),
    "tarpit": Kind(answer.tarpit, _REQUEST),
    "auth": Kind(answer.auth, _REQUEST),
    "silent_drop": Kind(answer.silent_drop, (*_HEADS, *_ARRIVAL, Phase.RESPONSE_CONTENT)),
    "return": Kind(answer.return_),
    "redirect": Kind(answer.redirect, _REQUEST),
    "set_header": Kind(edit.set_header, _WRITTEN),
    "add_header": Kind(edit.add_header, _WRITTEN),
    "del_header": Kind(edit.del_header, _WRITTEN),
    "set_method": Kind(edit.line("set_method", Action.SET_METHOD, check.method), _REQUEST),
    "set_path": Kind(edit.line("set_path", Action.SET_PATH, check.path), _REQUEST),
    "set_pathq": Kind(edit.line("set_pathq", Action.SET_PATHQ, check.pathq), _REQUEST),
    "set_query": Kind(edit.line("set_query", Action.SET_QUERY, check.target), _REQUEST),
    "set_status": Kind(edit.set_status, (*_RESPONSE, Phase.AFTER_RESPONSE)),
    "replace_header": Kind(rewrite.field("replace_header", Action.REPLACE_HEADER), _WRITTEN),
    "replace_value": Kind(rewrite.field("replace_value", Action.REPLACE_VALUE), _WRITTEN),
    "replace_path": Kind(rewrite.line("replace_path", Action.REPLACE_PATH), _REQUEST),
    "replace_pathq": Kind(rewrite.line("replace_pathq", Action.REPLACE_PATHQ), _REQUEST),
    "replace_uri": Kind(rewrite.line("replace_uri", Action.REPLACE_URI), _REQUEST),
    "set_uri": Kind(rewrite.set_uri, _REQUEST),
    "normalize_uri": Kind(rewrite.normalize_uri, _REQUEST),
    "set_var": Kind(variable.set_var, _EVERYWHERE),
    "set_var_fmt": Kind(variable.set_var_fmt, _EVERYWHERE),
    "unset_var": Kind(variable.unset_var, _EVERYWHERE),
    "capture": Kind(variable.capture),
    "set_map": Kind(reference.change("set_map", Action.SET_MAP), _EVERYWHERE),
    "del_map": Kind(reference.change("del_map", Action.DEL_MAP), _EVERYWHERE),
    "add_acl": Kind(reference.change("add_acl", Action.ADD_ACL), _EVERYWHERE),
    "del_acl": Kind(reference.change("del_acl", Action.DEL_ACL), _EVERYWHERE),
    "track": Kind(table.track, (*_REQUEST, *_ARRIVAL)),
    "sc_inc_gpc": Kind(table.change("sc_inc_gpc", Action.SC_INC_GPC, is_array=True, has_value=False), _EVERYWHERE),
    "sc_inc_gpc0": Kind(table.change("sc_inc_gpc0", Action.SC_INC_GPC0, is_array=False, has_value=False), _EVERYWHERE),
    "sc_inc_gpc1": Kind(table.change("sc_inc_gpc1", Action.SC_INC_GPC1, is_array=False, has_value=False), _EVERYWHERE),
    "sc_add_gpc": Kind(table.change("sc_add_gpc", Action.SC_ADD_GPC, is_array=True, has_value=True), _EVERYWHERE),
    "sc_set_gpt": Kind(table.change("sc_set_gpt", Action.SC_SET_GPT, is_array=True, has_value=True), _EVERYWHERE),
    "sc_set_gpt0": Kind(table.change("sc_set_gpt0", Action.SC_SET_GPT0, is_array=False, has_value=True), _EVERYWHERE),
    "use_backend": Kind(steer.use_backend, (*_REQUEST, Phase.CONTENT)),
    "use_server": Kind(steer.use_server, _REQUEST),
    "set_log_level": Kind(stream.set_log_level),
    "set_timeout": Kind(stream.set_timeout),
    "set_src": Kind(stream.address("set_src", Action.SET_SRC, Type.ADDR), _REQUEST),
    "set_src_port": Kind(stream.address("set_src_port", Action.SET_SRC_PORT, Type.SINT), _REQUEST),
    "set_dst": Kind(stream.address("set_dst", Action.SET_DST, Type.ADDR), _REQUEST),
    "set_dst_port": Kind(stream.address("set_dst_port", Action.SET_DST_PORT, Type.SINT), _REQUEST),
    "early_hint": Kind(stream.early_hint, _REQUEST),
    "strict_mode": Kind(stream.strict_mode, _WRITTEN),
    "pause": Kind(stream.pause, _REQUEST),
    "set_fc_mark": Kind(stream.mark, _REQUEST),
    "set_fc_tos": Kind(stream.tos, _REQUEST),
    "expect_proxy": Kind(arrival.expect_proxy, (Phase.CONNECTION,)),
    "wait_for_body": Kind(arrival.wait_for_body, _REQUEST),
}

COMPANIONS = {"table": ("track",), "as": ("track",)}
"""Words that only say more of an action."""
