import re
from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.methods import METHODS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "sandbox.md").read_text("utf-8")
BOTS = {path.stem: path.read_text("utf-8") for path in (ROOT / "tests" / "bots").glob("*_bot.py")}


def section(title: str) -> str:
    """What stands below a heading, down to the next one."""
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_page_lists_all_methods() -> None:
    """The table of supported methods names each method of the sandbox once, and no other."""
    listed = re.findall(r"^\| `(\w+)` \|", section("Supported methods"), re.MULTILINE)
    assert sorted(name.lower() for name in listed) == sorted(METHODS)


def test_the_page_explains_all_fields_of_a_fault() -> None:
    """The table of faults has each field that a fault may have."""
    cells = re.findall(r"^\| (`.*?) \|", section("Faults"), re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(Fault.model_fields)


@pytest.mark.parametrize("fragment", re.findall(r"```python\n(.*?)```", section("Pointing a library at it"), re.DOTALL))
def test_fragments_are_those_that_are_tested(fragment: str) -> None:
    """Each piece of code for a library stands, line by line, in the bot that the tests run."""
    assert any(all(line in bot for line in fragment.splitlines()) for bot in BOTS.values())
