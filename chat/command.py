"""`chat`: the terminal client's command line.

Owns the verbs, their words, and what Ctrl-C means. An answer goes on without this program: Ctrl-C stops
the answer itself, a second one only leaves it, and `chat resume` finds whatever was left or was being
answered when the program was killed.

Exit codes: 0 well; 1 refused, failed or not reached; 2 used wrongly; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from prompt_toolkit import PromptSession
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chat.api import Body, HttpApi, Problem
from chat.client import Answer, Client, Refused
from chat.connection import Connection
from chat.identity import Identity, find_server
from chat.kept import Account, Kept, Sent
from chat.screen import Lines, Pipe, Screen, Terminal

_LOCAL_PAGE = "http://localhost:8400"
_INTERRUPTED = 130

_console = Console(highlight=False)


@dataclass(frozen=True)
class _Session:
    """Of a user who is signed in."""

    kept: Kept
    account: Account
    http: HttpApi


def _kept() -> Kept:
    return Kept(Path(os.environ.get("CHAT_HOME") or click.get_app_dir("chatcore")))


@asynccontextmanager
async def _session() -> AsyncIterator[_Session]:
    kept = _kept()
    account = kept.account()
    if account is None:
        raise Problem("unauthorized", 0, "Nobody is signed in: chat login")
    identity = Identity(account.server, account.refresh_token)
    async with HttpApi(account.server.http_url, identity.id_token) as http:
        try:
            yield _Session(kept, account, http)
        finally:
            if identity.refresh_token != account.refresh_token:
                kept.keep_account(replace(account, refresh_token=identity.refresh_token))


def _run(work: Coroutine[Any, Any, int | None]) -> None:
    """Do it, and end the program as it went."""
    try:
        code = asyncio.run(work)
    except (Problem, Refused) as problem:
        click.echo(f"chat: {problem}", err=True)
        code = 1
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code:
        sys.exit(code)


_as_json = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Chat in the terminal. Without a command: a new chat."""
    if context.invoked_subcommand is None:
        context.invoke(talk)


@main.command()
@click.option("--server", default=_LOCAL_PAGE, show_default=True, help="Where the web page is.")
@click.option("--email", prompt="E-mail address")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password, and a code after it, from standard input.",
)
def login(server: str, email: str, password_stdin: bool) -> None:
    """Sign in."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = click.prompt("Password", hide_input=True)

    def ask_code() -> str:
        if password_stdin:
            return sys.stdin.readline().strip()
        return str(click.prompt("The code that your authenticator app shows"))

    async def work() -> None:
        found = await find_server(server)
        identity = Identity(found)
        await identity.sign_in(email, password, ask_code)
        _kept().keep_account(Account(server, found, email, identity.refresh_token))
        click.echo(f"Signed in as {email}.", err=True)

    _run(work())


@main.command()
def logout() -> None:
    """Sign out on this machine."""
    _kept().forget_account()


@main.command("list")
@click.option("--most", default=20, show_default=True, help="So many chats at most; 0: all.")
@_as_json
def list_chats(most: int, as_json: bool) -> None:
    """The chats, the latest first."""

    async def work() -> None:
        async with _session() as session:
            table = Table("chat", "title", "last active", box=None)
            count = 0
            async for chat in session.http.chats():
                count += 1
                if as_json:
                    click.echo(json.dumps(chat, ensure_ascii=False))
                else:
                    # A title may look like rich's markup, and is none.
                    table.add_row(chat["chat_id"], Text(_title(chat)), chat["last_active_at"])
                if count == most:
                    break
            if not as_json:
                _console.print(table)

    _run(work())


@main.command()
@click.argument("chat_id")
@_as_json
def show(chat_id: str, as_json: bool) -> None:
    """A chat's messages."""

    async def work() -> None:
        async with _session() as session:
            for message in await session.http.messages(chat_id):
                _show(message, as_json)

    _run(work())


@main.command()
@click.argument("chat_id")
@click.argument("title")
def rename(chat_id: str, title: str) -> None:
    """Give a chat a title."""

    async def work() -> None:
        async with _session() as session:
            await session.http.rename(chat_id, title)

    _run(work())


@main.command()
@click.argument("chat_id")
@click.confirmation_option(prompt="Delete this chat and all of its messages?")
def delete(chat_id: str) -> None:
    """Delete a chat."""

    async def work() -> None:
        async with _session() as session:
            await session.http.delete(chat_id)

    _run(work())


