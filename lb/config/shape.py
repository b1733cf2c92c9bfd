"""What is wrong with the shape of a document: unknown keys, missing ones, values of another type.

msgspec stops at the first mistake and knows no lines. When it refuses a document, this module walks the same types over the same
data, collects every mistake, and returns what is left when the wrong parts are taken out, so that `lb.config.meaning` can look at
the rest in the same run.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache

import msgspec
from msgspec import inspect

from lb.config.diagnostic import Finding, Path, line_text
from lb.config.subject import label_of, subject_of
from lb.config.suggestion import did_you_mean, nearest
from lb.model import Configuration
from lb.model.keywords import INSTEAD, INSTEAD_WORDS, UNBUILT, UNBUILT_FORMS, UNBUILT_WORDS
from lb.model.kinds import NAME_MAX, TOKEN_MAX
from lb.model.units import UnitError, duration_ms, size_bytes

_EXPECTED = {
    "duration": "a duration such as '5s'",
    "size": "a size such as '64k'",
    "seconds": "a duration in whole seconds such as '60s'",
    "name": "a name",
    "backend": "the name of a backend",
    "mode": 'octal digits in quotes such as "0660"',
    "text": "a text",
    "tag": "a text",
    "header": "the name of a header",
    "pseudonym": "a name",
    "node": "a text",
    "interface": "the name of a network interface such as 'eth1'",
    "error_log": "a text",
    "bind": "an address such as ':8080'",
    "server": "an address such as '10.0.0.1:8080'",
    "network": "a network such as '10.0.0.0/8'",
    "workers": "'auto' or a whole number from 0 to 64",
}


class _Nothing:
    """What is left of a value that was wrong as a whole."""


_GONE = _Nothing()


class Extra:
    """What metadata says about a type, gathered from the outside in."""

    __slots__ = ("hidden", "item", "kind", "noun")

    def __init__(self) -> None:
        self.kind = ""
        self.noun = ""
        self.item = ""
        self.hidden = False

    def add(self, said: Mapping[str, object] | None) -> None:
        """Take over what is not known yet."""
        for key, value in (said or {}).items():
            if not getattr(self, key):
                setattr(self, key, value)


def bare(kind: inspect.Type) -> tuple[inspect.Type, Extra]:
    """Return a type without its metadata, and what the metadata says."""
    extra = Extra()
    while isinstance(kind, inspect.Metadata):
        extra.add(kind.extra)
        kind = kind.type
    return kind, extra


def options(kind: inspect.Type) -> list[inspect.Type]:
    """Return the types a value may have (msgspec leaves out that it may be absent)."""
    return list(kind.types) if isinstance(kind, inspect.UnionType) else [kind]


@cache
def root_type() -> inspect.Type:
    """Return the description of the whole configuration."""
    return inspect.type_info(Configuration)


class Examination:
    """A walk over one document.

    `findings` says what is wrong, `rest` is the document without it, `gone` where it was; `kept` holds, for each list that
    lost items, the places in the document of those that are left.
    """

    def __init__(self, data: object, hidden: bool) -> None:
        self.data = data
        self.hidden = hidden
        self.findings: list[Finding] = []
        self.gone: set[Path] = set()
        self.kept: dict[Path, list[int]] = {}
        self.rest = self._value(root_type(), data, (), ("", ""))

    def original(self, path: Path) -> Path:
        """Return the path in the document of what has this path in `rest`."""
        made: Path = ()
        for step in path:
            kept = self.kept.get(made)
            made = (*made, kept[step] if kept is not None and isinstance(step, int) else step)
        return made

    def _report(self, path: Path, message: str, hint: str = "", at_key: bool = False) -> None:
        self.findings.append(Finding(path, subject_of(path, self.data), message, hint, at_key))

    def _refuse(self, path: Path, message: str, hint: str = "") -> _Nothing:
        self._report(path, message, hint)
        self.gone.add(path)
        return _GONE

    def _value(self, kind: inspect.Type, value: object, path: Path, field: tuple[str, str]) -> object:
        """Examine one value; `field` is the section and keyword it belongs to."""
        inner, extra = bare(kind)
        choices = options(inner)
        for choice in choices:
            base, more = bare(choice)
            if not _takes(base, value):
                continue
            more.add({"kind": extra.kind, "noun": extra.noun, "item": extra.item})
            return self._typed(base, more, value, path, field)
        return self._mismatch(choices, extra, value, path, field)

    def _typed(self, kind: inspect.Type, extra: Extra, value: object, path: Path, field: tuple[str, str]) -> object:
        match kind:
            case inspect.StructType() if isinstance(value, Mapping):
                return self._struct(kind, value, path)
            case inspect.DictType() if isinstance(value, Mapping):
                return self._named(kind, value, path)
            case inspect.VarTupleType() if isinstance(value, list | tuple):
                items = [self._value(kind.item_type, each, (*path, index), field) for index, each in enumerate(value)]
                kept = [index for index, each in enumerate(items) if each is not _GONE]
                if len(kept) != len(items):
                    self.kept[path] = kept
                return [items[index] for index in kept]
            case inspect.IntType() if isinstance(value, int):
                return self._number(kind, value, path)
            case inspect.LiteralType():
                return self._word(kind, extra, value, path)
            case inspect.StrType() if isinstance(value, str):
                return self._text(kind, extra, value, path)
        return value

    # Collections

    def _struct(self, kind: inspect.StructType, value: Mapping[object, object], path: Path) -> object:
        section = kind.cls.__name__
        fields = {each.encode_name: each for each in kind.fields if self.hidden or not bare(each.type)[1].hidden}
        rest: dict[str, object] = {}
        hints = set()
        for key, each in value.items():
            field = fields.get(key) if isinstance(key, str) else None
            if field is None:
                hints.add(self._unknown(section, str(key), fields, path))
                continue
            left = self._value(field.type, each, (*path, field.encode_name), (section, field.encode_name))
            if left is not _GONE:
                rest[field.encode_name] = left
        missing = [name for name, each in fields.items() if each.required and name not in value]
        for name in missing:
            if not hints & {f"did you mean '{name}'?", f"write '{name}'"}:  # that one mistake has been told
                self._report(path, f"'{_inside(path, name)}' is missing", _EXAMPLES.get((section, name), ""))
            self.gone.add((*path, name))
        for name, each in fields.items():
            if each.required and name not in rest:
                if (section, name) not in _STAND_INS:
                    self.gone.add(path)
                    return _GONE
                rest[name] = _STAND_INS[section, name]
        return rest

    def _unknown(self, section: str, key: str, fields: Iterable[str], path: Path) -> str:
        shown = line_text(key)
        inside = label_of(path)
        where = f" in '{inside}'" if inside else ""
        keyword = key.replace("-", "_")
        if keyword != key and keyword in fields:
            message, hint = f"unknown keyword '{shown}'{where}", f"did you mean '{keyword}'?"
        elif keyword in UNBUILT.get(section, {}):
            message, hint = f"'{shown}'{where} is known but not built yet", "remove it"
        elif keyword in INSTEAD.get(section, {}):
            message, hint = f"unknown keyword '{shown}'{where}", INSTEAD[section][keyword]
        elif key == "<<":
            message, hint = f"unknown keyword '<<'{where}", "merge keys left YAML with version 1.2; write the keys out"
        else:
            message, hint = f"unknown keyword '{shown}'{where}", _did_you_mean(section, key, fields)
        self._report((*path, key), message, hint, at_key=True)
        self.gone.add((*path, key))
        return hint

    def _named(self, kind: inspect.DictType, value: Mapping[object, object], path: Path) -> object:
        rest: dict[str, object] = {}
        for key, each in value.items():
            name = str(key)
            place = (*path, key if isinstance(key, int | str) else name)
            wrong = "" if isinstance(key, str) else "is not a text"
            if not wrong and bare(kind.key_type)[1].kind in ("name", "backend"):
                wrong = name_problem(name)
            elif not wrong and not name:
                wrong = "is empty"
            if wrong:
                self._report(place, f"name '{line_text(name)}' {wrong}", at_key=True)
                self.gone.add(place)
            left = self._value(kind.value_type, each, place, ("", ""))
            if left is not _GONE and not wrong:
                rest[name] = left
        return rest

    # Values

    def _text(self, kind: inspect.StrType, extra: Extra, value: str, path: Path) -> object:
        label = label_of(path)
        if extra.kind in ("duration", "seconds"):
            try:
                duration_ms(value)
            except UnitError as error:
                return self._refuse(path, f"'{label}': '{line_text(value)}' {error}")
        elif extra.kind == "size":
            try:
                size_bytes(value)
            except UnitError as error:
                return self._refuse(path, f"'{label}': '{line_text(value)}' {error}")
        elif extra.kind in ("name", "backend"):
            wrong = name_problem(value)
            if wrong:
                return self._refuse(path, f"'{label}': '{line_text(value)}' {wrong}")
        elif extra.kind == "tag" and not re.fullmatch("[A-Za-z0-9_./-]{1,48}", value):
            return self._refuse(
                path,
                f"'{label}': '{line_text(value)}' is no tag",
                "take 1 to 48 letters, digits and '_', '.', '/', '-'",
            )
        elif extra.kind in ("header", "pseudonym"):
            wrong = token_problem(value, underscores=extra.kind == "pseudonym")
            if wrong:
                return self._refuse(path, f"'{label}': '{line_text(value)}' {wrong}")
        elif extra.kind == "interface" and not re.fullmatch(r"[^\s/]{1,15}", value):
            return self._refuse(
                path,
                f"'{label}': '{line_text(value)}' cannot be an interface",
                "take 1 to 15 characters, such as 'eth1'",
            )
        elif extra.kind == "mode" and not re.fullmatch("0?[0-7]{3}", value):
            return self._refuse(
                path, f"'{label}': '{line_text(value)}' is not a file mode", 'write three octal digits, such as "0660"'
            )
        elif kind.min_length and len(value) < kind.min_length:
            return self._refuse(path, f"'{label}' is empty", "give it a value or remove the line")
        return value

    def _number(self, kind: inspect.IntType, value: int, path: Path) -> object:
        low, high = kind.ge, kind.le
        if (low is not None and value < low) or (high is not None and value > high):
            return self._refuse(
                path,
                f"'{label_of(path)}' is {line_text(str(value)) if abs(value) < 10**50 else 'huge'}; {low} to {high} are possible",
            )
        return value

    def _word(self, kind: inspect.LiteralType, extra: Extra, value: object, path: Path) -> object:
        if value in kind.values and type(value) in {type(each) for each in kind.values}:
            return value
        known = [str(each) for each in kind.values]
        noun = extra.noun or label_of(path)
        word = str(value)
        shown = line_text(word)
        unbuilt = UNBUILT_WORDS.get(noun, {})
        if noun == "version":
            return self._refuse(path, f"'version' is {describe(value)}", "this lb reads version 1: write 'version: 1'")
        if extra.kind in _EXPECTED:
            return self._refuse(path, f"'{label_of(path)}' must be {_EXPECTED[extra.kind]}, not '{shown}'")
        if word in unbuilt:
            return self._refuse(path, f"{noun} '{shown}' is known but not built yet", "built: " + ", ".join(known))
        if word in INSTEAD_WORDS.get(noun, {}):
            return self._refuse(path, f"unknown {noun} '{shown}'", INSTEAD_WORDS[noun][word])
        return self._refuse(path, f"unknown {noun} '{shown}'", _word_hint(word, known, unbuilt))

    def _mismatch(
        self, choices: list[inspect.Type], extra: Extra, value: object, path: Path, field: tuple[str, str]
    ) -> object:
        label = f"'{label_of(path)}' " if label_of(path) else ""
        form = UNBUILT_FORMS.get(field)
        if form is not None and form[0].split()[1] == _form(value):
            return self._refuse(path, f"{label}with {form[0]} is known but not built yet", _form_hint(choices, extra))
        if value is None:
            return self._refuse(
                path, f"{label}has no value", f"give it {_expectation(choices, extra)} or remove the line"
            )
        if isinstance(value, str) and _only(choices, inspect.BoolType):
            hint = _boolean_hint(value) or _FORMS.get(field, "")
            return self._refuse(path, f"{label}must be true or false, not '{line_text(value)}'", hint)
        if (
            isinstance(value, int | float)
            and extra_kind(choices, extra) in ("duration", "seconds")
            and not isinstance(value, bool)
        ):
            hint = (
                f"write '{value}s' or '{value}ms'" if isinstance(value, int) else "write whole units, such as '500ms'"
            )
            return self._refuse(path, f"{label}is {value}, without a unit", hint)
        hint = _FORMS.get(field) or _form_hint(choices, extra)
        return self._refuse(path, f"{label}must be {_expectation(choices, extra)}, not {describe(value)}", hint)


def name_problem(name: str) -> str:
    """Say what keeps a text from being a name, or nothing."""
    if not name:
        return "is empty; take letters, digits and '_', '.', ':', '-'"
    if len(name.encode()) > NAME_MAX:
        return f"is {len(name.encode())} bytes long; a name takes at most {NAME_MAX}"
    if not re.fullmatch(r"[A-Za-z0-9_.:-]+", name):
        return "is no name; take letters, digits and '_', '.', ':', '-'"
    return ""


def token_problem(text: str, underscores: bool) -> str:
    """Say what keeps a text from being a header's name, or a name within one (RFC 9110 5.6.2), or nothing."""
    what = "name" if underscores else "name of a header"
    if not text:
        return f"is empty; take a {what}"
    if len(text.encode()) > TOKEN_MAX:
        return f"is {len(text.encode())} bytes long; a {what} takes at most {TOKEN_MAX}"
    if not underscores and "_" in text:
        return "holds '_', which many servers take for '-'; write '-'"
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        return f"is no {what}; take letters, digits and '-', '.'"
    return ""


