"""What every command works with."""

from collections.abc import Callable
from functools import cached_property

from cli.output import Output
from storage.database import Database, open_database
from storage.models import Models
from storage.photos import Decode, Photos
from storage.runs import Runs
from storage.settings import Settings


class Context:
    """The settings and the stores behind them, opened when first used."""

    def __init__(self, read: Callable[[], Settings], output: Output) -> None:
        self._read = read
        self.output = output

    @cached_property
    def settings(self) -> Settings:
        """Raises SettingsError."""
        return self._read()

    @cached_property
    def database(self) -> Database:
        return open_database(self.settings)

    @cached_property
    def photos(self) -> Photos:
        return self.photos_with(None)

    def photos_with(self, decode: Decode | None) -> Photos:
        settings = self.settings
        return Photos(self.database, settings.photos_dir, settings.unlabelled_dir, settings.images, decode=decode)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.database)

    @cached_property
    def models(self) -> Models:
        return Models(self.database, self.settings.models_dir)
