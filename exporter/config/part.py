"""
What the models of a configuration file share.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from exporter.config import values

Text = Annotated[str, Field(min_length=1)]


File = Annotated[Text, AfterValidator(values.absolute)]
"""A path, made absolute: relative ones are relative to the configuration's directory."""


class Part(BaseModel):
    """
    A mapping of the document: no key but these, none without a value. None means that a key is absent.
    """

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def has_value(cls, value: Any) -> Any:
        """
        Refuse `timeout:` without a value: whether the default was meant can't be known.
        """
        if value is None:
            raise ValueError(values.NO_VALUE)
        return value
