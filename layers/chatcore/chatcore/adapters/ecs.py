"""Owns the word to ECS that this task is not to be chosen when there are to be fewer of its service.

It goes to the agent on the machine, which knows the task. It holds against scale-in and deployments, and
against nothing else: not a Spot interruption, nor a machine that dies. Vendor's page: Amazon ECS task
scale-in protection endpoint.
"""

from aiohttp import ClientError, ClientSession, ClientTimeout

from chatcore.domain.errors import StoreUnavailable

_PATH = "/task-protection/v1/state"
_TIMEOUT = ClientTimeout(total=5.0)


async def protect(agent_uri: str, minutes: int) -> None:
    """For so long from now on, unless said otherwise meanwhile; 0 ends it.

    agent_uri: ECS_AGENT_URI, which ECS gives to the containers of a task. Raises StoreUnavailable.
    """
    asked: dict[str, bool | int] = {"ProtectionEnabled": minutes > 0}
    if minutes > 0:
        asked["ExpiresInMinutes"] = minutes
    try:
        async with (
            ClientSession(timeout=_TIMEOUT) as http,
            http.put(agent_uri + _PATH, json=asked) as answer,
        ):
            told = await answer.json(content_type=None)
    except (ClientError, TimeoutError, ValueError) as error:
        raise StoreUnavailable(f"ECS agent: {type(error).__name__}") from error
    # A refusal of ECS comes with status 200, as `failure`; one of the agent as `error`.
    if not isinstance(told, dict) or "protection" not in told:
        raise StoreUnavailable(f"ECS agent: {_reason(told)}")


def _reason(told: object) -> str:
    if isinstance(told, dict):
        for kind, name in (("failure", "Reason"), ("error", "Code")):
            part = told.get(kind)
            if isinstance(part, dict):
                return f"{kind} {part.get(name)}"
    return "an answer of no known form"
