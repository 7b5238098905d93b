"""A load that there is something to see of: `make demo`, for `make watch` to look at.

    free   free@example.com floods: as many long answers at once as the account lets it, and one more
    plus   plus@example.com asks follow-ups in one chat, which is where affinity shows
    pro    pro@example.com asks now and then, sometimes six at once, and stops every third answer
    crowd  guests of the free tier with short questions, so that the slots are taken

Bounded in time and in prompts. It takes its chats and guests away again. Made of the product's own
Python client; it must not speak to anything beyond the loopback interface, where the password is public.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from chat.api import HttpApi, Problem
from chat.client import Answer, Client, Refused
from chat.connection import Connection
from chat.identity import Identity, Server
from local import accounts
from local.accounts import Account
from local.endpoints import Endpoints
from local.ministack import session
from local.preflight import Unfit

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_FLOOD_PAUSE_S = 1.0
_FOLLOW_UP_PAUSE_S = 2.0
_MEAN_PAUSE_S = 2.0
_BURST = 6
_BURST_EVERY = 4
_STOP_EVERY = 3
_STOP_AFTER_CHARS = 80

_GOING = 3
_QUIET_S = 20.0
"""How long the last answers may take to stop."""

_TOPICS = ("the lighthouse", "a train to Lisbon", "tomatoes on the balcony", "the choir's concert")


@dataclass
class Stage:
    """prompts: how many may still be sent; sent, refused: how many were."""

    prompts: int
    sent: int = 0
    refused: int = 0

    @property
    def goes_on(self) -> bool:
        return self.prompts > 0


@dataclass
class Player:
    """A user with a connection."""

    client: Client
    http: HttpApi
    stage: Stage
    rng: random.Random

    def ask(self, text: str, chat_id: str | None = None) -> Answer:
        self.stage.prompts -= 1
        self.stage.sent += 1
        return self.client.send(uuid.uuid4().hex, chat_id, text)

    async def over(self, answer: Answer) -> bool:
        """Wait for its end; False where it was refused."""
        try:
            await answer.until_over()
        except Refused:
            self.stage.refused += 1
            return False
        return True

    async def pause(self, mean_s: float) -> bool:
        """Whether anything may be asked after it."""
        await asyncio.sleep(self.rng.expovariate(1 / mean_s))
        return self.stage.goes_on

    async def stop(self) -> None:
        """Have what is being made stopped, and wait for its end."""
        for answer in self.client.answers:
            if answer.run_id and not answer.is_over:
                self.client.cancel(answer.run_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(_QUIET_S):
                await self.client.quiet()

    async def clear_away(self) -> None:
        """Delete the chats of this time."""
        for chat_id in {answer.chat_id for answer in self.client.answers if answer.chat_id}:
            # Whatever cannot be deleted stays to be seen in the page.
            with suppress(Problem):
                await self.http.delete(chat_id)


async def floods(player: Player) -> None:
    """Never pauses: whatever is over or refused is followed by the next at once."""
    while player.stage.goes_on:
        answer = player.ask(f"Please count to {player.rng.randint(250, 400)}.")
        try:
            await answer.until_admitted()
        except Refused:
            player.stage.refused += 1
            await asyncio.sleep(_FLOOD_PAUSE_S)


async def follows_up(player: Player) -> None:
    """One chat that grows: each prompt begins with all of the former one."""
    chat_id: str | None = None
    turn = 0
    while await player.pause(_FOLLOW_UP_PAUSE_S):
        topic = _TOPICS[turn % len(_TOPICS)]
        answer = player.ask(f"Turn {turn + 1}: write 60 words about {topic}.", chat_id)
        if await player.over(answer):
            chat_id = answer.chat_id
        turn += 1


async def drops_in(player: Player) -> None:
    """Now and then, sometimes much at once; every third answer is stopped when some of it is there."""
    turn = 0
    while await player.pause(_MEAN_PAUSE_S):
        turn += 1
        if turn % _BURST_EVERY == 0:
            burst = [
                player.ask("Please count to 100.") for _ in range(min(_BURST, player.stage.prompts))
            ]
            await asyncio.gather(*(player.over(answer) for answer in burst))
            continue
        answer = player.ask("Please count to 60.")
        if turn % _STOP_EVERY == 0:
            with suppress(Refused):
                await answer.until_length(_STOP_AFTER_CHARS)
                player.client.cancel(answer.run_id)
        await player.over(answer)


async def asks_briefly(player: Player) -> None:
    """One of many, with one short question at a time."""
    chat_id: str | None = None
    while await player.pause(_MEAN_PAUSE_S):
        answer = player.ask(f"Please count to {player.rng.randint(40, 120)}.", chat_id)
        if await player.over(answer):
            chat_id = answer.chat_id


Part = Callable[[Player], Coroutine[None, None, None]]

_PARTS: dict[str, Part] = {"free": floods, "plus": follows_up, "pro": drops_in}


def run(
    endpoints: Endpoints, console: Console, *, duration_s: float, prompts: int, crowd: int
) -> Stage:
    """The whole of it, until the time is over or the prompts are used up. Raises Unfit where it is not
    this machine's own cloud, Problem where that does not answer."""
    _refuse_what_is_far(endpoints)
    stage = Stage(prompts)
    try:
        with _guests(endpoints, crowd) as guests:
            console.print(
                f"{len(endpoints.accounts)} accounts and {crowd} guests for {duration_s:g} s, at "
                f"most {prompts} prompts. Look at it with `make watch`.",
                highlight=False,
            )
            asyncio.run(_play(endpoints, guests, stage, duration_s))
    except (ClientError, BotoCoreError) as error:
        raise Unfit(f"{endpoints.aws_endpoint_url} does not answer, or not any more") from error
    console.print(
        f"{stage.sent} prompts, {stage.refused} of them refused. Its chats and guests are gone.",
        highlight=False,
    )
    return stage


