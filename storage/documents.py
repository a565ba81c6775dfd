"""What pydantic's documents are made of, besides what pydantic knows."""

from typing import Annotated, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from storage.texts import Text, read_text, write_text

# A sentence, kept so that it can be said in another language when it is read again.
PackedText: TypeAlias = Annotated[
    Text,
    PlainValidator(lambda text: text if isinstance(text, Text) else read_text(text)),
    PlainSerializer(write_text, when_used="json"),
]
