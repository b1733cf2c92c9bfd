"""Reading the configuration: files, lines, errors, defaults, the plan.

>>> configuration = lb.config.load("conf/demo.yaml")
>>> compiled = lb.config.compile(configuration)
"""

from lb.config.diagnostic import ConfigError, Diagnostic
from lb.config.effective import effective
from lb.config.loading import load, read
from lb.config.plan import CompiledPlan, compile  # noqa: A004

__all__ = ["CompiledPlan", "ConfigError", "Diagnostic", "compile", "effective", "load", "read"]
