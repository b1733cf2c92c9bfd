"""Actions on what arrives: connections before they are read, bodies before they go on."""

from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.language.expression import ARG_INT, Arg
from lb.model.rule import WaitForBody
from lb.model.units import UnitError, duration_ms, size_bytes

BODY_ROOM = 15_360
"""Bytes of a body that are gathered at most (`relay/relay.pxd`)."""


def expect_proxy(rule: RuleContext, given: object) -> Made:
    """`expect_proxy: layer4`."""
    return Made(Action.EXPECT_PROXY, [])


def wait_for_body(rule: RuleContext, given: object) -> Made:
    """`wait_for_body: time` or a mapping."""
    said = WaitForBody(time=given) if isinstance(given, str) else given
    assert isinstance(said, WaitForBody)
    return Made(
        Action.WAIT_FOR_BODY, [Arg(ARG_INT, _time(rule, said.time)), Arg(ARG_INT, _at_least(rule, said.at_least))]
    )


def _time(rule: RuleContext, text: str) -> int:
    try:
        ms = duration_ms(text)
    except UnitError as error:
        rule.wrong(("wait_for_body",), f"'wait_for_body': '{text}' {error}")
        return 1
    if ms == 0:
        rule.wrong(("wait_for_body",), "'wait_for_body' needs a time above 0", "without the rule nothing is waited for")
    return ms


def _at_least(rule: RuleContext, text: str) -> int:
    try:
        size = size_bytes(text)
    except UnitError as error:
        rule.wrong(("wait_for_body", "at_least"), f"'wait_for_body': '{text}' {error}")
        return 0
    if size > BODY_ROOM:
        rule.wrong(("wait_for_body", "at_least"), f"'wait_for_body': at most {BODY_ROOM} bytes of a body are gathered")
    return size
