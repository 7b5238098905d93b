"""What each function is: its settings, its role, its log, its environment."""

from typing import Any

import pytest

from deploy.template import RESOURCES, TEMPLATE, of_type, properties, references

FUNCTIONS = of_type("AWS::Serverless::Function")

_TABLES = {
    "CHATS_TABLE",
    "MESSAGES_TABLE",
    "RUNS_TABLE",
    "CHECKPOINTS_TABLE",
    "LEDGERS_TABLE",
    "USAGE_TABLE",
}
_STANDING = {"CALENDARS_TABLE", "WORKERS_TABLE"}

# Beside LOG_LEVEL, which all have.
ENVIRONMENTS = {
    "HttpApiFunction": {
        *_TABLES,
        *_STANDING,
        "TICKETS_TABLE",
        "LANE_BASE_URL",
        "INBOX_BASE_URL",
        "CALLBACK_URL",
        "TIERS_PARAMETER",
        "PURGE_STATE_MACHINE_ARN",
        "PURGE_ACCOUNT_STATE_MACHINE_ARN",
        "EXPORT_STATE_MACHINE_ARN",
        "EXPORTS_BUCKET",
        "POWERTOOLS_SERVICE_NAME",
    },
    "WsAuthorizerFunction": {"TICKETS_TABLE", "WEB_ORIGIN", "POWERTOOLS_SERVICE_NAME"},
    "WsMessageFunction": {
        *_TABLES,
        *_STANDING,
        "LANE_BASE_URL",
        "INBOX_BASE_URL",
        "CALLBACK_URL",
        "TIERS_PARAMETER",
        "POWERTOOLS_SERVICE_NAME",
    },
    "PurgeChatFunction": {
        *_TABLES,
        "SUMMARIES_TABLE",
        "INBOX_BASE_URL",
        "POWERTOOLS_SERVICE_NAME",
    },
    "PurgeAccountFunction": {
        *_TABLES,
        "SUMMARIES_TABLE",
        "TICKETS_TABLE",
        "INBOX_BASE_URL",
        "EXPORTS_BUCKET",
        "USER_POOL_ID",
        "POWERTOOLS_SERVICE_NAME",
    },
    "ExportAccountFunction": {
        "CHATS_TABLE",
        "MESSAGES_TABLE",
        "SUMMARIES_TABLE",
        "LEDGERS_TABLE",
        "USAGE_TABLE",
        "EXPORTS_BUCKET",
        "USER_POOL_ID",
        "POWERTOOLS_SERVICE_NAME",
    },
    "DrainWorkerFunction": {"WORKERS_TABLE", "INBOX_BASE_URL", "POWERTOOLS_SERVICE_NAME"},
    "RedriveRunsFunction": {
        "RUNS_TABLE",
        "LEDGERS_TABLE",
        "CALENDARS_TABLE",
        "LANE_BASE_URL",
        "POWERTOOLS_SERVICE_NAME",
    },
    "CompactChatFunction": {
        "CHATS_TABLE",
        "RUNS_TABLE",
        "SUMMARIES_TABLE",
        "POWERTOOLS_SERVICE_NAME",
    },
}


def _environment(function: str) -> dict[str, Any]:
    variables: dict[str, Any] = properties(function)["Environment"]["Variables"]
    return variables


def test_functions_are_those_of_the_design() -> None:
    assert set(FUNCTIONS) == set(ENVIRONMENTS)


def test_every_function_runs_on_the_chosen_runtime_with_both_layers() -> None:
    assert TEMPLATE["Globals"]["Function"]["Runtime"] == {"Ref": "LambdaRuntime"}
    assert TEMPLATE["Globals"]["Function"]["Handler"] == "app.handler"
    layers = {layer["Ref"] for layer in TEMPLATE["Globals"]["Function"]["Layers"]}
    assert layers == set(of_type("AWS::Serverless::LayerVersion"))
    for name in FUNCTIONS:
        assert not {"Runtime", "Handler", "Layers"} & set(properties(name))


@pytest.mark.parametrize("function", sorted(ENVIRONMENTS))
def test_environment_holds_what_the_function_needs_and_nothing_else(function: str) -> None:
    assert set(_environment(function)) == ENVIRONMENTS[function]


def test_what_all_functions_get_is_the_log_level() -> None:
    assert set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]) == {"LOG_LEVEL"}


@pytest.mark.parametrize("function", sorted(ENVIRONMENTS))
def test_table_names_name_their_tables(function: str) -> None:
    for name, value in _environment(function).items():
        if name.endswith("_TABLE"):
            table = name.removesuffix("_TABLE").capitalize() + "Table"
            assert value == {"Ref": table}


@pytest.mark.parametrize("function", sorted(ENVIRONMENTS))
def test_service_name_is_the_name_of_the_functions_folder(function: str) -> None:
    assert (
        properties(function)["CodeUri"]
        == f"functions/{_environment(function)['POWERTOOLS_SERVICE_NAME']}"
    )


@pytest.mark.parametrize("function", sorted(ENVIRONMENTS))
def test_function_answers_before_the_gateway_gives_up(function: str) -> None:
    assert 0 < properties(function)["Timeout"] < 29


def test_every_function_has_a_role_of_its_own() -> None:
    roles = [next(references(properties(name)["Role"])) for name in FUNCTIONS]
    assert len(set(roles)) == len(FUNCTIONS)
    assert all(RESOURCES[role]["Type"] == "AWS::IAM::Role" for role in roles)


def test_every_function_has_a_log_of_its_own_that_its_role_may_write() -> None:
    groups = []
    for name in FUNCTIONS:
        group = properties(name)["LoggingConfig"]["LogGroup"]["Ref"]
        role = next(references(properties(name)["Role"]))
        groups.append(group)
        assert RESOURCES[group]["Type"] == "AWS::Logs::LogGroup"
        assert group in set(references(properties(role)["Policies"]))
    assert len(set(groups)) == len(groups)


def test_every_log_group_forgets() -> None:
    for name in of_type("AWS::Logs::LogGroup"):
        assert properties(name)["RetentionInDays"] <= 30, name


def test_callback_url_is_the_same_for_all_that_have_it() -> None:
    urls = [
        environment["CALLBACK_URL"]
        for environment in map(_environment, FUNCTIONS)
        if "CALLBACK_URL" in environment
    ]
    assert len(urls) == 2
    assert urls[0] == urls[1]
