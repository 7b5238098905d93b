"""What the emulator leaves out of the deployed template, made good by calls to its APIs.

Owns the list of these gaps; the values stay the template's. Nothing here is needed on AWS. MiniStack
1.5.33 keeps a CORS configuration under names that it does not look up afterwards, so that it refuses
every preflight, and does not turn a table's TTL on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from local.ministack import session

if TYPE_CHECKING:
    from mypy_boto3_apigatewayv2.type_defs import CorsTypeDef


def close(
    template: Path,
    parameters: Mapping[str, str],
    physical_ids: Mapping[str, str],
    aws_endpoint_url: str,
) -> None:
    """Bring the deployed stack in line with its built template. Safe to repeat.

    `physical_ids` maps the template's logical ids to the ids of what was deployed.
    """
    apis = session().client("apigatewayv2", endpoint_url=aws_endpoint_url)
    dynamodb = session().client("dynamodb", endpoint_url=aws_endpoint_url)
    for logical_id, resource in yaml.safe_load(template.read_text())["Resources"].items():
        properties = resource.get("Properties", {})
        if "CorsConfiguration" in properties and resource["Type"] == "AWS::ApiGatewayV2::Api":
            cors = _resolve(properties["CorsConfiguration"], parameters)
            apis.update_api(
                ApiId=physical_ids[logical_id], CorsConfiguration=cast("CorsTypeDef", cors)
            )
        if "TimeToLiveSpecification" in properties:
            table = physical_ids[logical_id]
            ttl = properties["TimeToLiveSpecification"]
            status = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
            if status.get("TimeToLiveStatus") != "ENABLED":
                dynamodb.update_time_to_live(
                    TableName=table,
                    TimeToLiveSpecification={
                        "AttributeName": ttl["AttributeName"],
                        "Enabled": ttl["Enabled"],
                    },
                )


def _resolve(value: Any, parameters: Mapping[str, str]) -> Any:  # noqa: ANN401 - a template's tree
    """The value with references to parameters replaced."""
    if isinstance(value, dict):
        if set(value) == {"Ref"}:
            return parameters[value["Ref"]]
        return {key: _resolve(inner, parameters) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolve(inner, parameters) for inner in value]
    return value
