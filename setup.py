"""Build lb: every `lb/_speedups/**/*.pyx` becomes one extension, named by its path.

The flavour is chosen by LB_FLAVOUR, and each has a directory of its own:

    build/<flavour>/c       generated C, never beside the sources
    build/<flavour>/tmp     object files
    build/<flavour>/lib     a whole importable tree, Python files too (PYTHONPATH for tests and benches)

release   what users run; leaves out `testing*.pyx`
debug     LB_DEBUG=1: invariants abort, fake time, `face/testing*.pyx`; C lines named after .pyx lines
sanitize  debug under AddressSanitizer and UndefinedBehaviorSanitizer

Staleness is decided by content, not by time. Cython runs again for a module when the module, any .pxd it
cimports (however far), a directive or Cython itself changed; the C compiler runs again when the C text, a
header under lb/_speedups or a flag changed. The keys are kept in build/<flavour>/keys.

Cython only prints a hint where a nogil function would take the GIL. Here every hint and every warning
fails the build, and the C of the module is thrown away so that the next run fails as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext as setuptools_build_ext
from setuptools.command.build_py import build_py as setuptools_build_py

# After setuptools, which brings its own distutils where the standard library has none.
from distutils.command.build import build as distutils_build  # isort: skip
from distutils.command.build_ext import build_ext as distutils_build_ext  # isort: skip
from distutils.errors import CompileError  # isort: skip

ROOT = Path(__file__).resolve().parent
SPEEDUPS = Path("lb/_speedups")

FLAVOUR = os.environ.get("LB_FLAVOUR", "release")
FLAVOURS = ("release", "debug", "sanitize")
if FLAVOUR not in FLAVOURS:
    sys.exit(f"LB_FLAVOUR: unknown flavour '{FLAVOUR}'; expected one of {', '.join(FLAVOURS)}")
IS_RELEASE = FLAVOUR == "release"
BASE = Path("build") / FLAVOUR

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
    "auto_pickle": False,
    "legacy_implicit_noexcept": False,
    "show_performance_hints": True,
}

COMMON_FLAGS = [
    "-std=gnu11",
    "-Wall",
    # LB_WERROR=0 is for packagers whose compiler knows warnings that ours did not.
    *(["-Werror"] if os.environ.get("LB_WERROR", "1") != "0" else []),
    "-fvisibility=hidden",
    "-fno-semantic-interposition",
    # Cython emits every inline of a cimported .pxd, used or not, and temporaries it turns out not to need.
    "-Wno-unused-function",
    "-Wno-unused-variable",
    "-Wno-unused-but-set-variable",
    # Cython compares its own signed and unsigned temporaries.
    "-Wno-sign-compare",
]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
FLAGS = {
    "release": ["-O2", "-DLB_DEBUG=0"],
    "debug": ["-O1", "-g", "-UNDEBUG", "-DLB_DEBUG=1"],
    "sanitize": [
        "-O1",
        "-g",
        "-UNDEBUG",
        # Fortified wrappers hide the call that ASan wants to see.
        "-U_FORTIFY_SOURCE",
        "-fno-omit-frame-pointer",
        "-DLB_DEBUG=1",
        "-DLB_SANITIZE=1",
        *SANITIZERS,
    ],
}[FLAVOUR]
LIBRARIES = {
    "lb/_speedups/base/password.pyx": ("LB_CRYPT", "libcrypt"),
    "lb/_speedups/policy/crypto.pyx": ("LB_CRYPTO", "libcrypto"),
    "lb/_speedups/policy/regex.pyx": ("LB_PCRE2", "libpcre2-8"),
}
"""Optional C libraries: the module that is their one door, the macro that says it is there, the name for pkg-config.

