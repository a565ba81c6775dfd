import re
from pathlib import Path

import pytest
from typer.main import get_command

from bot.replies import COMMANDS as CHAT_COMMANDS
from cli.main import app, hoist

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def command_names() -> set[str]:
    command = get_command(app)
    names = set()
    for name, child in command.commands.items():  # type: ignore[attr-defined]
        below = getattr(child, "commands", None)
        names |= {f"{name} {inner}" for inner in below} if below else {name}
    return names


def test_every_command_is_documented() -> None:
    """docs/commands.md speaks of each command by its name."""
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    missing = {name for name in command_names() if f"`retrainbot {name}" not in text}
    assert not missing


def test_every_documented_command_exists() -> None:
    """No page tells a reader to type a command that is not there."""
    names = command_names()
    first_words = {name.split()[0] for name in names}
    typed = {word for page in PAGES for word in re.findall(r"retrainbot ([a-z]+)", page.read_text("utf-8"))}
    assert typed - {"demo"} <= first_words


def test_every_documented_option_exists() -> None:
    """An option in docs/commands.md belongs to a command, or to all of them."""
    command = get_command(app)
    known = {option for parameter in command.params for option in parameter.opts}
    for child in command.commands.values():  # type: ignore[attr-defined]
        inner = getattr(child, "commands", {"": child}).values()
        known |= {option for one in inner for parameter in one.params for option in parameter.opts}
    written = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", (ROOT / "docs" / "commands.md").read_text("utf-8")))
    assert written <= known


def test_every_chat_command_is_documented() -> None:
    """docs/chat.md speaks of each command that the bot tells Telegram about."""
    text = (ROOT / "docs" / "chat.md").read_text("utf-8")
    assert {name for name in CHAT_COMMANDS if f"`/{name}" not in text} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of ours leads to one."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_global_options_may_stand_anywhere() -> None:
    """`classify --json photo.jpg --data d` means what `--json --data d classify photo.jpg` means."""
    assert hoist(["classify", "--json", "a.jpg", "--data", "d"]) == ["--json", "--data", "d", "classify", "a.jpg"]
    assert hoist(["--config=c", "run"]) == ["--config=c", "run"]


def test_what_follows_two_dashes_is_left_alone() -> None:
    """A photo called --json can still be classified."""
    assert hoist(["classify", "--", "--json"]) == ["classify", "--", "--json"]
