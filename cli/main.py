"""The command line. Each command is one function in the module beside this one that its group is named after."""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli import database, keeping, photos, services, training, versions
from cli.context import Context
from cli.doctor import doctor
from cli.output import Output
from storage.errors import RetrainbotError, SettingsError
from storage.logs import configure_logs, redact, style_of
from storage.settings import Logging, read_settings

FAILED, WRONG_USE = 1, 2
# These may stand anywhere on the line: name, and whether a value follows.
GLOBAL = {"--config": True, "--data": True, "--json": False, "--debug": False}

SERVICES = {"run": "supervisor", "bot": "bot", "trainer": "trainer"}  # By command: what its logs call it.

# What Typer says, in other words.
PLAIN = {
    "Value error, ": "",
    "Input should be": "it must be",
    "a valid integer, unable to parse string as an integer": "a whole number",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}

app = typer.Typer(
    name="retrainbot",
    help="An image classifier that a chat trains.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("import")(photos.import_)
COMMANDS: tuple[Callable[..., None], ...] = (
    *(training.train, versions.classify, versions.evaluate),
    *(services.run, services.bot, services.trainer, services.sandbox, services.demo),
    *(photos.reindex, photos.classes),
    *(versions.models, versions.promote, versions.rollback, versions.pin, versions.unpin, versions.delete),
    *(training.runs, training.cancel, training.status, training.gpu, doctor),
    *(keeping.backup, keeping.restore, keeping.forget),
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(photos.records, name="records")
app.add_typer(database.database, name="database")


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="The configuration file, else ./config.toml.")] = None,
    data: Annotated[Path | None, typer.Option(help="The data folder, whatever the configuration says.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,
) -> None:
    """An image classifier that a chat trains."""
    del debug  # Read by main, which outlives this.
    # Child processes read the same configuration.
    if config:
        os.environ["RETRAINBOT_CONFIG"] = str(config.absolute())
    if data:
        os.environ["RETRAINBOT_DATA"] = str(data.absolute())
    state = context.obj = Context(read_settings, Output(json))
    if context.invoked_subcommand != "doctor":  # Which itself says what is wrong with the configuration.
        _configure_logs(state.settings.logging, str(context.invoked_subcommand))


def _configure_logs(logging: Logging, command: str) -> None:
    """Only what runs as a service logs for programs where nobody says so. Child processes log in the same way."""
    style = style_of(logging.format, sys.stderr) if command in SERVICES else logging.format
    style = "console" if style == "auto" else style
    os.environ["RETRAINBOT_LOGGING__FORMAT"] = style
    configure_logs(logging.level, style=style, process=SERVICES.get(command))


def hoist(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options first, wherever they stood before a `--`."""
    front: list[str] = []
    rest: list[str] = []
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        name, equals, _ = argument.partition("=")
        if argument == "--":
            return [*front, *rest, argument, *pending]
        if name in GLOBAL:
            front.append(argument)
            if GLOBAL[name] and not equals and pending:
                front.append(pending.pop(0))
        else:
            rest.append(argument)
    return front + rest


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed, 2 wrong use or configuration."""
    ordered = hoist(sys.argv[1:] if arguments is None else arguments)
    try:
        status = app(ordered, prog_name="retrainbot", standalone_mode=False)
    except Exception as error:  # noqa: BLE001  Whatever it is, a person gets a sentence instead of a traceback.
        trace = "".join(traceback.format_exception(error)).rstrip() if "--debug" in ordered else ""
        print(redact(trace or explain(error)), file=sys.stderr)  # noqa: T201
        status = WRONG_USE if isinstance(error, SettingsError | typer.TyperException) else FAILED
    sys.exit(status or 0)


def explain(error: Exception) -> str:
    """What happened and what to do, in a line or two."""
    if isinstance(error, typer.TyperException):
        return _misuse(error)
    if isinstance(error, RetrainbotError):
        return f"retrainbot: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"retrainbot: {_fault(error)}"
    return f"retrainbot: Something unexpected went wrong: {type(error).__name__}: {error}\n--debug shows where."


def _misuse(error: typer.TyperException) -> str:
    message = error.format_message()
    if "\n" in message:  # The help itself: what a group of commands answers when none of them is named.
        return message
    context: typer.Context | None = getattr(error, "ctx", None)
    command = context.command_path if context else "retrainbot"
    for jargon, plain in PLAIN.items():
        message = message.replace(jargon, plain)
    return f"retrainbot: {message.rstrip('.')}. See `{command} --help`."


def _fault(error: OSError) -> str:
    place = error.filename or "a file"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"There is no room left on the disk for {place}. Make room, then try again."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"There is no right to use {place}. Change its rights, or use another folder with --data."
    return f"{place} cannot be used ({error.strerror}). Check its name, or use another folder with --data."


if __name__ == "__main__":
    main()
