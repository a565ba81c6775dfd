"""The command line. Each command is one function in the module beside this one that its group is named after."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli import photos, services, training, versions
from cli.context import Context
from cli.output import Output
from storage.errors import RetrainbotError, SettingsError
from storage.logs import configure_logs, redact
from storage.settings import read_settings

FAILED, WRONG_USE = 1, 2
# These may stand anywhere on the line: name, and whether a value follows.
GLOBAL = {"--config": True, "--data": True, "--json": False, "--debug": False}

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
    *(versions.models, versions.promote, versions.rollback),
    *(training.runs, training.status, training.gpu),
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(photos.records, name="records")


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
    settings = read_settings()
    configure_logs(settings.logging.level)
    context.obj = Context(settings, Output(json))


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
        app(ordered, prog_name="retrainbot")
    except Exception as error:  # noqa: BLE001  Whatever it is, a person gets a sentence instead of a traceback.
        sys.exit(_explain(error, debug="--debug" in ordered))


def _explain(error: Exception, *, debug: bool) -> int:
    """Say what happened on stderr; the exit status."""
    if debug:
        message = "".join(traceback.format_exception(error)).rstrip()
    elif isinstance(error, RetrainbotError):
        message = str(error)
    else:
        message = f"Something unexpected went wrong: {type(error).__name__}: {error}\n--debug shows where."
    print(f"retrainbot: {redact(message)}", file=sys.stderr)  # noqa: T201
    return WRONG_USE if isinstance(error, SettingsError) else FAILED


if __name__ == "__main__":
    main()
