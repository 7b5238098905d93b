"""What guards the stack: keys, sign-in, throttles, shares, firewalls, a budget; and what is skipped why.

The tables of docs/security.md are read here, so that each wildcard and each skipped check has its reason
in one place and none is left over.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.template import RESOURCES, ROOT, TEMPLATE, of_type, properties, read, references
from tests.template.test_apis import HTTP_ROUTES, WEBSOCKET_ROUTES

TEMPLATES = sorted(
    str(path.relative_to(ROOT))
    for path in (
        ROOT / "template.yaml",
        *ROOT.glob("*/template.yaml"),
        ROOT / "security/page_firewall.yaml",
    )
)
GUARDS = read("security/template.yaml")
PAGE_FIREWALL = read("security/page_firewall.yaml")
SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def rows(head: str) -> Iterator[list[str]]:
    """The cells of the table below this heading of docs/security.md."""
    section = SECURITY.partition(f"\n## {head}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    for line in lines[1:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(value: object) -> Iterator[Mapping[str, Any]]:
    """Whatever allows something, in any policy of a template. What denies takes away only."""
    if isinstance(value, Mapping):
        if "Action" in value and value.get("Effect") == "Allow":
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from statements(inner)


def written(value: object) -> str:
    """An ARN or a principal as it stands in the template, shortened to what tells it apart."""
    text = value["Fn::Sub"] if isinstance(value, Mapping) and "Fn::Sub" in value else value
    if not isinstance(text, str):
        return "!" + ", ".join(references(value))
    return text.removeprefix("arn:${AWS::Partition}:").replace(
        "${AWS::Region}:${AWS::AccountId}:", ""
    )


def wildcards(template: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Action and resource, of those that hold a star; a principal that is a star as the resource."""
    for statement in statements(template["Resources"]):
        for action in map(str, listed(statement["Action"])):
            for resource in map(written, listed(statement.get("Resource", "-"))):
                if "*" in action or "*" in resource:
                    yield action, resource
        if statement.get("Principal") in ("*", {"AWS": "*"}):
            yield "principal", "*"


class TestWildcards:
    def test_each_has_its_reason_and_none_is_left_over(self) -> None:
        told: dict[tuple[str, str], str] = {}
        for actions, resource, reason in rows("Wildcards in policies"):
            for action in re.findall(r"`([^`]+)`", actions):
                assert (action, resource) not in told
                told[action, resource.strip("`")] = reason
        found = {each for path in TEMPLATES for each in wildcards(read(path))}
        assert found - set(told) == set(), "say why, in docs/security.md"
        assert set(told) - found == set(), "nothing of the kind is there any more"
        assert all(len(reason) > 20 for reason in told.values())


class TestKey:
    def test_it_turns_and_outlives_the_stack_as_its_tables_do(self) -> None:
        key = RESOURCES["DataKey"]
        assert key["Properties"]["EnableKeyRotation"] is True
        assert key["Properties"]["PendingWindowInDays"] == 30
        assert key["DeletionPolicy"] == "RetainExceptOnCreate"
        assert key["UpdateReplacePolicy"] == "Retain"

    def test_whoever_it_lets_in_comes_through_dynamodb_from_this_account(self) -> None:
        administration, tables = properties("DataKey")["KeyPolicy"]["Statement"]
        assert administration["Principal"] == {
            "AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}
        }
        assert tables["Principal"] == {"AWS": "*"}
        assert tables["Condition"] == {
            "StringEquals": {
                "kms:CallerAccount": {"Ref": "AWS::AccountId"},
                "kms:ViaService": {"Fn::Sub": "dynamodb.${AWS::Region}.amazonaws.com"},
            }
        }
        assert not [action for action in tables["Action"] if "Delete" in action or "Put" in action]

    def test_it_can_be_left_out_and_is_not_by_default(self) -> None:
        assert RESOURCES["DataKey"]["Condition"] == "HasDataKey"
        assert TEMPLATE["Parameters"]["DataKeys"]["Default"] == "customer-managed"


