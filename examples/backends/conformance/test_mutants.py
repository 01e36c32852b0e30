"""The checks catch what they are for: each mistake of mutants.py fails those that have to catch it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mutants import MISTAKES

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_caught(name: str) -> None:
    checks = MISTAKES[name].caught_by
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", f"--mutant={name}", "-k", " or ".join(checks)]
    run = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    # FAILED, not ERROR: a backend that does not start catches nothing.
    failed = set(re.findall(r"^FAILED \S+?::(\w+)", run.stdout, re.MULTILINE))
    assert failed == set(checks), f"{name} got past a check:\n{run.stdout}{run.stderr}"