@main.command()
@_as_json
def me(as_json: bool) -> None:
    """Who is signed in, the tier, and what is left of the budget."""

    async def work() -> None:
        async with _session() as session:
            told = await session.http.me()
            if as_json:
                click.echo(json.dumps(told, ensure_ascii=False))
                return
            usage = told["usage"]
            click.echo(f"{told['email']}, {told['tier']}")
            ends = f", until {usage['window_ends_at']}" if usage["window_ends_at"] else ""
            click.echo(f"{usage['used_tokens']:,} of {usage['budget_tokens']:,} tokens used{ends}")

    _run(work())


@main.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--chat", "chat_id", help="Into this chat; else into a new one.")
@_as_json
def send(text: tuple[str, ...], chat_id: str | None, as_json: bool) -> None:
    """Send one message, and show its answer. `-` reads it from standard input."""
    said = sys.stdin.read() if text == ("-",) else " ".join(text)

    async def work() -> int:
        async with _talking(as_json) as talking:
            return await _ask(talking, _new_sent(talking.session, chat_id, said))

    _run(work())


@main.command()
@click.argument("chat_id", required=False)
def talk(chat_id: str | None) -> None:
    """Go on with a chat, or begin a new one. An empty line or Ctrl-D ends it."""

    async def work() -> None:
        async with _talking(as_json=False) as talking:
            if chat_id is not None:
                for message in await talking.session.http.messages(chat_id):
                    _show(message, as_json=False)
            prompt: PromptSession[str] = PromptSession("> ")
            known = chat_id
            while True:
                try:
                    said = await prompt.prompt_async()
                except (EOFError, KeyboardInterrupt):
                    return
                if not said.strip():
                    return
                try:
                    await _ask(talking, _new_sent(talking.session, known, said))
                except Refused as refused:
                    click.echo(f"chat: {refused}", err=True)
                known = known or talking.client.answers[-1].chat_id or None

    _run(work())


@main.command()
@_as_json
def resume(as_json: bool) -> None:
    """Show the answers that were being made when this program last ended."""

    async def work() -> int:
        code = 0
        async with _talking(as_json) as talking:
            session = talking.session
            for sent in session.kept.unanswered(session.account.email):
                if not as_json:
                    click.echo(f"> {sent.text}", err=True)
                try:
                    code = max(code, await _ask(talking, sent))
                except Refused as refused:
                    click.echo(f"chat: {refused}", err=True)
                    code = max(code, 1)
                    continue
                if not talking.client.answers[-1].is_over:
                    # Left to go on in the background: so are the others, which are kept.
                    break
        return code

    _run(work())


@dataclass(frozen=True)
class _Talk:
    """A session with its connection, and where its answers are shown."""

    session: _Session
    client: Client
    connection: Connection
    screen: Screen


@asynccontextmanager
async def _talking(as_json: bool) -> AsyncIterator[_Talk]:
    screen: Screen
    if as_json:
        screen = Lines()
    elif sys.stdout.isatty():
        screen = Terminal(_console)
    else:
        screen = Pipe()
    async with _session() as session:
        client = Client()
        connection = Connection(
            client, session.http, session.account.server.ws_url, on_state=screen.connection
        )
        async with connection:
            try:
                yield _Talk(session, client, connection, screen)
            finally:
                screen.close()


async def _ask(talk: _Talk, sent: Sent) -> int:
    """Say it, or say it again, and show what comes; the exit code. Raises Refused, Problem."""
    client, screen, kept = talk.client, talk.screen, talk.session.kept
    # Before it is sent: a program that is killed right after must find it.
    kept.keep(sent)
    answer = client.send(sent.message_id, sent.chat_id, sent.text)
    stops = 0
    interrupted = asyncio.Event()

    def interrupt() -> None:
        nonlocal stops
        stops += 1
        interrupted.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        while not answer.is_over and answer.refused is None:
            seen = answer.changes
            screen.look(answer)
            if stops > 1:
                click.echo("It goes on in the background: chat resume", err=True)
                return _INTERRUPTED
            if stops == 1 and answer.run_id:
                client.cancel(answer.run_id)
                screen.stopping()
            await _first(answer.until_changed(seen), interrupted.wait(), talk.connection.ended())
            interrupted.clear()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    kept.forget(sent.message_id)
    if answer.refused is not None:
        screen.close()
        raise answer.refused
    screen.end(answer)
    return _code(answer)


def _code(answer: Answer) -> int:
    return {"completed": 0, "cancelled": _INTERRUPTED}.get(answer.transcript.status, 1)


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


def _new_sent(session: _Session, chat_id: str | None, text: str) -> Sent:
    return Sent(uuid.uuid4().hex, chat_id, text, session.account.email, time.time_ns() // 1_000_000)


def _show(message: Body, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(message, ensure_ascii=False))
    elif message["role"] == "user":
        _console.print(f"> {message['text']}", style="bold", markup=False)
    else:
        click.echo(message["text"])


def _title(chat: Body) -> str:
    return str(chat["title"] or "New chat")
