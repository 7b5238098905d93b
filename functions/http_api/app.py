"""The HTTP API: each route parses, calls one service and replies. Errors are RFC 9457 documents."""

import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from mangum import Mangum
from starlette.exceptions import HTTPException

from chatcore.adapters.apigateway import ApiGatewayPosts, callback_client
from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.measures import of_refusal, of_send
from chatcore.adapters.s3 import S3ExportFiles, s3_client
from chatcore.adapters.sqs import SqsInboxes, SqsLanes, sqs_client
from chatcore.adapters.ssm import SsmTiers, ssm_client
from chatcore.adapters.stepfunctions import (
    StatesAccountPurges,
    StatesExportJobs,
    StatesPurges,
    states_client,
)
from chatcore.adapters.trace import current_parent, current_trace_id
from chatcore.domain.admission import Send
from chatcore.domain.errors import Code, Refusal, Retryable
from chatcore.domain.identity import User, may_be_id
from chatcore.domain.moment import rfc3339
from chatcore.domain.run import TERMINAL
from chatcore.domain.tiers import tier_of
from chatcore.domain.usage import MAX_DAYS
from chatcore.protocol import cursor as cursors
from chatcore.protocol import http
from chatcore.services import accounts, chats
from chatcore.services import export as exports
from chatcore.services.cancel import cancel
from chatcore.services.runs import get_run
from chatcore.services.submit import submit
from chatcore.services.tell import tell_others, tell_viewers
from chatcore.services.tickets import RANDOM_BYTES, issue_ticket
from chatcore.services.usage import read_usage
from chatcore.settings import HttpApiSettings

T = TypeVar("T")

