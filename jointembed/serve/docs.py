"""The description of the API as a plain page, without scripts or anything of others."""

from __future__ import annotations

from html import escape
from typing import Any


def page(api: dict[str, Any]) -> str:
    """HTML of an OpenAPI description."""
    parts = []
    for path, methods in api["paths"].items():
        for method, about in methods.items():
            parts.append(
                f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2><p>{escape(about['summary'])}</p>"
            )
            listed = [_row(one) for one in about.get("parameters", []) if one["in"] == "query"]
            if listed:
                parts.append(
                    "<table><tr><th>parameter<th>what it is<th>what it may be</tr>" + "".join(listed) + "</table>"
                )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>jointembed: the API</title><body>'
        "<h1>The API</h1><p>Answers are JSON; what is wrong comes as <code>{&quot;error&quot;: ...}</code>, one line,"
        " with a status from 400 on. 503 with <code>Retry-After</code>: ask again."
        ' <a href="/openapi.json">OpenAPI</a>.</p>' + "".join(parts) + "</body></html>"
    )


def _row(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    inner = schema.get("items", schema)
    sort = {"integer": "whole number", "number": "number", "boolean": "1 or 0", "string": "text"}[inner["type"]]
    bounds = f" from {inner['minimum']} to {inner['maximum']}" if "minimum" in inner else ""
    often = ", also several times" if schema["type"] == "array" else ""
    default = f", {schema['default']} if not given" if schema.get("default") is not None else ""
    needed = ", needed" if parameter["required"] else ""
    cells = (f"<code>{escape(parameter['name'])}</code>", escape(parameter["description"]), escape(sort + bounds))
    return f"<tr><td>{cells[0]}<td>{cells[1]}<td>{cells[2]}{escape(often + default + needed)}</tr>"
