"""Every error that a person may read. The message says what happened and what to do next."""

from storage.texts import Text


class RetrainbotError(Exception):
    """Something went wrong that a person can understand and mend.

    The message is a template and its values, or a text, so that the chat can say it in the person's language.
    """

    def __init__(self, message: str, **values: object) -> None:
        self.text = message if isinstance(message, Text) else Text(message, **values)
        super().__init__(self.text)


class SettingsError(RetrainbotError):
    """The configuration cannot be used; the message names the key, the value and what is allowed."""


class LabelError(RetrainbotError):
    """The text cannot be a class name."""


class ImageError(RetrainbotError):
    """The bytes are not a photo that can be used."""


class PhotoError(RetrainbotError):
    """A photo or class that was asked for does not exist, or cannot be changed so."""


class DatabaseError(RetrainbotError):
    """The database cannot be opened, or was written by a newer version."""


class RunError(RetrainbotError):
    """A training run cannot go on."""


class LeaseLostError(RunError):
    """The run was given to another worker, so nothing this one has made may be published."""


class BackboneError(RetrainbotError):
    """The pretrained network or its weights cannot be had."""


class ModelError(RetrainbotError):
    """A model version is missing, damaged, or does not answer as it did when it was made."""


class RecordsError(RetrainbotError):
    """The TFRecords do not match their manifest."""


class UnreadablePhotoError(RecordsError):
    """A photo, by its hexadecimal SHA-256, is missing or was changed by hand, so it has no record."""

    def __init__(self, message: str, sha256: str, **values: object) -> None:
        super().__init__(message, **values)
        self.sha256 = sha256


class BackupError(RetrainbotError):
    """A backup cannot be made there, or cannot be brought back."""


class ForgetError(RetrainbotError):
    """A person cannot be forgotten: nothing is known of them, or they own the bot."""
