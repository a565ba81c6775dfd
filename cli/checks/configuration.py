"""Whether the configuration can be read, and whether what is needed stands in it."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from cli.checks.finding import Finding, failed, ok, warning
from storage.settings import Settings

CHECK, TOKEN = "configuration", "token"
PREFIX = "RETRAINBOT_"
OURS = {"RETRAINBOT_CONFIG", "RETRAINBOT_LIFELINE"}  # Variables that are no settings.


def check(settings: Settings, file: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """`file` is where the configuration was looked for, `environment` what may override it."""
    found = f"{file} is read." if file.exists() else f"There is no {file}, so the defaults hold."
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and not _known(name))
    if unknown:
        yield warning(
            CHECK,
            f"{', '.join(unknown)}: no such setting, so nothing comes of it.",
            "config.example.toml lists them all; a setting of a section is RETRAINBOT_SECTION__NAME.",
        )
    else:
        yield ok(CHECK, found)
    yield from _token(settings, file)


def _known(variable: str) -> bool:
    section, _, name = variable.removeprefix(PREFIX).lower().partition("__")
    field = Settings.model_fields.get(section)
    if field is None:
        return variable in OURS
    return not name or name in getattr(type(field.default), "model_fields", {})


def _token(settings: Settings, file: Path) -> Iterator[Finding]:
    telegram = settings.telegram
    if not telegram.token.get_secret_value():
        yield failed(
            TOKEN,
            "There is no bot token.",
            "Talk to @BotFather in Telegram, send /newbot, and put the token it gives into the environment as"
            " RETRAINBOT_TELEGRAM__TOKEN, or into config.toml as token under [telegram].",
        )
    elif file.exists() and "token" in file.read_text("utf-8") and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield warning(TOKEN, f"Others on this computer may read {file}.", f"Type: chmod 600 {file}")
    else:
        yield ok(TOKEN, "There is one, of the usual form.")
    if not telegram.users:
        yield warning(
            "owners",
            "The bot has no owner, so it answers nobody.",
            "Send it /start: it tells you your id, to be put into users under [telegram] in config.toml.",
        )
