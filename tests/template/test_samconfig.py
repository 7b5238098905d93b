"""How the stack is deployed: carefully to AWS, without questions to the emulator."""

import tomllib

from deploy.template import ROOT, TEMPLATE

CONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))


def test_a_person_confirms_what_changes_on_aws() -> None:
    assert CONFIG["default"]["deploy"]["parameters"]["confirm_changeset"] is True


def test_the_local_deploy_asks_nothing_and_takes_no_change_for_success() -> None:
    deploy = CONFIG["local"]["deploy"]["parameters"]
    assert deploy["confirm_changeset"] is False
    assert deploy["fail_on_empty_changeset"] is False
    assert CONFIG["local"]["global"]["parameters"] == {
        "stack_name": "chatcore-local",
        "region": "us-east-1",
    }


def test_overrides_name_parameters_that_exist() -> None:
    overrides = CONFIG["default"]["deploy"]["parameters"]["parameter_overrides"]
    assert {pair.partition("=")[0] for pair in overrides.split()} <= set(TEMPLATE["Parameters"])
