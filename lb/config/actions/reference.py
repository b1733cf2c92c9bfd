"""Actions on maps and ACL files."""

from collections.abc import Callable

from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.language.expression import ARG_REFERENCE, Arg


def change(action: str, number: Action) -> Callable[[RuleContext, object], Made]:
    """Return the function of an action that has a file and formats: of a key, and for `set_map` of a value."""

    def made(rule: RuleContext, given: object) -> Made:
        assert isinstance(given, tuple)
        name, *texts = given

        def report(message: str, hint: str) -> None:
            rule.wrong((action, 0), f"'{action}': {message}", hint)

        place = Arg(ARG_REFERENCE, rule.scope.names.files.change(name, report))
        return Made(number, [place, *(rule.text((action, index), text) for index, text in enumerate(texts, 1))])

    return made
