"""HAProxy's language of samples, conditions and format strings: from text to rows for the plan.

What a text means is decided here, at load time: every name, argument and type is checked, and a mistake is a `LanguageError` with
its place. The rows (`lb.language.program`) go into the plan image; `lb/_speedups/policy` evaluates them.
"""

from lb.language.error import LanguageError
from lb.language.program import Program, ProgramRows

__all__ = ["LanguageError", "Program", "ProgramRows"]
