"""The version that a changed parameter makes, where SAM makes none."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from local.gaps import publish_changed


@dataclass
class Functions:
    """Lambda's API for one function with an alias."""

    latest: dict[str, Any]
    called: dict[str, Any]
    moved_to: list[str] = field(default_factory=list)

    def get_function_configuration(self, **asked: str) -> dict[str, Any]:
        return self.called if "Qualifier" in asked else self.latest

    def publish_version(self, **_: str) -> dict[str, str]:
        return {"Version": "7"}

    def update_alias(self, **to: str) -> None:
        self.moved_to.append(f"{to['FunctionName']}:{to['Name']}={to['FunctionVersion']}")


def configuration(port: int) -> dict[str, Any]:
    return {"Environment": {"Variables": {"CALLBACK_URL": f"http://localhost:{port}"}}}


@pytest.mark.parametrize(
    ("latest", "called", "moved_to"), [(4567, 4566, ["one:live=7"]), (4566, 4566, [])]
)
def test_the_alias_moves_where_the_settings_have_changed(
    latest: int, called: int, moved_to: list[str]
) -> None:
    functions = Functions(configuration(latest), configuration(called))
    publish_changed(functions, "one", "live")
    assert functions.moved_to == moved_to
