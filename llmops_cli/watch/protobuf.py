"""OTLP in protobuf, which needs the extra `traces`."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def otlp_json(content: bytes) -> dict[str, Any]:
    """Return an OTLP protobuf message as OTLP JSON. Raises `ValueError` where it is none."""
    try:
        document: dict[str, Any] = MessageToDict(ExportTraceServiceRequest.FromString(content))
    except DecodeError as error:
        raise ValueError(f"not an OTLP protobuf message: {error}") from error
    for resource in document.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):  # protobuf's JSON has ids in base64, OTLP's in hex
                for name in ("traceId", "spanId"):
                    span[name] = b64decode(span.get(name, "")).hex()
    return document