async def _play(
    endpoints: Endpoints, guests: Sequence[Account], stage: Stage, duration_s: float
) -> None:
    parts = [
        *((_PARTS[account.tier], account) for account in endpoints.accounts),
        *((asks_briefly, guest) for guest in guests),
    ]
    ends_s = asyncio.get_running_loop().time() + duration_s
    coming, going = asyncio.Semaphore(1), asyncio.Semaphore(_GOING)
    await asyncio.gather(
        *(
            _played(part, account, endpoints, stage, random.Random(seed), ends_s, coming, going)
            for seed, (part, account) in enumerate(parts)
        )
    )


async def _played(
    part: Part,
    account: Account,
    endpoints: Endpoints,
    stage: Stage,
    rng: random.Random,
    ends_s: float,
    coming: asyncio.Semaphore,
    going: asyncio.Semaphore,
) -> None:
    """From signing in to leaving, beside the others. coming, going: few do so at a time, because the
    emulator starts a process for each call of a function that comes beside another."""
    identity = Identity(Server.of({**endpoints.page_config}))
    client = Client(looks_again=False)
    async with AsyncExitStack() as closing:
        async with coming:
            await identity.sign_in(account.email, account.password)
            http = await closing.enter_async_context(HttpApi(endpoints.http_url, identity.id_token))
            connection = Connection(client, http, endpoints.ws_url)
            await closing.enter_async_context(connection)
            await connection.opened()
        player = Player(client, http, stage, rng)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(ends_s):
                    await part(player)
        finally:
            await player.stop()
            async with going:
                await player.clear_away()


@contextmanager
def _guests(endpoints: Endpoints, count: int) -> Iterator[tuple[Account, ...]]:
    cognito: CognitoIdentityProviderClient = session().client(
        "cognito-idp", endpoint_url=endpoints.aws_endpoint_url
    )
    formation = session().client("cloudformation", endpoint_url=endpoints.aws_endpoint_url)
    (stack,) = formation.describe_stacks(StackName=endpoints.stack_name)["Stacks"]
    (pool,) = (
        output["OutputValue"]
        for output in stack.get("Outputs", [])
        if output["OutputKey"] == "UserPoolId"
    )
    guests = accounts.guests("free", count)
    accounts.seed(cognito, pool, guests)
    try:
        yield guests
    finally:
        accounts.remove(cognito, pool, guests)


def _refuse_what_is_far(endpoints: Endpoints) -> None:
    for url in (endpoints.http_url, endpoints.ws_url, endpoints.aws_endpoint_url):
        if urlsplit(url).hostname not in _LOOPBACK:
            raise Unfit(f"{url} is not on this machine: the demo's accounts are for this one only")
