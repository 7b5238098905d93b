"""What the emulator leaves out of the deployed template, made good by calls to its APIs.

Owns the list of these gaps; the values stay the template's. Nothing here is needed on AWS. MiniStack
1.5.33 keeps a CORS configuration under names that it does not look up afterwards, so that it refuses
every preflight, and does not turn a table's TTL on. A version of a function is made for changed
parameters, too, which SAM does not do on AWS either (docs/upgrades.md).
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
    functions: Any = session().client("lambda", endpoint_url=aws_endpoint_url)
    built = yaml.safe_load(template.read_text())
    alias = built.get("Globals", {}).get("Function", {}).get("AutoPublishAlias")
    for logical_id, resource in built["Resources"].items():
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
        if alias and resource["Type"] == "AWS::Serverless::Function":
            publish_changed(functions, physical_ids[logical_id], alias)


def publish_changed(
    functions: Any,  # noqa: ANN401 - boto3's client of Lambda, whose types are not installed
    function: str,
    alias: str,
) -> None:
    """A version for what only a parameter has changed, such as the port of the emulator itself: SAM
    makes one for a change of the template only, and the kept state may hold that of another start."""
    latest = functions.get_function_configuration(FunctionName=function)
    called = functions.get_function_configuration(FunctionName=function, Qualifier=alias)
    if latest["Environment"] != called["Environment"]:
        version = functions.publish_version(FunctionName=function)["Version"]
        functions.update_alias(FunctionName=function, Name=alias, FunctionVersion=version)


def _resolve(value: Any, parameters: Mapping[str, str]) -> Any:  # noqa: ANN401 - a template's tree
    """The value with references to parameters replaced."""
    if isinstance(value, dict):
        if set(value) == {"Ref"}:
            return parameters[value["Ref"]]
        return {key: _resolve(inner, parameters) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolve(inner, parameters) for inner in value]
    return value
