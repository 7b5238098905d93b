"""Owns the look for EC2's Spot interruption notice, in the metadata of the machine.

The notice is there two minutes before the machine is taken away; vendor's pages: Spot Instance
interruption notices (look every five seconds), Use IMDSv2 (a session token first). ECS turns the
notice into a SIGTERM only where its agent is told to, and not for every way of interruption.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import ClientError, ClientSession, ClientTimeout

LOOK_EVERY_S = 5.0
_TOKEN_PATH = "/latest/api/token"
_NOTICE_PATH = "/latest/meta-data/spot/instance-action"
_TOKEN_LIFE_S = 6 * 3600
_TIMEOUT = ClientTimeout(total=2.0)


async def spot_notice(
    metadata_url: str,
    on_trouble: Callable[[str], None],
    look_every_s: float = LOOK_EVERY_S,
) -> str:
    """Returns the notice as EC2 words it, JSON with `action` and `time`, as soon as there is one.

    metadata_url: `http://169.254.169.254` on EC2. Where the service does not answer, or not well,
    on_trouble is told why, at the first of such looks in a row, and it is asked again.
    """
    token = ""
    in_trouble = False
    async with ClientSession(metadata_url, timeout=_TIMEOUT) as http:
        while True:
            try:
                token = token or await _token(http)
                headers = {"X-aws-ec2-metadata-token": token}
                async with http.get(_NOTICE_PATH, headers=headers) as answer:
                    if answer.status == HTTPStatus.OK:
                        return await answer.text()
                    if answer.status == HTTPStatus.UNAUTHORIZED:
                        token = ""
                    elif answer.status != HTTPStatus.NOT_FOUND:
                        answer.raise_for_status()
                in_trouble = False
            except (ClientError, TimeoutError) as error:
                if not in_trouble:
                    on_trouble(repr(error))
                in_trouble = True
            await asyncio.sleep(look_every_s)


async def _token(http: ClientSession) -> str:
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_LIFE_S)}
    async with http.put(_TOKEN_PATH, headers=headers) as answer:
        answer.raise_for_status()
        return await answer.text()
