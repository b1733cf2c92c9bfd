"""The kinds of strings and numbers that fields are made of.

Each kind carries a name in its metadata: `lb.config.shape` uses it to say what was expected when a value does not fit.
The patterns here are what msgspec itself checks and what editors get in the JSON Schema; whatever a pattern cannot say
(an address, a host, a path) is checked by `lb.config.meaning`.
"""

from typing import Annotated

from msgspec import Meta

from lb.model.units import DURATION_PATTERN, SIZE_PATTERN

NAME_MAX = 63
TOKEN_MAX = 64
MAXCONN_MAX = 10_000_000

# HAProxy's characters for names: an address such as 10.0.0.1:80 is a name too.
# (`$` alone would let a trailing line feed pass in Python; the look-ahead means the same in every dialect.)
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,63}$(?!\n)", extra={"kind": "name"})]
# A name where a mapping or list may stand instead: in such a union msgspec 0.22 takes the pattern for the mapping and crashes.
# `lb.config.meaning` looks the name up.
Unchecked = Annotated[str, Meta(min_length=1, extra={"kind": "name"})]
Duration = Annotated[str, Meta(pattern=DURATION_PATTERN, extra={"kind": "duration"})]
Size = Annotated[str, Meta(pattern=SIZE_PATTERN, extra={"kind": "size"})]
Mode = Annotated[str, Meta(pattern=r"^0?[0-7]{3}$(?!\n)", extra={"kind": "mode"})]
Text = Annotated[str, Meta(min_length=1, extra={"kind": "text"})]
# RFC 5424 6.2.5: 48 printable characters; without those that end a tag in RFC 3164 5.3.
Tag = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_./-]{1,48}$(?!\n)", extra={"kind": "tag"})]
# RFC 9110 5.6.2: a token. Its length leaves room for the values (policy/forwarding.pxd), and '_' is left out of headers:
# servers that read it as '-' would take two of them for one.
Header = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^`|~-]{1,64}$(?!\n)", extra={"kind": "header"})]
Pseudonym = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$(?!\n)", extra={"kind": "pseudonym"})]
Connections = Annotated[int, Meta(ge=1, le=MAXCONN_MAX, extra={"kind": "count"})]
