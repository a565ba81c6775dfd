"""Looks whether everything is as it must be, and says of each thing what was found and what to do about it."""

from dataclasses import asdict, replace

import typer

from cli.context import Context
from storage.logs import redact


def doctor(context: typer.Context) -> None:
    """Check configuration, disk, database, weights, GPU and Telegram, and say what to do about each.

    Nothing is changed. The exit status is 1 where something would not work.
    """
    from cli.checks.everything import examine  # noqa: PLC0415  Nothing else needs so many libraries at once.
    from cli.checks.finding import State  # noqa: PLC0415

    state: Context = context.obj
    findings = []
    for found in examine(lambda: state.settings):
        finding = replace(found, found=redact(found.found), advice=redact(found.advice))
        findings.append(finding)
        if not state.output.as_json:
            state.output.say(finding.line())
    state.output.document([asdict(finding) for finding in findings])
    if any(finding.state is State.FAILED for finding in findings):
        raise typer.Exit(1)
