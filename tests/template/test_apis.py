"""Who is let in: sign-in, the HTTP API, the WebSocket API; and what the stack tells of itself."""

import json

from deploy.template import RESOURCES, TEMPLATE, of_type, properties, references

HTTP_ROUTES = {
    "POST /chats",
    "GET /chats",
    "GET /chats/{chat_id}",
    "PATCH /chats/{chat_id}",
    "DELETE /chats/{chat_id}",
    "GET /chats/{chat_id}/messages",
    "POST /chats/{chat_id}/messages",
    "GET /runs/{run_id}",
    "POST /runs/{run_id}/cancel",
    "POST /tickets",
    "GET /me",
    "GET /me/usage",
    "DELETE /me",
    "POST /me/export",
    "GET /me/export/{export_id}",
}
WEBSOCKET_ROUTES = {"$connect", "send", "cancel", "attach", "watch", "ping", "$default"}
OUTPUTS = {
    "PageBucketName",
    "PageUrl",
    "HttpUrl",
    "WsUrl",
    "CallbackUrl",
    "UserPoolId",
    "UserPoolClientId",
    "ChatsTable",
    "MessagesTable",
    "SummariesTable",
    "RunsTable",
    "CheckpointsTable",
    "LedgersTable",
    "UsageTable",
    "CalendarsTable",
    "WorkersTable",
    "TicketsTable",
    "LaneBaseUrl",
    "InboxBaseUrl",
    "TiersParameter",
    "DeadLetterQueueUrl",
    "PurgeStateMachineArn",
    "CompactStateMachineArn",
    "PurgeAccountStateMachineArn",
    "ExportStateMachineArn",
    "ExportsBucketName",
    "DrainStateMachineArn",
    "RedriveStateMachineArn",
}


def _routes(api: str) -> dict[str, str]:
    """Logical ids of an API's routes by route key."""
    found = [
        (body["Properties"]["RouteKey"], name)
        for name, body in of_type("AWS::ApiGatewayV2::Route").items()
        if body["Properties"]["ApiId"] == {"Ref": api}
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def _integration(route: str) -> str:
    (name,) = references(properties(route)["Target"])
    return name


def test_users_cannot_write_their_tier() -> None:
    (client,) = of_type("AWS::Cognito::UserPoolClient")
    writable = properties(client)["WriteAttributes"]
    assert writable == ["email"]
    assert "custom:tier" in properties(client)["ReadAttributes"]


def test_clients_are_public_and_sign_in_by_password() -> None:
    (client,) = of_type("AWS::Cognito::UserPoolClient")
    assert properties(client)["GenerateSecret"] is False
    assert set(properties(client)["ExplicitAuthFlows"]) == {
        "ALLOW_USER_PASSWORD_AUTH",
        "ALLOW_USER_SRP_AUTH",
        "ALLOW_REFRESH_TOKEN_AUTH",
    }
    assert properties("UserPool")["UsernameAttributes"] == ["email"]


def test_http_routes_are_those_of_the_protocol() -> None:
    assert set(_routes("HttpApi")) == HTTP_ROUTES


def test_every_http_route_wants_a_token_of_this_pool_and_client() -> None:
    for route in _routes("HttpApi").values():
        assert properties(route)["AuthorizationType"] == "JWT", route
        assert properties(route)["AuthorizerId"] == {"Ref": "UserAuthorizer"}, route
    authorizer = properties("UserAuthorizer")
    assert authorizer["AuthorizerType"] == "JWT"
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]
    assert authorizer["JwtConfiguration"] == {
        "Issuer": {"Fn::Sub": "https://${UserPool.ProviderName}"},
        "Audience": [{"Ref": "UserPoolClient"}],
    }


def test_browsers_are_let_in_from_one_origin_with_the_methods_of_the_routes() -> None:
    cors = properties("HttpApi")["CorsConfiguration"]
    assert cors["AllowOrigins"] == [{"Ref": "WebOrigin"}]
    assert set(cors["AllowMethods"]) == {key.split()[0] for key in HTTP_ROUTES}
    assert set(cors["AllowHeaders"]) == {"authorization", "content-type"}
    assert "AllowCredentials" not in cors
    assert "*" not in TEMPLATE["Parameters"]["WebOrigin"]["Default"]


def test_websocket_routes_are_those_of_the_protocol() -> None:
    assert set(_routes("WebSocketApi")) == WEBSOCKET_ROUTES
    assert properties("WebSocketApi")["RouteSelectionExpression"] == "$request.body.action"


def test_connecting_takes_a_ticket_and_runs_nothing_else() -> None:
    route = _routes("WebSocketApi")["$connect"]
    assert properties(route)["AuthorizationType"] == "CUSTOM"
    assert properties(route)["AuthorizerId"] == {"Ref": "TicketAuthorizer"}
    authorizer = properties("TicketAuthorizer")
    assert authorizer["AuthorizerType"] == "REQUEST"
    assert authorizer["IdentitySource"] == ["route.request.querystring.ticket"]
    assert "AuthorizerResultTtlInSeconds" not in authorizer
    assert "WsAuthorizerFunction" in set(references(authorizer["AuthorizerUri"]))
    mock = properties(_integration(route))
    assert mock["IntegrationType"] == "MOCK"
    template = mock["RequestTemplates"][mock["TemplateSelectionExpression"]]
    assert json.loads(template) == {"statusCode": 200}


def test_frames_go_to_ws_message() -> None:
    for key, route in _routes("WebSocketApi").items():
        if key != "$connect":
            uri = properties(_integration(route))["IntegrationUri"]
            assert "WsMessageFunction" in set(references(uri)), key


def test_nothing_is_used_that_the_emulator_refuses() -> None:
    refused = {"AWS::ApiGatewayV2::RouteResponse", "AWS::ApiGatewayV2::IntegrationResponse"}
    unheard = {"AWS::Serverless::HttpApi", "AWS::Serverless::Api"}
    assert not {body["Type"] for body in RESOURCES.values()} & (refused | unheard)


def test_every_stage_is_throttled_and_together_they_leave_room_for_callbacks() -> None:
    settings = [
        body["Properties"]["DefaultRouteSettings"]
        for body in of_type("AWS::ApiGatewayV2::Stage").values()
    ]
    assert len(settings) == 2
    assert sum(setting["ThrottlingRateLimit"] for setting in settings) <= 5_000
    assert sum(setting["ThrottlingBurstLimit"] for setting in settings) <= 2_500


def test_logs_hold_neither_frames_nor_tickets() -> None:
    stage = properties("WebSocketStage")
    assert stage["DefaultRouteSettings"]["DataTraceEnabled"] is False
    for name in of_type("AWS::ApiGatewayV2::Stage"):
        written = json.dumps(properties(name)["AccessLogSettings"]).lower()
        assert "$context.requestid" in written
        assert not any(word in written for word in ("querystring", "header", "ticket"))


def test_outputs_are_those_that_the_rest_reads() -> None:
    assert set(TEMPLATE["Outputs"]) == OUTPUTS


def test_queue_urls_told_to_functions_are_those_of_the_outputs() -> None:
    variables = properties("HttpApiFunction")["Environment"]["Variables"]
    for name, output in (("LANE_BASE_URL", "LaneBaseUrl"), ("INBOX_BASE_URL", "InboxBaseUrl")):
        assert variables[name] == TEMPLATE["Outputs"][output]["Value"]
