"""What every command works with."""

from functools import cached_property

from cli.output import Output
from storage.database import Database
from storage.models import Models
from storage.photos import Photos
from storage.runs import Runs
from storage.settings import Settings


class Context:
    """The settings and the stores behind them, opened when first used."""

    def __init__(self, settings: Settings, output: Output) -> None:
        self.settings = settings
        self.output = output

    @cached_property
    def database(self) -> Database:
        return Database(self.settings.database_file)

    @cached_property
    def photos(self) -> Photos:
        return Photos(self.database, self.settings.photos_dir, self.settings.images)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.database)

    @cached_property
    def models(self) -> Models:
        return Models(self.database, self.settings.models_dir)
