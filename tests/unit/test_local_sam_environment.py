"""What `sam local invoke` gives each function: its own settings, and the way to the emulator."""

from local.sam_environment import of_functions


def test_every_function_has_its_settings_and_the_way_to_the_emulator() -> None:
    functions = {
        "WsMessageFunction": {"CHATS_TABLE": "run-chats", "LOG_LEVEL": "INFO"},
        "HttpApiFunction": {"TICKETS_TABLE": "run-tickets", "AWS_REGION": "elsewhere"},
    }
    found = of_functions(functions, "http://localhost:4566")
    assert list(found) == ["HttpApiFunction", "WsMessageFunction"]
    assert found["WsMessageFunction"]["CHATS_TABLE"] == "run-chats"
    for variables in found.values():
        assert variables["AWS_ENDPOINT_URL"] == "http://localhost:4566"
        assert variables["AWS_REGION"] == "us-east-1"
        assert variables["AWS_ACCESS_KEY_ID"]
