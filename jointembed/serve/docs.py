"""The API as a plain page, without scripts and without anything from other hosts."""

from __future__ import annotations

from html import escape
from typing import Any

_OPENSUBSONIC = (
    "Those below <code>/rest</code> are for music players: GET or POST, also with <code>.view</code> behind the name; "
    "answers are XML or JSON, errors have a code of Subsonic and the status 200. "
)


def render(api: dict[str, Any]) -> str:
    """HTML of an OpenAPI description."""
    parts = []
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            title = f"{method.upper()} {path}"
            parts.append(f"<h2><code>{escape(title)}</code></h2><p>{escape(operation['summary'])}.</p>")
            if rows := "".join(map(_row, operation.get("parameters", []))):
                parts.append(f"<table><tr><th>parameter<th>description<th>values</tr>{rows}</table>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>jointembed API</title><body><h1>API</h1>'
        "<p>Answers are JSON. Errors are <code>{&quot;error&quot;: ...}</code>, one line, with a status from 400. "
        "503 with <code>Retry-After</code>: try again. "
        + (_OPENSUBSONIC if any(path.startswith("/rest/") for path in api["paths"]) else "")
        + '<a href="openapi.json">OpenAPI description</a>.</p>'
        + "".join(parts)
        + "</body></html>"
    )


def _row(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    value = schema.get("items") or next((each for each in schema.get("anyOf", []) if each["type"] != "null"), schema)
    limits = [str(value[key]) for key in ("minimum", "maximum") if key in value]
    facts = [value["type"] + (f" from {' to '.join(limits)}" if limits else "")]
    facts += ["repeatable"] if schema.get("type") == "array" else []
    facts += [f"default {schema['default']}"] if schema.get("default") not in (None, []) else []
    facts += ["required"] if parameter["required"] else []
    cells = (f"<code>{escape(parameter['name'])}</code>", escape(parameter["description"]), escape(", ".join(facts)))
    return f"<tr><td>{'<td>'.join(cells)}</tr>"
