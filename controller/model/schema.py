"""JSON Schema of the gateway file, for editors: ``python -m controller.model.schema`` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path

from controller.model.document import Document

SCHEMA_FILE = Path(__file__).with_name("gateway-file.schema.json")


def schema_text() -> str:
    """Return the JSON Schema (draft 2020-12) as the text of the committed file."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Document.model_json_schema()
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write the schema file beside this module."""
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
