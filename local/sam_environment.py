"""`python -m local.sam_environment`: the file for `sam local invoke --env-vars`, of the running local cloud.

Owns its shape. SAM fills a template's references in with their own names, since it deploys nothing: here
each function gets the settings that it has on the emulator, and the way there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.ministack import aws_environment, session

_ENDPOINTS = Path(__file__).parents[1] / ".local" / "endpoints.json"
_FUNCTION = "AWS::Lambda::Function"


def of_functions(
    functions: Mapping[str, Mapping[str, str]], aws_endpoint_url: str
) -> dict[str, dict[str, str]]:
    """functions: the environment of each as it is deployed, by its logical id."""
    way = aws_environment(aws_endpoint_url)
    return {name: {**variables, **way} for name, variables in sorted(functions.items())}


def deployed(stack_name: str, aws_endpoint_url: str) -> dict[str, dict[str, str]]:
    """The environment of every function of the stack, by its logical id."""
    cloudformation = session().client("cloudformation", endpoint_url=aws_endpoint_url)
    lambdas: Any = session().client("lambda", endpoint_url=aws_endpoint_url)
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack_name)
    return {
        resource["LogicalResourceId"]: lambdas.get_function_configuration(
            FunctionName=resource["PhysicalResourceId"]
        )["Environment"]["Variables"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == _FUNCTION
    }


def main() -> int:
    """Returns the exit code."""
    if not _ENDPOINTS.is_file():
        print("The local cloud does not run: start it with `make run`.", file=sys.stderr)
        return 1
    told = json.loads(_ENDPOINTS.read_text())
    found = deployed(told["stack_name"], told["aws_endpoint_url"])
    print(json.dumps(of_functions(found, told["aws_endpoint_url"]), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