MAX_BODY_BYTES = 131_072
STATUS = {
    Code.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    Code.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.ROUTE_NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Code.CHAT_NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.RUN_NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.EXPORT_NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.ACCOUNT_CLOSED: HTTPStatus.FORBIDDEN,
    Code.MESSAGE_CONFLICT: HTTPStatus.CONFLICT,
    Code.RUN_ACTIVE: HTTPStatus.CONFLICT,
    Code.TOO_MANY_ACTIVE_RUNS: HTTPStatus.TOO_MANY_REQUESTS,
    Code.BUDGET_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.TIER_PAUSED: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.QUEUE_TOO_OLD: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""All other codes are the client's mistake: 400."""

settings = HttpApiSettings.read()
stores = dynamo_stores(open_tables(settings.tables))
_sqs = sqs_client()
lanes = SqsLanes(_sqs, settings.lane_base_url)
inboxes = SqsInboxes(_sqs, settings.inbox_base_url)
posts = ApiGatewayPosts(callback_client(settings.callback_url))
_states = states_client()
purges = StatesPurges(_states, settings.purge_state_machine_arn)
account_purges = StatesAccountPurges(_states, settings.purge_account_state_machine_arn)
export_jobs = StatesExportJobs(_states, settings.export_state_machine_arn)
export_files = S3ExportFiles(s3_client(), settings.exports_bucket)
logger = Logger()
tiers = SsmTiers(ssm_client(), settings.tiers_parameter, logger, now_ms)


class Refused(Exception):
    """Carries a refusal out of a route to the one place that makes a problem document of it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def problem(request: Request, refusal: Refusal) -> JSONResponse:
    status = STATUS.get(refusal.code, HTTPStatus.BAD_REQUEST)
    body = http.Problem(
        type=f"urn:chatcore:error:{refusal.code}",
        title=status.phrase,
        status=status,
        detail=refusal.message,
        code=refusal.code,
        retry_at=None if refusal.retry_at_ms is None else rfc3339(refusal.retry_at_ms),
    )
    headers = {}
    if refusal.retry_at_ms is not None:
        # Rounded up: who waits exactly as long must not be too early.
        headers["retry-after"] = str(max(1, (refusal.retry_at_ms - now_ms() + 999) // 1000))
    measured = of_refusal(logger.service, refusal.code, getattr(request.state, "tier", None))
    logger.info("request.refused", extra={"code": str(refusal.code), **measured})
    return JSONResponse(
        body.model_dump(exclude_none=True),
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )


app = FastAPI(
    title="chatcore HTTP API",
    version="1",
    description="Chats, messages, runs and tickets. Answers stream over the WebSocket API.",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    generate_unique_id_function=lambda route: route.name,
    responses={"default": {"model": http.Problem, "description": "RFC 9457 problem document"}},
    dependencies=[
        Depends(
            HTTPBearer(
                scheme_name="id_token",
                bearerFormat="JWT",
                description="The ID token of the Cognito user pool; its access token is refused.",
                auto_error=False,
            )
        )
    ],
)


@app.middleware("http")
async def _limit_body(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    length = request.headers.get("content-length", "0")
    if (int(length) if length.isdigit() else 0) > MAX_BODY_BYTES or len(
        await request.body()
    ) > MAX_BODY_BYTES:
        return problem(
            request,
            Refusal(Code.BODY_TOO_LARGE, f"A request body has at most {MAX_BODY_BYTES} bytes."),
        )
    return await call_next(request)


@app.exception_handler(Refused)
def _on_refused(request: Request, error: Refused) -> Response:
    return problem(request, error.refusal)


@app.exception_handler(RequestValidationError)
def _on_invalid(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    if first["type"] == "json_invalid":
        return problem(request, Refusal(Code.BODY_NOT_JSON, "The request body is not JSON."))
    return problem(request, Refusal(Code.FIELD_INVALID, f"{place}: {first['msg']}."))


@app.exception_handler(HTTPException)
def _on_http(request: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return problem(request, Refusal(Code.METHOD_NOT_ALLOWED, "This path has no such method."))
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problem(request, Refusal(Code.ROUTE_NOT_FOUND, "There is no such path."))
    return problem(request, Refusal(Code.BODY_NOT_JSON, "The request body cannot be read."))


@app.exception_handler(Retryable)
def _on_retryable(request: Request, error: Retryable) -> Response:
    logger.warning("request.busy", extra={"reason": repr(error)})
    return problem(request, Refusal(Code.BUSY, "That did not work just now. Please try again."))


@app.exception_handler(Exception)
def _on_fault(request: Request, error: Exception) -> Response:
    logger.error("request.failed", exc_info=error)
    return problem(request, Refusal(Code.INTERNAL_ERROR, "Something went wrong on our side."))


def _claims(request: Request) -> dict[str, str]:
    event = request.scope.get("aws.event") or {}
    authorizer = event.get("requestContext", {}).get("authorizer", {})
    claims: dict[str, str] = authorizer.get("jwt", {}).get("claims", {})
    # API Gateway takes access tokens too; only the ID token says who somebody is and his tier.
    if not claims.get("sub") or claims.get("token_use") != "id":
        raise Refused(Refusal(Code.UNAUTHORIZED, "Please sign in."))
    return claims


Claims = Annotated[dict[str, str], Depends(_claims)]


def _user(request: Request, claims: Claims) -> User:
    user = User(claims["sub"], tier_of(claims.get("custom:tier")))
    # For the metrics of a refusal, which is made a document of where nobody knows the user.
    request.state.tier = user.tier
    return user


def _trace_id(request: Request) -> str:
    trace_id = current_trace_id(request.scope["aws.context"].aws_request_id)
    logger.append_keys(trace_id=trace_id)
    return trace_id


def _chat_id(chat_id: str) -> str:
    if not may_be_id(chat_id):
        raise Refused(Refusal(Code.CHAT_NOT_FOUND, "There is no such chat."))
    return chat_id


def _run_id(run_id: str) -> str:
    if not may_be_id(run_id):
        raise Refused(Refusal(Code.RUN_NOT_FOUND, "There is no such run."))
    return run_id


def _export_id(export_id: str) -> str:
    if not may_be_id(export_id):
        raise Refused(Refusal(Code.EXPORT_NOT_FOUND, "There is no such export."))
    return export_id


Verified = Annotated[User, Depends(_user)]
ChatId = Annotated[str, Depends(_chat_id)]
RunId = Annotated[str, Depends(_run_id)]
ExportId = Annotated[str, Depends(_export_id)]
TraceId = Annotated[str, Depends(_trace_id)]
Limit = Annotated[int, Query(ge=1, le=100, description="The most entries of a page.")]
Days = Annotated[int, Query(ge=1, le=MAX_DAYS, description="So many, today included.")]
Cursor = Annotated[
    str | None,
    Query(description="next_cursor of the page before; none for the first page. Opaque."),
]


def _place(cursor: str | None, named: bool) -> tuple[int, str] | None:
    return None if cursor is None else _granted(cursors.decode(cursor, named))


def _granted(outcome: T | Refusal) -> T:
    if isinstance(outcome, Refusal):
        raise Refused(outcome)
    return outcome


def _export_body(export: exports.Export) -> http.ExportBody:
    return http.ExportBody.of(
        export.export_id, export.state, export.manifest, export.links, export.links_end_ms
    )


@app.post("/chats", status_code=HTTPStatus.CREATED)
def create_chat(user: Verified, body: http.NewChat) -> http.ChatBody:
    random_bytes = secrets.token_bytes(16)
    chat = _granted(chats.create_chat(stores, user, body.title, random_bytes, now_ms()))
    return http.ChatBody.of(chat)


@app.get("/chats")
def list_chats(user: Verified, limit: Limit = 30, cursor: Cursor = None) -> http.ChatList:
    """Latest activity first."""
    page = chats.list_chats(stores, user, limit, _place(cursor, named=True))
    return http.ChatList(
        chats=[http.ChatBody.of(chat) for chat in page.items],
        next_cursor=page.next_key and cursors.encode(page.next_key),
    )


@app.get("/chats/{chat_id}")
def read_chat(user: Verified, chat_id: ChatId) -> http.ChatBody:
    found = _granted(chats.open_chat(stores, user, chat_id))
    return http.ChatBody.of(found.chat, found.active_run)


@app.patch("/chats/{chat_id}")
def rename_chat(user: Verified, chat_id: ChatId, body: http.ChatChanges) -> http.ChatBody:
    return http.ChatBody.of(_granted(chats.rename_chat(stores, user, chat_id, body.title)))


@app.delete("/chats/{chat_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_chat(user: Verified, chat_id: ChatId) -> None:
    """Hidden at once; its run is stopped, and all of it is removed soon after."""
    deleted = _granted(chats.delete_chat(stores, inboxes, purges, user, chat_id, now_ms()))
    if deleted.ended_run is not None:
        tell_viewers(posts, deleted.ended_run)


@app.get("/chats/{chat_id}/messages")
def list_messages(
    user: Verified, chat_id: ChatId, limit: Limit = 50, cursor: Cursor = None
) -> http.MessageList:
    """The newest page first; within a page, in reading order."""
    before = _place(cursor, named=False)
    page = _granted(
        chats.list_messages(stores, user, chat_id, limit, before[0] if before else None)
    )
    return http.MessageList(
        messages=[http.MessageBody.of(message) for message in reversed(page.items)],
        next_cursor=page.next_key and cursors.encode(page.next_key),
    )


@app.post(
    "/chats/{chat_id}/messages",
    status_code=HTTPStatus.ACCEPTED,
    responses={200: {"model": http.RunBody, "description": "A repeat: the run as it stands"}},
)
def send_message(
    user: Verified, trace_id: TraceId, chat_id: ChatId, body: http.NewMessage, response: Response
) -> http.RunBody:
    """202 for a new run, 200 for a repeat of a send that is known already."""
    send = Send(
        user=user,
        chat_id=chat_id,
        message_id=body.message_id,
        text=body.text,
        trace_id=trace_id,
        trace_parent=current_parent(),
    )
    submitted = _granted(submit(stores, lanes, inboxes, tiers.current(), send, now_ms()))
    run_id = submitted.run.run_id
    measured = of_send(logger.service, user.tier, submitted.repeat)
    logger.info("run.submitted", extra={"run_id": run_id, "repeat": submitted.repeat, **measured})
    if submitted.repeat:
        response.status_code = HTTPStatus.OK
    elif submitted.wait is not None:
        tell_others(posts, submitted.run, submitted.wait, None)
    return http.RunBody.of(submitted.run)


@app.get("/runs/{run_id}")
def read_run(user: Verified, run_id: RunId) -> http.RunBody:
    return http.RunBody.of(_granted(get_run(stores, user, run_id)))


@app.post(
    "/runs/{run_id}/cancel",
    responses={202: {"model": http.RunBody, "description": "Running still; its worker stops it"}},
)
def cancel_run(user: Verified, run_id: RunId, response: Response) -> http.RunBody:
    """200 with the terminal state, or 202 while its worker is still stopping it."""
    run = _granted(cancel(stores, inboxes, user, run_id, now_ms()))
    if run.status in TERMINAL:
        tell_viewers(posts, run)
    else:
        response.status_code = HTTPStatus.ACCEPTED
    return http.RunBody.of(run)


@app.post("/tickets", status_code=HTTPStatus.CREATED)
def create_ticket(user: Verified) -> http.TicketBody:
    """A single-use right to open a socket within 30 seconds."""
    issued = issue_ticket(stores.tickets, user, secrets.token_bytes(RANDOM_BYTES), now_ms())
    return http.TicketBody(ticket=issued.ticket, expires_at=rfc3339(issued.expires_ms))


@app.get("/me")
def read_account(user: Verified, claims: Claims) -> http.AccountBody:
    return http.AccountBody.of(
        email=claims.get("email"),
        tier=user.tier,
        ledger=stores.ledgers.get(user.user_id),
        limits=tiers.current()[user.tier],
        now_ms=now_ms(),
    )


@app.delete("/me", status_code=HTTPStatus.ACCEPTED)
def delete_account(
    user: Verified, claims: Claims, body: http.AccountDeletion
) -> http.AccountDeletedBody:
    """Closed at once; all there is of the user is removed soon after, and he cannot sign in any more.
    There is no way back. Asking again changes nothing."""
    closed = _granted(
        accounts.delete_account(
            stores,
            inboxes,
            account_purges,
            user,
            claims.get("email", ""),
            body.email,
            now_ms(),
        )
    )
    for run in closed.ended_runs:
        tell_viewers(posts, run)
    logger.info("account.closed", extra={"ended_runs": len(closed.ended_runs)})
    return http.AccountDeletedBody.of(closed.closed_ms)


@app.post("/me/export", status_code=HTTPStatus.ACCEPTED)
def start_export(user: Verified) -> http.ExportBody:
    """Have all that there is of the user written to files. One an hour: asked for again, the same."""
    return _export_body(_granted(exports.start_export(stores, export_jobs, user, now_ms())))


@app.get("/me/export/{export_id}")
def read_export(user: Verified, export_id: ExportId) -> http.ExportBody:
    """How it stands, and when it is ready, where its files can be fetched. Each answer has fresh links."""
    found = exports.read_export(export_jobs, export_files, user, export_id, now_ms())
    return _export_body(_granted(found))


@app.get("/me/usage")
def read_usage_by_day(user: Verified, days: Days = 30) -> http.UsageReportBody:
    """What was used, day by day; bills follow it, budgets do not (see GET /me)."""
    return http.UsageReportBody.of(read_usage(stores.usage, user, days, now_ms()))


_asgi = Mangum(
    app,
    lifespan="off",
    text_mime_types=["text/", "application/json", "application/problem+json"],
)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    # Two typings of the one object that Lambda passes.
    reply: dict[str, Any] = _asgi(event, context)  # type: ignore[arg-type]
    return reply
