"""Write docs/configuration.md, docs/coverage.md and docs/expressions.md: `make docs`.

The descriptions stand at the fields of `lb.model`, the keywords that are not built yet in `lb.model.keywords`, fetches and
converters in `lb.language.catalog`; here is only how they look on a page. `--check` writes nothing and fails if a page is not
what these say: the suite does that, so a page cannot lag behind.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from msgspec.inspect import (
    BoolType,
    DictType,
    Field,
    IntType,
    LiteralType,
    Metadata,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

import lb.config  # noqa: F401  # before lb.language, which it imports
from lb.language.catalog import ALIASES, CONVERTERS, FETCHES, Argument, Needs
from lb.language.unbuilt import UNBUILT_CONVERTERS, UNBUILT_FETCHES
from lb.model.configuration import Configuration
from lb.model.keywords import CHAPTERS, UNBUILT, UNBUILT_FORMS, UNBUILT_WORDS

DOCS = Path(__file__).resolve().parent

# Words for the kinds of strings and numbers, as `lb.model.kinds` names them.
KINDS = {
    "name": "name",
    "duration": "duration",
    "seconds": "duration",
    "size": "size",
    "mode": "octal mode",
    "count": "number",
    "workers": "number",
    "backend": "name of a backend",
    "bind": "address",
    "server": "address",
    "header": "name of a header",
    "pseudonym": "name",
}


@dataclass
class Bare:
    """A type without its wrappings, and what they said."""

    type: Type
    description: str = ""
    examples: list[object] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


def bare(wrapped: Type) -> Bare:
    if not isinstance(wrapped, Metadata):
        return Bare(wrapped)
    found = bare(wrapped.type)
    said = wrapped.extra_json_schema or {}
    found.description = said.get("description") or found.description
    found.examples = said.get("examples") or found.examples
    found.extra = found.extra | (wrapped.extra or {})
    return found


def anchor(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def limits(of: IntType) -> str:
    low = "" if of.ge is None else str(of.ge)
    high = "" if of.le is None else str(of.le)
    return (
        f" {low}..{high}" if low and high else f" of at least {low}" if low else f" of at most {high}" if high else ""
    )


def spell(wrapped: Type) -> str:
    """Say what a value looks like."""
    found = bare(wrapped)
    kind = KINDS.get(str(found.extra.get("kind")))
    match found.type:
        case StructType(cls=cls):
            return anchor(cls.__name__)
        case UnionType(types=types):
            spelled = [spell(one) for one in types]
            return " or ".join(dict.fromkeys(spelled))
        case VarTupleType(item_type=item):
            return f"list of {spell(item)}"
        case DictType(value_type=value):
            return f"mapping of names to {spell(value)}"
        case LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case BoolType():
            return "`true` or `false`"
        case IntType() as number:
            return "number" + limits(number)
        case StrType():
            return kind or "text"
        case other:
            raise TypeError(f"{type(other).__name__} has no words here yet")


def default_text(one: Field) -> str:
    if one.required:
        return "required"
    value = one.default
    if value is msgspec.NODEFAULT and one.default_factory is not msgspec.NODEFAULT:
        value = one.default_factory()
    if value in (msgspec.UNSET, msgspec.NODEFAULT) or isinstance(value, msgspec.Struct) or value in ((), {}, []):
        return "-"
    if isinstance(value, tuple):
        return "`[" + ", ".join(flow(item) for item in value) + "]`"
    return f"`{flow(value)}`"


def flow(value: object) -> str:
    """Write a value as YAML would on one line."""
    built = msgspec.to_builtins(value)
    if isinstance(built, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in built.items()) + "}"
    return str(built).lower() if isinstance(built, bool) else str(built)


def is_hidden(one: Field) -> bool:
    return bool(bare(one.type).extra.get("hidden"))


def structs(top: StructType) -> list[StructType]:
    """List the sections in the order in which a reader meets them."""
    met: dict[str, StructType] = {}

    def meet(wrapped: Type) -> None:
        inner = bare(wrapped).type
        if isinstance(inner, StructType):
            if inner.cls.__name__ in met:
                return
            met[inner.cls.__name__] = inner
            for one in inner.fields:
                if not is_hidden(one):
                    meet(one.type)
        for name in ("item_type", "value_type"):
            if hasattr(inner, name):
                meet(getattr(inner, name))
        for each in getattr(inner, "types", ()):
            meet(each)

    meet(top)
    return list(met.values())


def cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def row(*cells: str) -> str:
    return f"| {' | '.join(cell(text) for text in cells)} |"


def field_row(one: Field) -> str:
    found = bare(one.type)
    text = found.description
    if found.examples:
        text += " Example: " + ", ".join(f"`{example}`" for example in found.examples)
    return row(f"`{one.encode_name}`", spell(one.type), default_text(one), text)


def configuration_page(top: StructType) -> str:
    lines = [
        "# Configuration reference",
        "",
        "Written by `make docs` from the model; `lb schema` gives the same to editors. A file is YAML 1.2, TOML or JSON.",
        "Unknown keys are errors. Durations are a whole number and one of `ms`, `s`, `m`, `h`, `d`. `${NAME-default}` in a",
        "string stands for an environment variable, `$${` for itself.",
    ]
    for section in structs(top):
        lines += ["", f"## {section.cls.__name__}", "", inspect.cleandoc(section.cls.__doc__ or ""), ""]
        lines += [row("key", "value", "default", "meaning"), "| --- | --- | --- | --- |"]
        lines += [field_row(one) for one in section.fields if not is_hidden(one)]
    return "\n".join(lines) + "\n"


def coverage_page(top: StructType) -> str:
    lines = [
        "# Coverage",
        "",
        "Written by `make docs`. What is built, and what is known but not built yet: a configuration that uses one of the",
        "latter is refused and says so.",
        "",
        "## Built",
        "",
        row("section", "keywords"),
        "| --- | --- |",
    ]
    for section in structs(top):
        words = [f"`{one.encode_name}`" for one in section.fields if not is_hidden(one)]
        lines.append(row(anchor_to_reference(section.cls.__name__), ", ".join(words)))
    unbuilt: dict[str, dict[str, list[str]]] = {}
    for name, words in [*UNBUILT.items(), *UNBUILT_WORDS.items()]:
        for word, chapter in words.items():
            unbuilt.setdefault(chapter, {}).setdefault(name, []).append(f"`{word}`")
    for (name, word), (form, chapter) in UNBUILT_FORMS.items():
        unbuilt.setdefault(chapter, {}).setdefault(name, []).append(f"`{word}` as {form}")
    lines += ["", "## Not built yet", "", row("chapter", "keywords"), "| --- | --- |"]
    for chapter, title in CHAPTERS.items():
        sections = unbuilt.get(chapter, {})
        if sections:
            lines.append(row(title, "; ".join(f"{name}: {', '.join(words)}" for name, words in sections.items())))
    return "\n".join(lines) + "\n"


def anchor_to_reference(name: str) -> str:
    return f"[{name}](configuration.md#{name.lower()})"


NEEDS = {
    Needs.NOTHING: "Anywhere",
    Needs.CONNECTION: "Of a connection",
    Needs.REQUEST: "Of a request",
    Needs.RESPONSE: "Of a response",
}


def signature(name: str, args: tuple[Argument, ...]) -> str:
    """Write a fetch or converter with its arguments, as HAProxy's manual does."""
    text = ""
    for number, each in enumerate(args):
        part = f"{',' if number else ''}<{each.kind}>"
        text += f"[{part}]" if each.is_optional else part
    return f"`{name}({text})`" if text else f"`{name}`"