def describe(value: object) -> str:
    """Return what a value is, in words fit for an error line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return line_text(str(value)) if not isinstance(value, int) or abs(value) < 10**50 else "a huge number"
    if isinstance(value, str):
        return f"'{line_text(value)}'"
    if value is None:
        return "nothing"
    form = _form(value)
    return f"a {form}" if form else f"a value of type {type(value).__name__}"


def extra_kind(choices: list[inspect.Type], extra: Extra) -> str:
    """Return the kind that metadata names, outside or inside."""
    return extra.kind or next((found for found in (bare(each)[1].kind for each in choices) if found), "")


def _takes(kind: inspect.Type, value: object) -> bool:
    """Tell whether a value is of the sort that a type judges in detail."""
    match kind:
        case inspect.StructType() | inspect.DictType():
            return isinstance(value, Mapping)
        case inspect.VarTupleType():
            return isinstance(value, list | tuple)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.LiteralType():
            return (
                isinstance(value, str)
                if isinstance(kind.values[0], str)
                else isinstance(value, str | int | float) and not isinstance(value, bool)
            )
        case inspect.StrType():
            return isinstance(value, str)
    raise AssertionError(f"the model uses {type(kind).__name__}, which the examination does not know")


def _form(value: object) -> str:
    if isinstance(value, Mapping):
        return "mapping"
    if isinstance(value, list | tuple):
        return "list"
    return "condition" if isinstance(value, str) else ""


def _only(choices: list[inspect.Type], kind: type[inspect.Type]) -> bool:
    return any(isinstance(bare(each)[0], kind) for each in choices)


def _expectation(choices: list[inspect.Type], extra: Extra) -> str:
    words = [_expected(*bare(each), extra) for each in choices]
    return " or ".join(dict.fromkeys(words))


def _expected(kind: inspect.Type, inner: Extra, outer: Extra) -> str:
    named = _EXPECTED.get(outer.kind or inner.kind)
    match kind:
        case inspect.StructType() | inspect.DictType():
            return "a mapping"
        case inspect.VarTupleType():
            return "a list"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            return named or " or ".join(describe(each) for each in kind.values)
        case inspect.IntType():
            return named or f"a whole number from {kind.ge} to {kind.le}"
    return named or "a text"


def _form_hint(choices: list[inspect.Type], extra: Extra) -> str:
    if extra.item and _only(choices, inspect.VarTupleType):
        return f"write [{extra.item}]"
    if extra_kind(choices, extra) in ("bind", "server"):
        return "quote an address that holds only digits and signs"
    structs = [kind for kind in (bare(each)[0] for each in choices) if isinstance(kind, inspect.StructType)]
    if structs:
        fields = [each.encode_name for each in structs[0].fields if not bare(each.type)[1].hidden]
        return "it takes " + ", ".join(fields)
    if extra_kind(choices, extra) in ("mode", "binary"):
        return "quote it"
    return ""


def _boolean_hint(value: str) -> str:
    if value.lower() in ("on", "yes", "y", "true", "1", "enabled"):
        return "write true"
    if value.lower() in ("off", "no", "n", "false", "0", "disabled"):
        return "write false"
    return ""


def _inside(path: Path, name: str) -> str:
    label = label_of(path)
    return f"{label}.{name}" if label else name


def _word_hint(word: str, known: list[str], unbuilt: Iterable[str]) -> str:
    near = nearest(word, [*known, *unbuilt])
    return f"did you mean '{near}'?" if near else did_you_mean(word, known)


def _did_you_mean(section: str, key: str, fields: Iterable[str]) -> str:
    if nearest(key, fields) is None:
        unbuilt = nearest(key, UNBUILT.get(section, ()))
        if unbuilt is not None:
            return f"did you mean '{unbuilt}', which is not built yet?"
    return did_you_mean(key, fields)


# What takes the place of what lacks, so that everything around it can be reviewed all the same; that it is gone is known.
_STAND_INS: dict[tuple[str, str], object] = {
    ("Configuration", "version"): 1,
    ("Configuration", "frontends"): {},
    ("Frontend", "bind"): [":0"],
    ("Backend", "servers"): [],
}

_EXAMPLES = {
    ("Configuration", "version"): "write 'version: 1'",
    ("Configuration", "frontends"): "write at least one: 'frontends: {web: {bind: [\":8080\"], default_backend: app}}'",
    ("Frontend", "bind"): "write 'bind: [\":8080\"]'",
    ("Backend", "servers"): "write 'servers: [\"10.0.0.1:8080\"]'",
    ("Bind", "address"): "write where to listen, such as ':8080'",
    ("Server", "address"): "write where it is, such as '10.0.0.1:8080'",
    ("Route", "match"): "write what a request must look like, such as 'match: {path: /static/*}'",
    ("HttpAdmin", "address"): "write where it listens, such as '127.0.0.1:8404'",
    ("Admin", "path"): "write the path of its socket, such as '/run/lb/admin.sock'",
    ("AcceptProxy", "from"): "say whose headers to believe, such as 'from: [\"10.0.0.0/8\"]'",
    ("Log", "to"): "write stdout, stderr or the absolute path of a file",
    ("ErrorLog", "to"): "write stderr or the absolute path of a file",
}


# Where the usual hint would not do: what to write instead of a value of another sort.
_FORMS = {
    ("Bind", "accept_proxy"): "say whose headers to believe: '[\"10.0.0.0/8\"]', or '[any]' for everyone's",
    ("Backend", "send_proxy"): "write 'v1', 'v2' or 'off'",
    ("Server", "send_proxy"): "write 'v1', 'v2' or 'off'",
    ("Rule", "if"): 'write the condition in quotes, such as "TRUE"',
    ("Rule", "unless"): 'write the condition in quotes, such as "TRUE"',
    ("Rule", "deny"): "write the status alone, such as 'deny: 429'",
    ("Frontend", "log"): "a target is '[{to: /var/log/lb/web.log}]'",
    ("Frontend", "request_id"): "write true, or options such as '{format: uuid7}'",
    ("Defaults", "request_id"): "write true, or options such as '{format: uuid7}'",
}


def retype(data: object, paths: Iterable[Path], read: Callable[[str], object]) -> object:
    """Turn strings that came out of variables into numbers and booleans where the model takes nothing else.

    ``workers: ${N-2}`` is a text in every format; the field it stands in decides that it is a number.
    """
    for path in paths:
        kind = _type_at(path)
        if kind is None or not path:
            continue
        holder = data
        for step in path[:-1]:
            holder = holder[step]  # type: ignore[index]
        text = holder[path[-1]]  # type: ignore[index]
        value = read(text)
        choices = [bare(each)[0] for each in options(bare(kind)[0])]
        takes_number = type(value) is int and any(isinstance(each, inspect.IntType) for each in choices)
        takes_number = takes_number or (
            type(value) is int
            and any(isinstance(each, inspect.LiteralType) and value in each.values for each in choices)
        )
        takes_bool = type(value) is bool and any(isinstance(each, inspect.BoolType) for each in choices)
        if takes_number or takes_bool:
            holder[path[-1]] = value  # type: ignore[index]
    return data


def _type_at(path: Path) -> inspect.Type | None:
    kind: inspect.Type | None = root_type()
    for step in path:
        if kind is None:
            return None
        for choice in options(bare(kind)[0]):
            base = bare(choice)[0]
            if isinstance(base, inspect.StructType) and isinstance(step, str):
                kind = next((each.type for each in base.fields if each.encode_name == step), None)
                break
            if isinstance(base, inspect.DictType) and isinstance(step, str):
                kind = base.value_type
                break
            if isinstance(base, inspect.VarTupleType) and isinstance(step, int):
                kind = base.item_type
                break
        else:
            return None
    return kind


def convert(data: object) -> Configuration:
    """Decode plain data; raise msgspec.ValidationError."""
    return msgspec.convert(data, Configuration)
