"""The parameter that the tiers' settings live in."""

from chatcore.domain.tier_document import parse_tiers, tiers_document
from chatcore.domain.tiers import DEFAULTS
from deploy.template import TEMPLATE, of_type, properties

STANDARD_PARAMETER_BYTES = 4096
"""Vendor's page: Managing parameter tiers. A greater one costs, and is of another type."""


def test_it_begins_with_the_built_in_settings() -> None:
    value = properties("TiersParameter")["Value"]
    assert value == tiers_document(DEFAULTS)
    assert parse_tiers(value) == DEFAULTS


def test_it_is_a_plain_parameter_of_this_stack() -> None:
    assert set(of_type("AWS::SSM::Parameter")) == {"TiersParameter"}
    found = properties("TiersParameter")
    assert found["Name"] == {"Fn::Sub": "/${AWS::StackName}/tiers"}
    assert found["Type"] == "String"
    assert len(found["Value"].encode()) < STANDARD_PARAMETER_BYTES / 2


def test_functions_that_decide_by_it_and_workers_are_told_its_name() -> None:
    told = {
        name: variables["TIERS_PARAMETER"]
        for name, body in of_type("AWS::Serverless::Function").items()
        if "TIERS_PARAMETER" in (variables := body["Properties"]["Environment"]["Variables"])
    }
    name = {"Ref": "TiersParameter"}
    assert told == {"HttpApiFunction": name, "WsMessageFunction": name}
    assert TEMPLATE["Outputs"]["TiersParameter"]["Value"] == name
