"""Every fault that was once found by using Keel has a test that carries its id: `@Test("S1: …")` in Swift, `def test_s1_…` here."""
import pathlib
import re

import pytest

from servers import ROOT

FAULTS = [f"{letter}{n}" for letter, last in [("S", 9), ("A", 11), ("V", 7), ("G", 8), ("D", 15)] for n in range(1, last + 1)]
FAULTS += [f"mlflow_5_{n}" for n in range(1, 7)]


@pytest.fixture(scope="module")
def tests():
    swift = "\n".join(f.read_text() for f in pathlib.Path(ROOT, "Tests").rglob("*.swift"))
    python = "\n".join(f.read_text() for f in pathlib.Path(ROOT, "Conformance").rglob("test_*.py"))
    named = set(re.findall(r"@(?:Test|Suite)\(\s*\"([^\"]*)\"", swift)) | set(re.findall(r"^def (test_\w+)", python, re.MULTILINE))
    return "\n".join(named).lower()


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_a_test(tests, fault):
    assert re.search(rf"(?<![a-z0-9]){fault.lower()}(?![0-9])", tests), f"no test is named after {fault}"
