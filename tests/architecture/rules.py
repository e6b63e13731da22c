"""The rules of the tree, each a function from a root directory to what breaks it there."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("kernel", "services", "gateway", "agent", "cli")
WIDER = (*CODE, "deploy", "bench", "tests")

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
LARGEST_KERNEL = 4000
SHAPE = ("app", "worker", "settings", "domain", "models", "store", "usecases", "schemas", "routes", "messages", "migrations")
VAGUE = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc", "base_classes"}

# What is longer on purpose, with the reason. Aim: nothing.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}

# Who may catch everything. The HTTP edge does it by a registered handler.
CATCH_ALL: dict[str, str] = {
    "kernel/messaging/consumer.py": "the message loop: one bad message never stops a queue",
    "deploy/native/supervise.py": "the end of a forked program, which prints what the interpreter would have printed",
}

# library -> where it may be imported; a folder stands for all below it.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "pika": ("kernel/messaging",),
    "docker": ("agent/docker",),
    "flask": ("kernel/http", "gateway", "services/*/app", "services/*/routes"),
    "psycopg": ("kernel",),
    "sqlite3": ("agent",),
    "alembic": ("kernel/migrate", "services/*/migrations"),
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One file of the tree. `path` is relative to the root."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.text)


@lru_cache(maxsize=2000)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


Rule = Callable[[Path], list[str]]


def sources(root: Path, packages: tuple[str, ...] = CODE) -> Iterator[Source]:
    """Every Python file of the packages, in order."""
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            if "__pycache__" not in path.parts:
                yield Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def long_files(root: Path) -> list[str]:
    """No file is over 400 lines: one that grows becomes a folder of the same import name."""
    lengths = {source.path: source.text.count("\n") for source in sources(root)}
    return [f"{path}: {lines} lines" for path, lines in lengths.items() if lines > LONGEST_FILE and path not in LONG_FILES]


def long_functions(root: Path) -> list[str]:
    """No function is over 60 lines."""
    found = []
    for source in sources(root):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _holds_functions(node):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                name = f"{source.path}:{node.name}"
                if lines > LONGEST_FUNCTION and name not in LONG_FUNCTIONS:
                    found.append(f"{name}: {lines} lines")
    return found


def _holds_functions(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A factory of views: what counts are the functions inside."""
    inside = [one for one in node.body if isinstance(one, ast.FunctionDef)]
    return len(inside) > 1


def large_kernel(root: Path) -> list[str]:
    """The kernel stays small: it holds what all need alike, and no business rule."""
    lines = sum(bool(line.strip()) for source in sources(root, ("kernel",)) for line in source.text.splitlines())
    return [f"kernel: {lines} lines, {LARGEST_KERNEL} are its budget"] if lines > LARGEST_KERNEL else []


def other_shapes(root: Path) -> list[str]:
    """Each service has the same parts under the same names, as a file or as a folder."""
    found = []
    for service in sorted(path for path in (root / "services").iterdir() if (path / "__init__.py").exists()):
        for name in SHAPE:
            if not (service / f"{name}.py").exists() and not (service / name).is_dir():
                found.append(f"services/{service.name}: {name} is missing")
            if (service / f"{name}.py").exists() and (service / name).is_dir():
                found.append(f"services/{service.name}: {name} is a file and a folder")
    return found


def vague_names(root: Path) -> list[str]:
    """A name says what is inside."""
    return [source.path for source in sources(root, WIDER) if VAGUE & set(Path(source.path).with_suffix("").parts)]


def silent_modules(root: Path) -> list[str]:
    """A module opens with one line on its job."""
    return [source.path for source in sources(root, WIDER) if source.text.strip() and not ast.get_docstring(source.tree)]


def stray_libraries(root: Path) -> list[str]:
    """A library is known in one place."""
    found = []
    for source in sources(root):
        for name in imported(source.tree):
            homes = LIBRARIES.get(name)
            if homes is not None and not any(_is_below(source.path, home) for home in homes):
                found.append(f"{source.path}: imports {name}")
    return found


def imported(tree: ast.Module) -> list[str]:
    """The top-level names of what a module imports, wherever in it."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module.partition(".")[0])
    return list(dict.fromkeys(names))


def _is_below(path: str, home: str) -> bool:
    pattern = re.escape(home).replace(r"\*", "[^/]+")
    return re.match(rf"{pattern}(/|\.py$)", path) is not None


def swallowed_errors(root: Path) -> list[str]:
    """Whoever catches everything hides defects."""
    found = []
    for source in sources(root, (*CODE, "deploy", "bench")):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler) and _catches_all(node.type) and source.path not in CATCH_ALL:
                found.append(f"{source.path}:{node.lineno}: catches everything")
    return found


def _catches_all(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(name, ast.Name) and name.id in ("Exception", "BaseException") for name in names)


def shells(root: Path) -> list[str]:
    """No shell stands between us and a program: what a user typed would run in it."""
    found = []
    for source in sources(root, (*CODE, "deploy", "bench", "tests")):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and (_has_shell(node) or ast.unparse(node.func) in ("os.system", "os.popen")):
                found.append(f"{source.path}:{node.lineno}: runs a shell")
    return found


def _has_shell(node: ast.Call) -> bool:
    return any(word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False) for word in node.keywords)


def bare_ignores(root: Path) -> list[str]:
    """Each `type: ignore` names its code and its reason."""
    wanted = re.compile(r"#\s*type:\s*ignore\[[\w, -]+\]\s+#\s*\S")
    return [
        f"{source.path}:{number}: {line.strip()}"
        for source in sources(root, WIDER)
        for number, line in enumerate(source.text.splitlines(), start=1)
        if re.search(r"#\s*type:\s*ignore", line) and not wanted.search(line) and not source.path.startswith("tests/architecture/")
    ]


def unfinished(root: Path) -> list[str]:
    """What is not done yet stands in an issue."""
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    return [
        f"{source.path}:{number}: {line.strip()}"
        for source in sources(root, WIDER)
        for number, line in enumerate(source.text.splitlines(), start=1)
        if marks.search(line) and not source.path.startswith("tests/architecture/")
    ]


_NOT_IN_TESTS = re.compile(r"time\.sleep|pytest\.(skip|xfail|importorskip|mark\.(skip|skipif|xfail))|unittest\.mock|(Magic|Async)?Mock")


def sleeping_tests(root: Path) -> list[str]:
    """A test waits for a condition with a deadline, is never skipped or expected to fail, and works with real parts."""
    found = []
    for source in sources(root, ("tests",)):
        for node in ast.walk(source.tree):
            name = ""
            if isinstance(node, ast.Attribute | ast.Name):
                name = ast.unparse(node)
            elif isinstance(node, ast.ImportFrom):
                name = node.module or ""
            if _NOT_IN_TESTS.fullmatch(name):
                found.append(f"{source.path}:{getattr(node, 'lineno', 0)}: {name}")
    return found


RULES: dict[str, Rule] = {
    "no file is over 400 lines": long_files,
    "no function is over 60 lines": long_functions,
    "the kernel stays small": large_kernel,
    "each service has the same shape": other_shapes,
    "names say what is inside": vague_names,
    "each module says its job": silent_modules,
    "each library is known in one place": stray_libraries,
    "nobody catches everything": swallowed_errors,
    "nothing runs in a shell": shells,
    "each type ignore has a code and a reason": bare_ignores,
    "nothing is left unfinished": unfinished,
    "tests neither sleep nor skip nor mock": sleeping_tests,
}
