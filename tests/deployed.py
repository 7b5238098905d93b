"""A stack that is already deployed, as its CloudFormation outputs and the shell's credentials tell of it.

Owns what is read from where: no process of the local cloud has to be there. With AWS_ENDPOINT_URL set the
stack is on an emulator, which serves the APIs by path, and WEB_URL says where the page is; on AWS the
outputs name everything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.page import page_config
from local.deployment import LocalUrls
from local.endpoints import Endpoints


class NotFound(Exception):
    """Says in words why there is no stack to test."""


@dataclass(frozen=True)
class Deployed:
    """callback_url: the management endpoint of the WebSocket stage."""

    endpoints: Endpoints
    outputs: Mapping[str, str]
    callback_url: str


def look_up(stack: str, environment: Mapping[str, str] | None = None) -> Deployed:
    """The stack of that name in the account and region of the shell. environment: the process's own,
    unless given. Raises NotFound."""
    session = boto3.Session()
    if not session.region_name:
        raise NotFound("No region is set: name one in AWS_DEFAULT_REGION or in your profile.")
    try:
        (found,) = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise NotFound(f"The stack {stack} cannot be looked up: {error}") from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    return from_outputs(
        stack, outputs, session.region_name, os.environ if environment is None else environment
    )


def from_outputs(
    stack: str, outputs: Mapping[str, str], region: str, environment: Mapping[str, str]
) -> Deployed:
    """The same, when the outputs are known."""
    page = page_config(outputs, region)
    http_url, ws_url, cognito_url = page["http_url"], page["ws_url"], page["cognito_url"]
    callback_url = outputs["CallbackUrl"]
    emulator = environment.get("AWS_ENDPOINT_URL")
    if emulator:
        urls = LocalUrls.from_outputs(outputs, emulator)
        http_url, ws_url, callback_url = urls.http_url, urls.ws_url, urls.callback_url
        cognito_url = emulator
    return Deployed(
        endpoints=Endpoints(
            http_url=http_url,
            ws_url=ws_url,
            web_url=environment.get("WEB_URL") or outputs["PageUrl"],
            aws_endpoint_url=cognito_url,
            region=region,
            user_pool_client_id=outputs["UserPoolClientId"],
            accounts=(),
            stack_name=stack,
            triton_grpc_url="",
        ),
        outputs=outputs,
        callback_url=callback_url,
    )
