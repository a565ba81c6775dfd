"""Commands that stay up until they are stopped."""

from pathlib import Path
from typing import Annotated

import typer

from cli.context import Context
from cli.supervisor import supervise
from storage import lifeline
from storage.errors import RetrainbotError

WEB_CHAT = 8081  # The port of the sandbox's web chat.

Port = Annotated[int, typer.Option(min=0, max=65535, help="The port on this computer; 0 picks a free one.")]


def run(context: typer.Context) -> None:
    """Run the bot and the trainer, and restart what dies."""
    state: Context = context.obj
    state.settings.telegram.need_token()
    raise typer.Exit(supervise({name: lifeline.child("cli.main", name) for name in ("bot", "trainer")}))


def bot(context: typer.Context) -> None:
    """Run the bot alone."""
    from bot.service import run as run_bot  # noqa: PLC0415  Only this process needs Telegram's library.

    state: Context = context.obj
    state.settings.telegram.need_token()
    run_bot(state.settings)


def trainer(context: typer.Context) -> None:
    """Run the trainer alone: the schedule and the training runs."""
    from trainer.service import serve  # noqa: PLC0415  Only this process needs the scheduler.

    serve(context.obj.settings)


def sandbox(
    port: Port = WEB_CHAT,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Remember in this folder what is said; else it is forgotten.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Class folders of photos that the web chat offers."
        ),
    ] = None,
) -> None:
    """Run a stand-in for Telegram on this computer, with a web chat, for trying out and testing."""
    from sandbox.errors import ListenError  # noqa: PLC0415  Only this process needs the web server.
    from sandbox.guide import Guide  # noqa: PLC0415
    from sandbox.memory import MemoryFolderError  # noqa: PLC0415
    from sandbox.server import serve  # noqa: PLC0415

    try:
        serve(port, folder=keep, guide=Guide(samples) if samples else None)
    except (ListenError, MemoryFolderError) as error:
        raise RetrainbotError(str(error)) from error


def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Stop after the conversation, and keep nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the last demo, and play the conversation.")] = False,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help=f"The port of the web chat, else {WEB_CHAT}, or a free one with --once."),
    ] = None,
) -> None:
    """Play a conversation with a bot that learns road signs, on this computer alone."""
    from demo.play import play  # noqa: PLC0415  Draws pictures and drives a chat; nothing else needs that.

    del context
    raise typer.Exit(play(once=once, fresh=fresh, port=port))
