"""`lb doctor`: what this machine has and what that means for lb, one line each."""

import ctypes.util
import os
import platform
import resource
import shutil
import subprocess
import sys
from typing import NamedTuple

import click

KERNEL_MIN = (4, 14)  # robust futexes, splice, SO_REUSEPORT, memfd sealing are older; this is the oldest anybody keeps
DESCRIPTORS_FEW = 4096


class Library(NamedTuple):
    """An optional C library: its names for pkg-config and for the loader, and what lacks without it."""

    name: str
    package: str
    loaded_as: str
    without: str


LIBRARIES = (
    Library("openssl", "openssl", "ssl", "TLS cannot be built"),
    Library("nghttp2", "libnghttp2", "nghttp2", "HTTP/2 cannot be built"),
    Library("zlib", "zlib", "z", "gzip compression cannot be built"),
    Library("brotli", "libbrotlienc", "brotlienc", "brotli compression cannot be built"),
    Library("zstd", "libzstd", "zstd", "zstd compression cannot be built"),
)


class Line(NamedTuple):
    """One thing that was looked at."""

    name: str
    state: str  # "ok", "missing", "bad"
    detail: str


def examine() -> int:
    """Print a line for each thing; return 0, or 1 if lb cannot run here."""
    lines = [
        _kernel(),
        _python(),
        _uvloop(),
        _extension(),
        _cores(),
        _descriptors(),
        _regex(),
        _crypto(),
        *map(_library, LIBRARIES),
    ]
    width = max(len(each.name) for each in lines)
    for each in lines:
        click.echo(f"{each.name:<{width}}  {each.state:<7}  {each.detail}")
    return 1 if any(each.state == "bad" for each in lines) else 0


def _kernel() -> Line:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if sys.platform != "linux":
        return Line("kernel", "bad", f"{sys.platform}; lb runs on Linux")
    if numbers < KERNEL_MIN:
        return Line("kernel", "bad", f"{release}; Linux {'.'.join(map(str, KERNEL_MIN))} or newer is needed")
    return Line("kernel", "ok", release)


def _python() -> Line:
    return Line("python", "ok", f"{platform.python_version()} ({sys.executable})")


def _uvloop() -> Line:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Line("uvloop", "ok", version("uvloop"))
    except PackageNotFoundError:
        return Line("uvloop", "bad", "not installed; lb cannot run: pip install uvloop")


def _extension() -> Line:
    from importlib.util import find_spec

    if find_spec("lb._speedups.face.plan") is None:
        return Line("data plane", "bad", "not compiled; lb can check configurations but not run: make build")
    # The doors for unit tests are in every build but the one that users run.
    is_release = find_spec("lb._speedups.face.testing") is None
    return Line("data plane", "ok", "release build" if is_release else "debug build; slower, and for tests only")


def _cores() -> Line:
    usable = len(os.sched_getaffinity(0))
    return Line("cores", "ok", f"{usable} usable, so 'workers: auto' is {min(usable, 64)}")


def _descriptors() -> Line:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"{soft} soft, {hard} hard; a proxied connection takes two"
    return Line("descriptors", "ok" if hard >= DESCRIPTORS_FEW else "missing", detail)


def _regex() -> Line:
    try:
        from lb._speedups.face.regex import Regex, is_available, version
    except ImportError:
        return Line("pcre2", "missing", "the data plane is not compiled")
    if not is_available():
        return Line("pcre2", "missing", "lb was built without it and refuses regular expressions")
    speed = "with JIT" if Regex(b"a").is_jit else "without JIT: slower"
    return Line("pcre2", "ok", f"{version()}, {speed}")


def _crypto() -> Line:
    try:
        from lb._speedups.face.crypto import version
    except ImportError:
        return Line("libcrypto", "missing", "the data plane is not compiled")
    if not version():
        return Line("libcrypto", "missing", "lb was built without it and refuses digests and tokens")
    return Line("libcrypto", "ok", version())


def _library(library: Library) -> Line:
    found = ctypes.util.find_library(library.loaded_as)
    if found is None:
        return Line(library.name, "missing", f"not installed; {library.without}")
    version = _development_version(library.package)
    if version is None:
        return Line(library.name, "missing", f"{found} without development files; {library.without}")
    return Line(library.name, "ok", f"{version} ({found})")


def _development_version(package: str) -> str | None:
    tool = shutil.which("pkg-config") or shutil.which("pkgconf")
    if tool is None:
        return None
    done = subprocess.run([tool, "--modversion", package], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
