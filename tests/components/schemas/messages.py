"""Judges snapshots of what is sent, given as files, by what others wrote about it: log records by OpenTelemetry's own
protobuf schema, messages by the validators of Slack's SDK. Says what each had; fails at the first that is wrong."""

import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from slack_sdk.models.blocks import Block


def otlp(body):
    """Unknown names, and values of another type, are errors."""
    request = json_format.ParseDict(body, ExportLogsServiceRequest())
    records = [record for of in request.resource_logs for scope in of.scope_logs for record in scope.log_records]
    assert records and all(record.time_unix_nano and record.severity_number for record in records)
    return f"{len(records)} log records"


def slack(body):
    """Blocks that the SDK knows, within the lengths that it knows, and nothing that it does not know."""
    for block in body["blocks"]:
        parsed = Block.parse(block)
        assert parsed is not None, f"no block: {block}"
        assert parsed.to_dict() == block, f"the SDK makes something else of it:\n{parsed.to_dict()}\n{block}"
    return f"{len(body['blocks'])} blocks"


JUDGES = {"otlp": otlp, "slack": slack}


def main():
    for path in sys.argv[1:]:
        kind = path.rsplit("__", 1)[1].split("_")[0]
        with open(path, encoding="utf-8") as file:
            body = json.loads(file.read().split("---\n", 2)[2])
        try:
            found = JUDGES[kind](body)
        except Exception as error:
            sys.exit(f"{path}: {type(error).__name__}: {error}")
        print(f"{path.rsplit('__', 1)[1]}: {found}")


main()