class TestSignIn:
    def test_a_second_factor_is_an_app(self) -> None:
        pool = properties("UserPool")
        assert pool["MfaConfiguration"] == "OPTIONAL"
        assert pool["EnabledMfas"] == ["SOFTWARE_TOKEN_MFA"]

    def test_an_address_counts_once_it_is_proved(self) -> None:
        pool = properties("UserPool")
        proved = pool["UserAttributeUpdateSettings"]["AttributesRequireVerificationBeforeUpdate"]
        assert pool["AutoVerifiedAttributes"] == proved == ["email"]

    def test_passwords_are_long_and_tokens_short_lived(self) -> None:
        policy = properties("UserPool")["Policies"]["PasswordPolicy"]
        assert policy["MinimumLength"] >= 12
        assert policy["TemporaryPasswordValidityDays"] <= 3
        client = properties("UserPoolClient")
        units = client["TokenValidityUnits"]
        assert units == {"IdToken": "minutes", "AccessToken": "minutes", "RefreshToken": "days"}
        assert client["IdTokenValidity"] <= 60
        assert client["AccessTokenValidity"] <= 60
        assert client["RefreshTokenValidity"] <= 30
        assert client["AuthSessionValidity"] == 3

    def test_sessions_can_be_revoked_and_accounts_not_be_probed(self) -> None:
        client = properties("UserPoolClient")
        assert client["EnableTokenRevocation"] is True
        assert client["PreventUserExistenceErrors"] == "ENABLED"
        # It is on a page: what it knows everybody knows.
        assert client["GenerateSecret"] is False
        assert not [flow for flow in client["ExplicitAuthFlows"] if "ADMIN" in flow]


class TestThrottles:
    STAGES: Mapping[str, set[str]] = {
        "HttpStage": HTTP_ROUTES,
        "WebSocketStage": WEBSOCKET_ROUTES,
    }

    @pytest.mark.parametrize("stage", sorted(STAGES))
    def test_routes_that_cost_most_have_their_own(self, stage: str) -> None:
        dear = {
            "HttpStage": {
                "POST /chats/{chat_id}/messages",
                "POST /tickets",
                "DELETE /chats/{chat_id}",
            },
            "WebSocketStage": {"$connect", "send"},
        }
        settings = properties(stage)["RouteSettings"]
        assert set(settings) == dear[stage]
        assert set(settings) <= self.STAGES[stage]
        defaults = properties(stage)["DefaultRouteSettings"]
        for route, setting in settings.items():
            # A route's settings stand in place of all the defaults.
            assert set(setting) == set(defaults), route
            assert setting["ThrottlingRateLimit"] < defaults["ThrottlingRateLimit"]
            assert setting["ThrottlingBurstLimit"] < defaults["ThrottlingBurstLimit"]
            rest = {name: value for name, value in setting.items() if "Throttling" not in name}
            assert rest == {name: defaults[name] for name in rest}
            # Text would not become a number again in there.
            assert {type(value) for name, value in setting.items() if "Limit" in name} == {int}

    @pytest.mark.parametrize("stage", sorted(STAGES))
    def test_a_stage_comes_after_the_routes_that_it_names(self, stage: str) -> None:
        after = {properties(route)["RouteKey"] for route in RESOURCES[stage]["DependsOn"]}
        assert after == set(properties(stage)["RouteSettings"])

    def test_no_more_sockets_a_second_than_an_account_may_open(self) -> None:
        connect = properties("WebSocketStage")["RouteSettings"]["$connect"]
        tickets = properties("HttpStage")["RouteSettings"]["POST /tickets"]
        for name in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
            assert connect[name] == tickets[name] <= 500

    def test_the_stages_name_is_the_same_wherever_it_is_written_out(self) -> None:
        name = properties("WebSocketStage")["StageName"]
        text = (ROOT / "template.yaml").read_text(encoding="utf-8")
        said = re.findall(r"\$\{WebSocketApi\}(?:\.execute-api[^/\s]*)?/([^/\s]+)", text)
        assert len(said) >= 4
        assert {each for each in said if each not in ("*", "authorizers", "${WebSocketStage}")} == {
            name
        }


