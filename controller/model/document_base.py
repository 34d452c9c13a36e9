"""What all classes of the gateway file have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

MAX_INDEX = 255
"""Numbers of gateways, interface groups, interfaces and segments fit one byte of a frame's address."""


class Base(BaseModel):
    """Object of the gateway file: unknown keys are refused, nothing is converted from another type, values are frozen.

    The text below an attribute is its description in the JSON Schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
