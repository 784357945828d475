"""Decodes a document of OTLP in JSON by the published protocol (PyPI: opentelemetry-proto), and prints it as protobuf's JSON.

    python3 decode_otlp.py traces|metrics < DOCUMENT

OTLP's JSON differs from protobuf's in one thing: the ids of traces and spans are in hex, and not in base64. An unknown field, or a
value of another type, is an error.
"""
import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

IDS = {"traceId", "spanId", "parentSpanId"}


def converted(value, convert):
    if isinstance(value, list):
        return [converted(item, convert) for item in value]
    if isinstance(value, dict):
        return {key: convert(item) if key in IDS else converted(item, convert) for key, item in value.items()}
    return value


def main():
    request = {"traces": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest}[sys.argv[1]]()
    document = converted(json.load(sys.stdin), lambda text: base64.b64encode(bytes.fromhex(text)).decode())
    json_format.ParseDict(document, request)
    # Through the bytes that a collector would get by protobuf.
    again = type(request).FromString(request.SerializeToString())
    printed = json_format.MessageToDict(again)
    print(json.dumps(converted(printed, lambda text: base64.b64decode(text).hex())))


main()