class TestOrigin:
    def test_sockets_are_opened_from_where_the_http_api_is_called_from(self) -> None:
        (origin,) = properties("HttpApi")["CorsConfiguration"]["AllowOrigins"]
        variables = properties("WsAuthorizerFunction")["Environment"]["Variables"]
        assert variables["WEB_ORIGIN"] == origin == {"Ref": "WebOrigin"}


class TestShares:
    def test_every_function_has_one_where_the_account_allows(self) -> None:
        for name in of_type("AWS::Serverless::Function"):
            condition, share, otherwise = properties(name)["ReservedConcurrentExecutions"]["Fn::If"]
            assert condition == "HasReservedConcurrency", name
            assert TEMPLATE["Parameters"][share["Ref"]]["MinValue"] == 1
            assert otherwise == {"Ref": "AWS::NoValue"}
        assert TEMPLATE["Parameters"]["ReservedConcurrency"]["Default"] == "disabled"

    def test_together_they_leave_what_lambda_keeps_for_the_rest(self) -> None:
        total = sum(
            TEMPLATE["Parameters"][
                properties(name)["ReservedConcurrentExecutions"]["Fn::If"][1]["Ref"]
            ]["Default"]
            for name in of_type("AWS::Serverless::Function")
        )
        assert total <= 1_000 - 100


class TestGuards:
    def test_they_are_nested_behind_a_condition(self) -> None:
        guards = RESOURCES["Guards"]
        assert guards["Condition"] == "HasGuards"
        assert guards["Properties"]["TemplateURL"] == "security/template.yaml"
        assert set(guards["Properties"]["Parameters"]) == set(GUARDS["Parameters"])
        assert TEMPLATE["Parameters"]["SignInFirewall"]["Default"] == "disabled"
        assert TEMPLATE["Parameters"]["MonthlyBudgetUsd"]["Default"] == 0

    def test_a_budget_tells_somebody_before_it_is_spent(self) -> None:
        budget = GUARDS["Resources"]["Budget"]
        assert budget["Condition"] == "HasBudget"
        told = budget["Properties"]["NotificationsWithSubscribers"]
        assert {
            (each["Notification"]["NotificationType"], each["Notification"]["Threshold"])
            for each in told
        } == {("ACTUAL", 80), ("FORECASTED", 100)}
        for each in told:
            assert each["Subscribers"] == [
                {"SubscriptionType": "EMAIL", "Address": {"Ref": "BudgetEmail"}}
            ]

    def test_the_pool_has_its_firewall_and_nothing_else_has(self) -> None:
        association = GUARDS["Resources"]["SignInWebAclAssociation"]["Properties"]
        assert association["ResourceArn"] == {"Ref": "UserPoolArn"}
        passed = RESOURCES["Guards"]["Properties"]["Parameters"]["UserPoolArn"]
        assert passed == {"Fn::GetAtt": "UserPool.Arn"}
        assert GUARDS["Resources"]["SignInWebAcl"]["Properties"]["Scope"] == "REGIONAL"

    def test_the_page_takes_a_firewall_of_cloudfront(self) -> None:
        config = properties("PageDistribution")["DistributionConfig"]
        assert config["WebACLId"] == {
            "Fn::If": ["HasPageWebAcl", {"Ref": "PageWebAclArn"}, {"Ref": "AWS::NoValue"}]
        }
        acl = PAGE_FIREWALL["Resources"]["PageWebAcl"]["Properties"]
        assert acl["Scope"] == "CLOUDFRONT"
        assert PAGE_FIREWALL["Outputs"]["PageWebAclArn"]["Value"] == {
            "Fn::GetAtt": "PageWebAcl.Arn"
        }
        pattern = TEMPLATE["Parameters"]["PageWebAclArn"]["AllowedPattern"]
        known = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/page/0"
        assert re.fullmatch(pattern, known)
        assert re.fullmatch(pattern, "")
        assert not re.fullmatch(pattern, known.replace("global", "regional"))

    @pytest.mark.parametrize(
        "acl",
        [
            GUARDS["Resources"]["SignInWebAcl"]["Properties"],
            PAGE_FIREWALL["Resources"]["PageWebAcl"]["Properties"],
        ],
        ids=["sign-in", "page"],
    )
    def test_a_firewall_blocks_who_comes_too_often(self, acl: Mapping[str, Any]) -> None:
        priorities = [rule["Priority"] for rule in acl["Rules"]]
        assert priorities == list(range(len(priorities)))
        (rate,) = [rule for rule in acl["Rules"] if "RateBasedStatement" in rule["Statement"]]
        assert "Block" in rate["Action"]
        managed = [rule for rule in acl["Rules"] if "OverrideAction" in rule]
        # Counting only would let all through.
        assert all(rule["OverrideAction"] == {"None": {}} for rule in managed)
        assert len(managed) == len(acl["Rules"]) - 1


