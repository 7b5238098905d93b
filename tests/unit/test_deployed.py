"""Where the tests of a deployed stack find it: by its outputs, on AWS and on an emulator."""

import ast

import pytest

from deploy.template import ROOT, TEMPLATE
from tests.deployed import NotFound, from_outputs, look_up

OUTPUTS = {
    **{name: f"the {name}" for name in TEMPLATE["Outputs"]},
    "HttpUrl": "https://abc.execute-api.eu-central-1.amazonaws.com",
    "WsUrl": "wss://def.execute-api.eu-central-1.amazonaws.com/v1",
    "CallbackUrl": "https://def.execute-api.eu-central-1.amazonaws.com/v1",
    "PageUrl": "https://d1.cloudfront.net",
}
# What only the local cloud has. A test that asks for it is left out where there is none.
OF_PROCESSES = {
    "stack",
    "workers",
    "add_worker",
    "kill_worker",
    "stop_worker",
    "worker_of",
}


def test_on_aws_everything_is_as_the_outputs_say() -> None:
    found = from_outputs("chatcore", OUTPUTS, "eu-central-1", {})
    assert found.endpoints.http_url == OUTPUTS["HttpUrl"]
    assert found.endpoints.ws_url == OUTPUTS["WsUrl"]
    assert found.endpoints.web_url == OUTPUTS["PageUrl"]
    assert found.callback_url == OUTPUTS["CallbackUrl"]
    assert found.endpoints.aws_endpoint_url == "https://cognito-idp.eu-central-1.amazonaws.com"
    assert found.endpoints.user_pool_client_id == OUTPUTS["UserPoolClientId"]
    assert (found.endpoints.stack_name, found.endpoints.region) == ("chatcore", "eu-central-1")


def test_on_an_emulator_the_apis_are_reached_by_path_and_the_page_is_where_it_is_said_to_be() -> (
    None
):
    environment = {"AWS_ENDPOINT_URL": "http://localhost:4566", "WEB_URL": "http://localhost:8400"}
    found = from_outputs("chatcore-run", OUTPUTS, "us-east-1", environment)
    apis = "localhost:4566/_aws/execute-api"
    assert found.endpoints.http_url == f"http://{apis}/abc/$default"
    assert found.endpoints.ws_url == f"ws://{apis}/def/v1"
    assert found.callback_url == f"http://{apis}/def/v1"
    assert found.endpoints.aws_endpoint_url == "http://localhost:4566"
    assert found.endpoints.web_url == "http://localhost:8400"


def test_without_a_region_that_is_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(NotFound, match="No region"):
        look_up("chatcore")


def _marks(node: ast.AST) -> set[str]:
    """The words after `pytest.mark.` in it."""
    return {
        each.attr
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute)
        and isinstance(each.value, ast.Attribute)
        and each.value.attr == "mark"
    }


def _asks_for_processes(node: ast.AST) -> bool:
    """By the cloud's own words, or by the number of slots, which only the local one's is known."""
    return any(
        (isinstance(each, ast.Name) and each.id in {"SLOTS", "WORKERS"})
        or (
            isinstance(each, ast.Attribute)
            and each.attr in OF_PROCESSES
            and isinstance(each.value, ast.Name)
            and each.value.id == "cloud"
        )
        for each in ast.walk(node)
    )


def _fixtures_asked_for(test: ast.FunctionDef) -> set[str]:
    by_name = {argument.arg for argument in test.args.args}
    in_marks = {
        each.value
        for decorator in test.decorator_list
        for each in ast.walk(decorator)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }
    return by_name | in_marks


def test_every_test_that_needs_processes_is_marked() -> None:
    for folder in ("e2e", "integration"):
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            of_all = {
                mark
                for node in body
                if isinstance(node, ast.Assign)
                and [t.id for t in node.targets if isinstance(t, ast.Name)] == ["pytestmark"]
                for mark in _marks(node)
            }
            functions = [node for node in body if isinstance(node, ast.FunctionDef)]
            needy = {node.name for node in functions if _asks_for_processes(node)}
            for node in functions:
                if node.name.startswith("test_"):
                    marks = of_all.union(*(_marks(each) for each in node.decorator_list))
                    asks = node.name in needy or needy & _fixtures_asked_for(node)
                    assert "local" in marks or not asks, (path, node.name)
