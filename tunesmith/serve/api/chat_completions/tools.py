"""Tools, the choice of tools and the form of the answer, as chat requests write them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from tunesmith.engine.engine import Constraint
from tunesmith.serve.answering.ask import Function, ToolChoice
from tunesmith.types.base import Value

__all__ = [
    "AllowedChoice",
    "AllowedTools",
    "Choice",
    "FunctionDefinition",
    "FunctionTool",
    "JsonObjectForm",
    "JsonSchema",
    "JsonSchemaForm",
    "LegacyFunction",
    "NamedChoice",
    "NamedFunction",
    "ResponseFormat",
    "TextForm",
    "choice_of",
]

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class FunctionDefinition(Value):
    """A function that the model may call; without `parameters` it takes none."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Value):
    """A tool. The model sees it as it was written, keys in their order, as a training row's tools are shown."""

    type: Literal["function"]
    function: FunctionDefinition
    _shown: dict[str, Any] = PrivateAttr(default={})

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, given: Any, validate: ModelWrapValidatorHandler[FunctionTool]) -> FunctionTool:
        tool = validate(given)
        if isinstance(given, dict):
            tool._shown = _without_nulls(given)
        return tool

    def as_function(self) -> Function:
        """The tool as an answer may call it."""
        asked = self.function
        return Function(name=asked.name, parameters=asked.parameters, strict=bool(asked.strict), shown=self._shown)


class LegacyFunction(FunctionDefinition):
    """A tool in the older form, without the frame around it. The model sees it as the same tool."""

    _given: dict[str, Any] = PrivateAttr(default={})

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, given: Any, validate: ModelWrapValidatorHandler[LegacyFunction]) -> LegacyFunction:
        function = validate(given)
        if isinstance(given, dict):
            function._given = given
        return function

    def as_tool(self) -> FunctionTool:
        """The tool that it is."""
        return FunctionTool.model_validate({"type": "function", "function": self._given})


class NamedFunction(Value):
    """The name of a function."""

    name: Name


class NamedChoice(Value):
    """The one tool that has to be called."""

    type: Literal["function"]
    function: NamedFunction


class AllowedTools(Value):
    """The tools that may (auto) or must (required) be called."""

    mode: Literal["auto", "required"]
    tools: list[NamedChoice] = Field(min_length=1)


class AllowedChoice(Value):
    """A choice among some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


Choice = Literal["none", "auto", "required"] | Annotated[NamedChoice | AllowedChoice, Field(discriminator="type")]


class TextForm(Value):
    """Any text."""

    type: Literal["text"]

    @property
    def constraint(self) -> Constraint | None:
        """Nothing binds the answer."""
        return None


class JsonObjectForm(Value):
    """Any JSON object."""

    type: Literal["json_object"]

    @property
    def constraint(self) -> Constraint | None:
        """The answer is a JSON object."""
        return Constraint(kind="json_object")


class JsonSchema(Value):
    """A JSON Schema; it is enforced whatever `strict` says, and refused where it cannot be."""

    name: Name
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaForm(Value):
    """JSON under a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema

    @property
    def constraint(self) -> Constraint | None:
        """The answer is valid under the schema."""
        return Constraint(kind="json_schema", source=json.dumps(self.json_schema.schema_))


ResponseFormat = Annotated[TextForm | JsonObjectForm | JsonSchemaForm, Field(discriminator="type")]


def choice_of(choice: Choice | None, names: list[str]) -> ToolChoice:
    """The choice among tools called `names`.

    Raises ValueError when tools are required that are not there.
    """
    if choice is None or choice in ("none", "auto"):
        return ToolChoice(mode="none" if choice == "none" else "auto")
    if choice == "required":
        if not names:
            raise ValueError("'required' needs tools to choose from")
        return ToolChoice(mode="required")
    assert not isinstance(choice, str)
    wanted = (
        [choice.function.name]
        if isinstance(choice, NamedChoice)
        else [tool.function.name for tool in choice.allowed_tools.tools]
    )
    for name in wanted:
        if name not in names:
            raise ValueError(f"it names the tool {name!r}, which is not among tools: {', '.join(names) or 'none'}")
    mode = "named" if isinstance(choice, NamedChoice) else choice.allowed_tools.mode
    return ToolChoice.model_validate({"mode": mode, "names": tuple(wanted)})


def _without_nulls(given: dict[str, Any]) -> dict[str, Any]:
    """An explicit null is an absent field; inside `parameters` everything stays as it is."""
    found = {key: value for key, value in given.items() if value is not None}
    if isinstance(found.get("function"), dict):
        found["function"] = {key: value for key, value in found["function"].items() if value is not None}
    return found