Without the library the module is built all the same and says so when it is asked. LB_WITHOUT="libpcre2-8 ..." leaves one out.
"""
LINK_FLAGS = SANITIZERS if FLAVOUR == "sanitize" else []


def core_count() -> int:
    return len(os.sched_getaffinity(0))


def package_flags(package: str) -> tuple[list[str], list[str]] | None:
    """Return the compiler's and the linker's flags for a library; None if it is not installed for developers."""
    tool = shutil.which("pkg-config") or shutil.which("pkgconf")
    if tool is None or package in os.environ.get("LB_WITHOUT", "").split():
        return None
    made = [
        subprocess.run([tool, option, package], capture_output=True, text=True, check=False)
        for option in ("--cflags", "--libs")
    ]
    if any(each.returncode for each in made):
        return None
    compile_flags, link_flags = (shlex.split(each.stdout) for each in made)
    return compile_flags, link_flags


def library_flags(path: Path) -> tuple[list[str], list[str]]:
    """Return the flags that a module needs for the library it is the door to."""
    macro, package = LIBRARIES.get(str(path), ("", ""))
    found = package_flags(package) if package else ([], [])
    if found is None:
        print(f"note: {package} is not installed (its development files, by pkg-config); lb is built without it")
        return [f"-D{macro}=0"], []
    return [*found[0], *([f"-D{macro}=1"] if macro else [])], found[1]


def extensions() -> list[Extension]:
    """List one extension per .pyx; `testing*.pyx` is a door for unit tests and stays out of the release."""
    found = []
    for path in sorted(SPEEDUPS.rglob("*.pyx")):
        if IS_RELEASE and path.name.startswith("testing"):
            continue
        compile_flags, link_flags = library_flags(path)
        found.append(
            Extension(
                ".".join(path.with_suffix("").parts),
                [str(path)],
                include_dirs=[str(SPEEDUPS)],
                extra_compile_args=[*COMMON_FLAGS, *FLAGS, *compile_flags],
                extra_link_args=[*LINK_FLAGS, *link_flags],
                language="c",
            )
        )
    return found


class Keys:
    """One digest per built file: what it was made from. Equal digest, nothing to do."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.digests: dict[str, bytes] = {}

    def file_digest(self, path: str) -> bytes:
        if path not in self.digests:
            self.digests[path] = hashlib.sha256(Path(path).read_bytes()).digest()
        return self.digests[path]

    def key_of(self, files: list[str], *words: object) -> str:
        key = hashlib.sha256(repr(words).encode())
        for path in files:
            key.update(path.encode() + b"\0" + self.file_digest(path))
        return key.hexdigest()

    def _path(self, product: Path) -> Path:
        return self.directory / str(product).replace("/", "+")

    def is_current(self, product: Path, key: str) -> bool:
        kept = self._path(product)
        return product.exists() and kept.exists() and kept.read_text() == key

    def keep(self, product: Path, key: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._path(product).write_text(key)

    def forget(self, product: Path) -> None:
        product.unlink(missing_ok=True)
        self._path(product).unlink(missing_ok=True)


@dataclass
class Translation:
    """One module that Cython has to read, and what came of it."""

    pyx: str
    name: str
    c_file: Path
    key: str
    ok: bool = False
    said: str = ""

    def run(self) -> None:
        from Cython.Compiler.Errors import PyrexError
        from Cython.Compiler.Main import CompilationOptions, compile_single, default_options

        said = io.StringIO()
        self.c_file.parent.mkdir(parents=True, exist_ok=True)
        options = CompilationOptions(
            default_options,
            output_file=str(self.c_file),
            compiler_directives=dict(DIRECTIVES),
            emit_linenums=not IS_RELEASE,
            include_path=["."],
        )
        with contextlib.redirect_stderr(said):
            try:
                ok = compile_single(self.pyx, options, full_module_name=self.name).num_errors == 0
            except PyrexError as error:
                said.write(f"{error}\n")
                ok = False
        self.said = said.getvalue()
        # "performance hint:" is how Cython says that a nogil function takes the GIL; -Werror knows nothing of it.
        self.ok = ok and "performance hint:" not in self.said and "warning:" not in self.said


def run_all(translations: list[Translation]) -> Iterator[Translation]:
    """Run them on all cores and yield each as it ends.

    Not a pool: pip runs this file without a module of its own, so nothing in it can be pickled by name.
    A forked child starts with Cython loaded and sends only what Cython said.
    """
    import Cython.Compiler.Main  # noqa: F401

    def child(translation: Translation, answer: Connection) -> None:
        translation.run()
        answer.send((translation.ok, translation.said))

    context = multiprocessing.get_context("fork")
    waiting = list(reversed(translations))
    running: dict[Connection, tuple[Translation, multiprocessing.process.BaseProcess]] = {}
    while waiting or running:
        while waiting and len(running) < core_count():
            translation = waiting.pop()
            reader, writer = context.Pipe(duplex=False)
            process = context.Process(target=child, args=(translation, writer))
            process.start()
            writer.close()
            running[reader] = (translation, process)
        for reader in wait(list(running)):
            translation, process = running.pop(reader)
            try:
                translation.ok, translation.said = reader.recv()
            except EOFError:
                translation.said = "cython ended without an answer (traceback above)"
            reader.close()
            process.join()
            yield translation


def find_ccache() -> str | None:
    """Return ccache if it can write its cache; without a home (a system user's, say) it fails every compilation."""
    program = shutil.which("ccache")
    if program is None:
        return None
    asked = subprocess.run([program, "--get-config", "cache_dir"], capture_output=True, text=True, check=False)
    folder = asked.stdout.strip()
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return None
    return program if os.access(folder, os.W_OK) else None


class build_ext(setuptools_build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        if self.parallel is None:
            self.parallel = core_count()
        self.force = True  # what is stale is decided here, by content
        self.keys = Keys(BASE / "keys")

    def build_extensions(self) -> None:
        if self.inplace:
            sys.exit("lb is not built in place; use: LB_FLAVOUR=debug python setup.py build")
        ccache = find_ccache()
        if ccache and "CC" not in os.environ:
            # Debug information names the directory of the build; without this two clones never share a hit.
            os.environ.setdefault("CCACHE_NOHASHDIR", "1")
            self.compiler.set_executable("compiler_so", [ccache, *self.compiler.compiler_so])
        self.translate_all()
        self.headers = sorted(str(path) for path in SPEEDUPS.rglob("*.h"))
        super().build_extensions()

    def translate_all(self) -> None:
        import Cython
        from Cython.Build.Dependencies import create_dependency_tree

        tree = create_dependency_tree(quiet=True)
        stale = []
        for extension in self.extensions:
            (pyx,) = extension.sources
            c_file = BASE / "c" / Path(pyx).with_suffix(".c")
            # Cython's own .pxd files lie outside and are covered by its version.
            paths = (os.path.relpath(path) for path in tree.all_dependencies(pyx))
            files = sorted(path for path in paths if path.startswith("lb/"))
            key = self.keys.key_of(files, Cython.__version__, sorted(DIRECTIVES.items()), FLAVOUR)
            if not self.keys.is_current(c_file, key):
                stale.append(Translation(pyx, extension.name, c_file, key))
            extension.sources = [str(c_file)]
        # Large modules first, so that none is left alone at the end.
        stale.sort(key=lambda translation: -os.path.getsize(translation.pyx))
        refused = []
        for done in run_all(stale) if stale else ():
            print(f"cython {done.pyx}" + ("" if done.ok else ": refused"), flush=True)
            if done.said:
                print(done.said, file=sys.stderr, flush=True)
            if done.ok:
                self.keys.keep(done.c_file, done.key)
            else:
                self.keys.forget(done.c_file)
                refused.append(done.pyx)
        if refused:
            raise CompileError(f"cython: errors, warnings or performance hints (above) in: {', '.join(refused)}")

    def build_extension(self, ext: Extension) -> None:
        product = Path(self.get_ext_fullpath(ext.name))
        key = self.keys.key_of(
            [*ext.sources, *self.headers],
            self.compiler.compiler_so[-20:],
            self.compiler.linker_so,
            ext.extra_compile_args,
            ext.extra_link_args,
            sys.version,
            sysconfig.get_config_var("EXT_SUFFIX"),
        )
        if self.keys.is_current(product, key):
            return
        # Not setuptools' own: with Cython installed it would run Cython again, from several threads.
        distutils_build_ext.build_extension(self, ext)
        self.keys.keep(product, key)


class build_py(setuptools_build_py):
    def byte_compile(self, files: list[str]) -> None:
        """Do nothing: pip compiles what it installs, and the trees for tests need no .pyc of ours."""

    def find_data_files(self, package: str, src_dir: str) -> list[str]:
        found = super().find_data_files(package, src_dir)
        return [path for path in found if not (IS_RELEASE and Path(path).name.startswith("testing"))]


class build(distutils_build):
    def finalize_options(self) -> None:
        if self.build_base == "build":
            self.build_base = str(BASE)
        if self.build_lib is None:
            self.build_lib = str(BASE / "lib")
        if self.build_temp is None:
            self.build_temp = str(BASE / "tmp")
        super().finalize_options()

    def run(self) -> None:
        BASE.mkdir(parents=True, exist_ok=True)
        with open(BASE / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            super().run()
            self.prune()

    def prune(self) -> None:
        """Remove what an earlier build left in the tree and this one does not make."""
        made = {os.path.abspath(path) for path in self.get_finalized_command("build_py").get_outputs()}
        if self.has_ext_modules():
            made |= {os.path.abspath(path) for path in self.get_finalized_command("build_ext").get_outputs()}
        for path in Path(self.build_lib, "lb").rglob("*"):
            if path.suffix != ".pyc" and not path.is_dir() and os.path.abspath(path) not in made:
                path.unlink()


def main() -> None:
    os.chdir(ROOT)
    if "CFLAGS" in os.environ:
        # distutils puts these before ours; said so that nobody wonders why -O3 had no effect.
        print(f"note: CFLAGS={shlex.quote(os.environ['CFLAGS'])} come before the flavour's own flags")
    setup(ext_modules=extensions(), cmdclass={"build": build, "build_py": build_py, "build_ext": build_ext})


main()