class TestScan:
    CONFIG = ROOT / ".checkov.yaml"

    def test_no_skipped_check_of_a_resource_is_without_its_reason(self) -> None:
        for path in TEMPLATES:
            for name, body in read(path)["Resources"].items():
                for skip in body.get("Metadata", {}).get("checkov", {}).get("skip", []):
                    assert set(skip) == {"id", "comment"}, name
                    assert re.fullmatch(r"CKV2?_[A-Z]+_\d+", skip["id"]), name
                    assert len(skip["comment"]) > 20, name

    def test_no_skipped_class_is_without_its_reason(self) -> None:
        text = self.CONFIG.read_text(encoding="utf-8")
        skipped = yaml.safe_load(text)["skip-check"]
        for check in skipped:
            assert re.search(rf"  # [^\n]{{20,}}\n  - {check}\n", text), check
        assert len(skipped) == len(set(skipped))

    def test_all_templates_are_scanned_and_linted(self) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert (
            "TEMPLATES := $(wildcard template.yaml */template.yaml) security/page_firewall.yaml\n"
            in makefile
        )
        assert "cfn-lint $(filter-out template.yaml,$(TEMPLATES))" in makefile
        assert "checkov --config-file .checkov.yaml --file $(TEMPLATES)" in makefile
        elsewhere = {
            str(path.relative_to(ROOT))
            for path in ROOT.glob("*/*.yaml")
            if path.parent.name not in ("docs", "statemachines")
            and "AWSTemplateFormatVersion" in path.read_text(encoding="utf-8")
        }
        assert elsewhere <= set(TEMPLATES)

    def test_the_functions_environment_holds_no_secret(self) -> None:
        """Which CKV_AWS_173 is skipped for."""
        for name in of_type("AWS::Serverless::Function"):
            for variable, value in properties(name)["Environment"]["Variables"].items():
                assert not re.search("SECRET|PASSWORD|TOKEN|KEY|CREDENTIAL", variable), name
                assert "resolve:" not in str(value), (name, variable)

    def test_functions_are_called_by_those_who_hear_of_errors(self) -> None:
        """Which CKV_AWS_116 is skipped for."""
        for name in of_type("AWS::Serverless::Function"):
            assert not {"Events", "EventInvokeConfig"} & set(properties(name)), name
        for body in of_type("AWS::Lambda::Permission").values():
            assert body["Properties"]["Principal"] == "apigateway.amazonaws.com"


def test_secrets_are_in_no_template() -> None:
    for path in map(Path, TEMPLATES):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|aws_secret_access_key", text), path
