"""The API's description as OpenAPI has it, made from the operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tandem import __version__
from tandem.admin.web.operations import OPERATIONS, STATUSES, Operation, Parameter
from tandem.effects.problem import KINDS, Severity

Schema = dict[str, Any]
ERRORS = {
    "400": "What was given is not what is asked for.",
    "401": "No credentials, or ones that are not known.",
    "403": "These credentials are not good for this.",
    "404": "There is no such thing.",
    "409": "The server refuses to do this now, and says why.",
    "503": "The server does not answer.",
}


def _object(required: Mapping[str, Schema], **more: Schema) -> Schema:
    return {"type": "object", "properties": {**required, **more}, "required": list(required)}


def _or_null(kind: str) -> Schema:
    return {"type": [kind, "null"]}


def _list_of(name: str) -> Schema:
    return {"type": "array", "items": _the(name)}


def _the(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
TRUTH: Schema = {"type": "boolean"}
POOL = {
    "where": {**TEXT, "description": "Its place in the configuration file."},
    "first": TEXT,
    "last": TEXT,
    "size": NUMBER,
    "in-use": NUMBER,
    "remembered": {**NUMBER, "description": "Ended leases that are remembered for their clients."},
}
SCHEMAS: dict[str, Schema] = {
    "Error": _object({"error": {**TEXT, "description": "A sentence for people."}}),
    "Lease": _object(
        {
            "lease": TEXT,
            "type": {**TEXT, "enum": ["IA_NA", "IA_PD"]},
            "status": {**TEXT, "enum": list(STATUSES)},
            "held": TRUTH,
            "duid": TEXT,
            "iaid": NUMBER,
            "start-time-of-state": NUMBER,
            "client-last-transaction-time": NUMBER,
            "state-expiration-time": {**_or_null("integer"), "description": "UTC seconds; null is never."},
            "preferred-lifetime": NUMBER,
            "valid-lifetime": NUMBER,
            "fqdn": _or_null("string"),
        }
    ),
    "LeasePage": _object({"leases": _list_of("Lease"), "next": _or_null("integer")}),
    "Pools": {"type": "array", "items": _object({"link": TEXT, **POOL})},
    "Problem": _object(
        {
            "id": {**TEXT, "enum": list(KINDS)},
            "severity": {**TEXT, "enum": [each.value for each in Severity]},
            "about": {**TEXT, "description": "The interface, address, pool, link or relationship that it concerns."},
            "what": TEXT,
            "since": NUMBER,
            "until": {**_or_null("integer"), "description": "When it ends at the latest, if that is known."},
            "ends-when": TEXT,
            "command": _or_null("string"),
            "examples": {"type": "array", "items": TEXT},
        }
    ),
    "Relationship": _object(
        {
            "name": TEXT,
            "role": {**TEXT, "enum": ["primary", "secondary"]},
            "state": TEXT,
            "since": NUMBER,
            "why": TEXT,
            "means": TEXT,
            "ends": TEXT,
            "until": _or_null("integer"),
            "command": _or_null("string"),
            "risk": _or_null("string"),
            "partner": _object({"name": TEXT, "state": _or_null("string"), "in-touch": TRUTH}),
            "clock-skew": _or_null("integer"),
            "mclt": NUMBER,
            "updates": _object({"unacked": NUMBER, "in-flight": NUMBER, "rejections": NUMBER}),
            "conflicts": NUMBER,
            "differences": {"type": "array", "items": TEXT},
        }
    ),
    "Relationships": _list_of("Relationship"),
    "Status": _object(
        {
            "server": TEXT,
            "duid": TEXT,
            "time": NUMBER,
            "version": TEXT,
            "compiled": TRUTH,
            "pid": NUMBER,
            "up-s": NUMBER,
            "disk": {**TEXT, "enum": ["ok", "full"]},
            "problems": _list_of("Problem"),
            "leases-known": NUMBER,
            "links": {
                "type": "array",
                "items": _object(
                    {"name": TEXT, "subnets": {"type": "array"}, "pools": {"type": "array", "items": _object(POOL)}}
                ),
            },
            "relationships": _list_of("Relationship"),
            "counters": {"type": "object"},
            "times": {"type": "object"},
        }
    ),
    "Explanation": {"type": "object"},
    "Events": _object(
        {
            "events": {
                "type": "array",
                "items": _object({"number": NUMBER, "time": {"type": "number"}, "level": TEXT, "event": TEXT}),
            },
            "last": NUMBER,
        }
    ),
    "Done": _object({"done": TRUTH}),
}


def describe() -> Schema:
    """Give the whole description."""
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path.replace(":path}", "}"), {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tandem",
            "version": __version__,
            "description": "A running Tandem server. Absolute times are UTC seconds, lifetimes are seconds.",
        },
        "security": [{"token": []}, {"password": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic", "description": "Any name, and the token as password."},
            },
        },
    }


def _operation(operation: Operation) -> Schema:
    found: Schema = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": f"Needs the role {operation.role}.",
        "parameters": [_parameter(each) for each in operation.parameters if each.where != "body"],
        "responses": {
            "200": _response("Done.", operation.result),
            **{code: _response(text, "Error") for code, text in ERRORS.items()},
        },
    }
    if operation.method == "POST":
        found["requestBody"] = _body([each for each in operation.parameters if each.where == "body"])
    return found


def _parameter(parameter: Parameter) -> Schema:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.is_required,
        "description": parameter.text,
        "schema": dict(parameter.schema),
    }


def _body(parameters: Sequence[Parameter]) -> Schema:
    properties = {each.name: {**each.schema, "description": each.text} for each in parameters}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"required": False, "content": {"application/json": {"schema": schema}}}


def _response(text: str, schema: str) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": _the(schema)}}}
