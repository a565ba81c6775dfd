"""Commands about the database."""

from pathlib import Path
from typing import Annotated

import typer

from cli.context import Context
from storage.copying import copy_file

database = typer.Typer(help="The database.", no_args_is_help=True)


@database.command("copy")
def copy(
    context: typer.Context, file: Annotated[Path, typer.Argument(metavar="FILE", help="Such as data/retrainbot.db.")]
) -> None:
    """Copy a SQLite database into the one that is configured, which must be empty; stop bot and trainer before."""
    state: Context = context.obj
    with state.output.progress() as bar:
        rows = copy_file(file, state.database, lambda done, total: bar.show("copy", done, total))
    if not state.output.document({"rows": rows}):
        state.output.say(f"{rows} rows copied.")