def expressions_page() -> str:
    lines = [
        "# Fetches and converters",
        "",
        "Written by `make docs` from the tables that expressions are compiled by. What each does is in HAProxy's manual (7.3);",
        "[rules.md](rules.md), [tables.md](tables.md) and what they refer to say what is particular here. An argument in brackets",
        "may be left out.",
    ]
    for needs, title in NEEDS.items():
        lines += ["", f"## {title}", "", row("fetch", "gives"), "| --- | --- |"]
        # Names that nobody can write are no fetches of theirs.
        fetches = [each for each in FETCHES.values() if each.needs is needs and not re.match(r"sc[0-9]_|%", each.name)]
        lines += [
            row(signature(each.name, each.args), str(each.type)) for each in sorted(fetches, key=lambda one: one.name)
        ]
    lines += ["", "`sc0_`, `sc1_` and so on are `sc_` with the number of the track. Old names: "]
    lines[-1] += ", ".join(f"`{old}` is `{new}`" for old, new in sorted(ALIASES.items())) + "."
    lines += ["", "## Converters", "", row("converter", "takes", "gives"), "| --- | --- | --- |"]
    for each in sorted(CONVERTERS.values(), key=lambda one: one.name):
        gives = "the same" if each.gives is None else str(each.gives)
        lines.append(row(signature(each.name, each.args), str(each.takes), gives))
    lines += ["", "## Not built yet", "", "Known, and refused by name: "]
    lines[-1] += ", ".join(f"`{name}`" for name in sorted(UNBUILT_FETCHES | UNBUILT_CONVERTERS)) + "."
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    top = type_info(Configuration)
    assert isinstance(top, StructType)
    return {
        DOCS / "configuration.md": configuration_page(top),
        DOCS / "coverage.md": coverage_page(top),
        DOCS / "expressions.md": expressions_page(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="write the generated pages of docs/")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not current")
    is_check = parser.parse_args().check
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if is_check:
            print(f"docs/{path.name}: not what the model says; run 'make docs'", file=sys.stderr)
        else:
            path.write_text(pages()[path])
            print(f"wrote docs/{path.name}")
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
