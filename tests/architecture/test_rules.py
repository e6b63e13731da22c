# ruff: noqa: E501 - a table reads better wide
"""The tree keeps its rules, and each rule notices a tree that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.rules import ROOT, RULES, SHAPE

_DOC = '"""A job."""\n'
# rule -> (file, its text, what is said of it)
BROKEN: dict[str, tuple[str, str, str]] = {
    "no file is over 400 lines": ("agent/long.py", _DOC + "x = 1\n" * 400, "agent/long.py: 401 lines"),
    "no function is over 60 lines": ("cli/long.py", _DOC + "def f():\n" + "    x = 1\n" * 60, "cli/long.py:f: 61 lines"),
    "the kernel stays small": ("kernel/big.py", _DOC + "x = 1\n\n" * 3999, "kernel: 4001 lines, 4000 are its budget"),
    "each service has the same shape": ("services/billing/__init__.py", _DOC, "services/billing: routes is missing"),
    "names say what is inside": ("gateway/utils/text.py", _DOC, "gateway/utils/text.py"),
    "each module says its job": ("gateway/quiet.py", "x = 1\n", "gateway/quiet.py"),
    "each library is known in one place": ("services/audit/usecases.py", _DOC + "def f():\n    from pika import x\n", "services/audit/usecases.py: imports pika"),
    "nobody catches everything": ("agent/loop.py", _DOC + "try:\n    x = 1\nexcept (OSError, Exception):\n    pass\n", "agent/loop.py:4: catches everything"),
    "nothing runs in a shell": ("deploy/run.py", _DOC + "import subprocess\nsubprocess.run('ls', shell=True)\n", "deploy/run.py:3: runs a shell"),
    "each type ignore has a code and a reason": ("cli/x.py", _DOC + "x: int = ''  # type: ignore[assignment]\n", "cli/x.py:2: x: int = ''  # type: ignore[assignment]"),
    "nothing is left unfinished": ("bench/x.py", _DOC + "# TODO: later\n", "bench/x.py:2: # TODO: later"),
    "tests neither sleep nor skip nor mock": ("tests/unit/test_x.py", _DOC + "import time\ntime.sleep(1)\n", "tests/unit/test_x.py:3: time.sleep"),
}  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree that keeps every rule."""
    for package in rules.WIDER:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(_DOC)
    service = tmp_path / "services" / "audit"
    (service / "migrations").mkdir(parents=True)
    (service / "__init__.py").write_text(_DOC)
    for name in set(SHAPE) - {"migrations"}:
        (service / f"{name}.py").write_text(_DOC)
    return tmp_path


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_tree_keeps_its_rules(rule: rules.Rule) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_good_tree_breaks_no_rule(tree: Path, rule: rules.Rule) -> None:
    assert rule(tree) == []


def test_every_rule_is_shown_to_fail() -> None:
    assert BROKEN.keys() == RULES.keys()


@pytest.mark.parametrize("name", RULES)
def test_a_broken_tree_is_noticed(tree: Path, name: str) -> None:
    path, text, said = BROKEN[name]
    target = tree / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    assert said in RULES[name](tree)


@pytest.mark.parametrize(
    "line",
    ["except:", "except BaseException:", "except Exception as error:"],
)
def test_every_way_to_catch_everything_is_noticed(tree: Path, line: str) -> None:
    (tree / "agent" / "x.py").write_text(f"{_DOC}try:\n    x = 1\n{line}\n    pass\n")
    assert rules.swallowed_errors(tree) == ["agent/x.py:4: catches everything"]


@pytest.mark.parametrize("call", ["os.system('ls')", "os.popen('ls')", "subprocess.run('ls', shell=flag)", "Popen('ls', shell=1)"])
def test_every_way_to_run_a_shell_is_noticed(tree: Path, call: str) -> None:
    (tree / "agent" / "x.py").write_text(f"{_DOC}{call}\n")
    assert rules.shells(tree) == ["agent/x.py:2: runs a shell"]


def test_a_file_that_became_a_folder_and_stayed_a_file_is_noticed(tree: Path) -> None:
    (tree / "services" / "audit" / "store").mkdir()
    assert rules.other_shapes(tree) == ["services/audit: store is a file and a folder"]


def test_exceptions_are_listed_with_a_reason_and_are_still_needed() -> None:
    for listed in (rules.LONG_FILES, rules.LONG_FUNCTIONS, rules.CATCH_ALL):
        assert all(reason for reason in listed.values())
    for path in rules.LONG_FILES:
        assert (ROOT / path).read_text(encoding="utf-8").count("\n") > rules.LONGEST_FILE
    for path in rules.CATCH_ALL:
        assert "except " in (ROOT / path).read_text(encoding="utf-8")
