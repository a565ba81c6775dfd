"""All checks, in the order in which what they find is best mended."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cli.checks import configuration, database, folder, gpu, serving, telegram, trying, weights
from cli.checks.finding import Finding, failed
from storage.database import now
from storage.errors import SettingsError
from storage.settings import Settings, settings_file
from trainer import gpu as nvml


def examine(read: Callable[[], Settings]) -> Iterator[Finding]:
    """`read` gives the settings. Takes seconds, as TensorFlow is started; findings come as they are made."""
    file = settings_file()
    try:
        settings = read()
    except SettingsError as error:
        yield failed(configuration.CHECK, f"{error}.", "The other checks need it; mend it first.")
        return
    for name, look in _checks(settings, file).items():
        try:
            yield from look()
        except Exception as error:  # noqa: BLE001  The other checks are to be made all the same.
            yield failed(name, f"It could not be checked ({type(error).__name__}: {error}).", "Please report this.")


def _checks(settings: Settings, file: Path) -> dict[str, Callable[[], Iterable[Finding]]]:
    return {
        configuration.CHECK: lambda: configuration.check(settings, file, os.environ),
        folder.RIGHTS: lambda: folder.check(settings),
        database.CHECK: lambda: [database.check(settings.database_place)],
        weights.CHECK: lambda: [weights.check(settings.training)],
        serving.CHECK: lambda: [serving.check(settings)],
        gpu.DRIVER: _gpu,
        telegram.BOT: lambda: telegram.check(settings, now()) if settings.telegram.token.get_secret_value() else [],
    }


def _gpu() -> Iterator[Finding]:
    report = gpu.ask(lambda: nvml.report(None))
    if report is None:
        yield gpu.silent()
        return
    yield gpu.driver(report)
    yield from gpu.tensorflow(trying.attempt(), card=bool(report.gpus))
