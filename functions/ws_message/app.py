"""The WebSocket's messages: send, cancel, attach, watch, ping. Each is answered by frames, never by a status.

On the path to the first token: it imports little (a test holds it to a budget), and the run is in its
lane before anything is said back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from chatcore.adapters.apigateway import ApiGatewayPosts, callback_client
from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.measures import of_refusal, of_send
from chatcore.adapters.sqs import SqsInboxes, SqsLanes, sqs_client
from chatcore.adapters.ssm import SsmTiers, ssm_client
from chatcore.adapters.trace import current_parent, current_trace_id
from chatcore.domain.admission import Send
from chatcore.domain.errors import Code, Refusal, Retryable
from chatcore.domain.identity import User
from chatcore.domain.run import TERMINAL
from chatcore.domain.stream import Place
from chatcore.domain.tiers import tier_of
from chatcore.ports import Posted
from chatcore.protocol import websocket as ws
from chatcore.services.attach import attach, frames_for
from chatcore.services.cancel import cancel
from chatcore.services.submit import submit
from chatcore.services.tell import tell_others, tell_viewers
from chatcore.services.watch import watch
from chatcore.settings import WsMessageSettings

settings = WsMessageSettings.read()
stores = dynamo_stores(open_tables(settings.tables))
_sqs = sqs_client()
lanes = SqsLanes(_sqs, settings.lane_base_url)
inboxes = SqsInboxes(_sqs, settings.inbox_base_url)
posts = ApiGatewayPosts(callback_client(settings.callback_url))
logger = Logger()
tiers = SsmTiers(ssm_client(), settings.tiers_parameter, logger, now_ms)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    request = event["requestContext"]
    connection_id = request["connectionId"]
    verified = request["authorizer"]
    user = User(verified["user_id"], tier_of(verified.get("tier")))
    trace_id = current_trace_id(context.aws_request_id)
    logger.append_keys(trace_id=trace_id)
    for frame in answer(Caller(user, connection_id, trace_id), event):
        if posts.post(connection_id, ws.encode(frame)) is not Posted.SENT:
            # The client attaches or sends again when it has heard nothing.
            logger.warning("reply.lost")
            break
    # Nobody waits any more: the next send finds the settings fresh.
    tiers.refresh()
    return {"statusCode": 200}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who says something, on which connection; trace_id: what its log lines are found by."""

    user: User
    connection_id: str
    trace_id: str


def answer(caller: Caller, event: dict[str, Any]) -> Sequence[ws.Event]:
    """The frames to reply with. Whatever goes wrong becomes one of them."""
    body = event.get("body") or ""
    action = ws.decode("" if event.get("isBase64Encoded") else body)
    if isinstance(action, Refusal):
        measured = of_refusal(logger.service, action.code, caller.user.tier)
        logger.info("frame.refused", extra={"code": str(action.code), **measured})
        return [ws.error_for(action)]
    ref = next(
        filter(None, (getattr(action, name, None) for name in ("message_id", "run_id", "chat_id"))),
        None,
    )
    logger.append_keys(action=type(action).__name__.lower(), ref=ref)
    try:
        outcome = perform(caller, action)
    except Retryable as error:
        logger.warning("action.busy", extra={"reason": repr(error)})
        outcome = Refusal(Code.BUSY, "That did not work just now. Please try again.", ref)
    except Exception:
        logger.exception("action.failed")
        outcome = Refusal(Code.INTERNAL_ERROR, "Something went wrong on our side.", ref)
    if isinstance(outcome, Refusal):
        measured = of_refusal(logger.service, outcome.code, caller.user.tier)
        logger.info("action.refused", extra={"code": str(outcome.code), **measured})
        return [ws.error_for(outcome)]
    return outcome


def perform(caller: Caller, action: ws.Action) -> Sequence[ws.Event] | Refusal:
    user, connection_id = caller.user, caller.connection_id
    match action:
        case ws.Send():
            return _send(caller, action)
        case ws.Cancel(run_id=run_id):
            run = cancel(stores, inboxes, user, run_id, now_ms(), connection_id)
            if isinstance(run, Refusal):
                return run
            if run.status not in TERMINAL:
                # Its worker ends it, and tells all viewers and who asked.
                return []
            tell_viewers(posts, replace(run, viewers=run.viewers - {connection_id}))
            return [ws.ended_for(run)]
        case ws.Attach(run_id=run_id, offset=offset, epoch=epoch):
            place = Place(offset, epoch)
            return attach(stores, lanes, inboxes, user, run_id, connection_id, place, now_ms())
        case ws.Watch(chat_id=chat_id):
            return watch(stores.chats, user, chat_id, connection_id) or []
        case ws.Ping():
            return [ws.Pong()]


def _send(caller: Caller, action: ws.Send) -> Sequence[ws.Event] | Refusal:
    send = Send(
        user=caller.user,
        chat_id=action.chat_id,
        message_id=action.message_id,
        text=action.text,
        viewer=caller.connection_id,
        trace_id=caller.trace_id,
        trace_parent=current_parent(),
    )
    submitted = submit(stores, lanes, inboxes, tiers.current(), send, now_ms())
    if isinstance(submitted, Refusal):
        return submitted
    run = submitted.run
    measured = of_send(logger.service, caller.user.tier, submitted.repeat)
    logger.info(
        "run.submitted", extra={"run_id": run.run_id, "repeat": submitted.repeat, **measured}
    )
    if submitted.repeat or submitted.wait is None:
        return frames_for(stores, lanes, inboxes, run, caller.connection_id, Place(), now_ms())
    tell_others(posts, run, submitted.wait, caller.connection_id)
    return [ws.queued_for(run, submitted.wait)]
