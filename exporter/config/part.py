"""
The base of all models of a configuration file, and the types that several of them use.
"""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    field_validator,
)
from pydantic_core import CoreSchema, core_schema

from exporter.config import shapes, values

Text = Annotated[str, Field(min_length=1)]


File = Annotated[Text, AfterValidator(values.absolute)]
"""A path, made absolute: relative ones are relative to the configuration's directory."""


Bool = Annotated[bool, BeforeValidator(values.boolean), shapes.form(shapes.BOOLEAN)]


class Listed:
    """
    The annotation of a list of which one element alone may stand there instead.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """
        Return how it is read.
        """
        return core_schema.no_info_before_validator_function(values.listed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """
        Return its JSON schema: a list, or an element.
        """
        made = handler(schema)
        return {"anyOf": [made, made["items"]]}


Texts = Annotated[list[Text], Listed()]


class Part(BaseModel):
    """
    A mapping of the document: no key but these, none without a value. None means that a key is absent.
    """

    # Most configurations have a few of the sections: a model is built when something is read as it.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def has_value(cls, value: Any) -> Any:
        """
        Refuse `timeout:` without a value: whether the default was meant can't be known.
        """
        if value is None:
            raise ValueError(values.NO_VALUE)
        return value
