"""Owns a world: clients, the real Lambdas' code, memory tables and queues, real workers, the weather.

Everything runs in one process on a virtual clock, and everything random comes from one seed. The
services, the WebSocket Lambda and the worker are the product's own; between any two of their calls to
the outside others get their turn. Left out: the HTTP function (its services are called as it calls
them), tickets, and TTL.
"""

import asyncio
import contextlib
import inspect
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, cast
from unittest import mock

from aws_lambda_powertools import Logger

from chat.client import Answer, Client, Refused
from chat.transcript import Transcript
from chatcore.adapters.memory.queues import MemoryInboxes, MemoryLanes
from chatcore.adapters.memory.states import MemoryCompactions, MemoryWaits
from chatcore.adapters.memory.stores import memory_stores
from chatcore.adapters.memory.tiers import MemoryTiers
from chatcore.domain import calendar
from chatcore.domain.calendar import LANES
from chatcore.domain.errors import Retryable
from chatcore.domain.identity import User, run_id_for
from chatcore.domain.lanes import Lane
from chatcore.domain.tiers import USER_TIERS
from chatcore.ports import Stores
from chatcore.services.cancel import cancel
from chatcore.services.chats import delete_chat
from chatcore.services.purge import PurgeState, purge
from gpu_service.worker import pull, survey
from gpu_service.worker.pull import Puller
from gpu_service.worker.worker import Worker, WorkerLimits, WorkerParts
from tests.simulation import plan as plans
from tests.simulation.audit import Audit, Broken
from tests.simulation.cloud import (
    DoubtfulInboxes,
    DoubtfulLanes,
    LambdaPosts,
    Remote,
    Sockets,
    Weather,
    WorkerPosts,
)
from tests.simulation.gpu import Gpu
from tests.simulation.journal import Journal, JournalLogger
from tests.simulation.plan import Plan
from tests.simulation.process import Process, ThreadCalls
from tests.simulation.threads import Bell, Thread, skew_ms
from tests.unit.functions.loading import Context, load_function
from virtual_clock.loop import now_ms

LONGEST_S = 1_200.0
"""Virtual time in which any world must have come to rest."""

LOST_INVOCATION_S = 30.0


SMALL_AHEAD = 2
FEW_LANES = tuple(lane for lane in LANES if lane.index <= SMALL_AHEAD)


@contextlib.contextmanager
def small_calendar() -> Iterator[None]:
    """Rings of three lanes: they go round sooner, and worlds with fewer polls take less time to play."""
    with (
        mock.patch.multiple(calendar, AHEAD=SMALL_AHEAD, RING=SMALL_AHEAD + 1, LANES=FEW_LANES),
        mock.patch.object(pull, "LANES", FEW_LANES),
        mock.patch.object(survey, "LANES", FEW_LANES),
    ):
        yield


@dataclass(slots=True)
class Invocation:
    """A Lambda's process, as far as it is one: it may die half-way, and has a clock of its own."""

    skew_ms: int
    dead: bool = False


@dataclass(slots=True)
class Employee:
    """A worker's process, and what is in it."""

    process: Process
    worker: Worker
    gpu: Gpu
    life: "asyncio.Task[None]"

    @property
    def works(self) -> bool:
        return not self.process.dead and not self.life.done()


@dataclass(frozen=True, slots=True)
class Device:
    """A client of the product, in a network of the world's."""

    name: str
    client: Client


@dataclass(slots=True)
class Person:
    user: User
    devices: list[Device]


@dataclass(slots=True)
class World:
    seed: int
    plan: Plan = field(init=False)
    rng: random.Random = field(init=False)
    journal: Journal = field(default_factory=Journal)
    audit: Audit = field(init=False)
    weather: Weather = field(init=False)
    sockets: Sockets = field(init=False)
    lanes: MemoryLanes = field(init=False)
    bells: dict[Lane, Bell] = field(default_factory=dict)
    people: list[Person] = field(default_factory=list)
    staff: dict[int, Employee] = field(default_factory=dict)
    dead: list[Process] = field(default_factory=list)
    _inboxes: MemoryInboxes = field(default_factory=MemoryInboxes)
    _ws_message: ModuleType = field(init=False)
    _stores: Stores = field(init=False)
    _tiers: MemoryTiers = field(init=False)
    _purges: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _invocations: "dict[asyncio.Task[None], None]" = field(default_factory=dict)
    _connections: int = 0
    _closing: bool = False
    _calm_s: float = 0.0
    _broken: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.plan = plans.drawn(self.rng)
        self._tiers = MemoryTiers(self.plan.tiers)
        self.audit = Audit(
            self.journal,
            lambda: asyncio.get_running_loop().time(),
            {tier for tier, of in self.plan.tiers.items() if of.abandon_grace_s is not None},
        )
        self.audit.on_broken = self._broken.set
        self.weather = Weather(self.rng, self.plan.rates, self.journal)
        self.sockets = Sockets(self.weather)
        self.lanes = MemoryLanes(now_ms)
        self._stores = memory_stores(self.audit.database)

    async def run(self) -> None:
        """Until all is at rest, or something is broken: raises Broken."""
        self.journal.note("world", f"seed {self.seed}", self.plan)
        life = asyncio.create_task(self._live())
        broken = asyncio.create_task(self._broken.wait())
        await asyncio.wait([life, broken], timeout=LONGEST_S, return_when=asyncio.FIRST_COMPLETED)
        broken.cancel()
        if not life.done():
            if not self.audit.broken:
                self.audit.broke(f"not at rest: {self._what_goes_on()}")
            life.cancel()
            await asyncio.wait([life])
        await self._bury()
        if life.done() and not life.cancelled():
            life.result()
            self._look_at_the_end()
        if self.audit.broken:
            raise Broken(self.audit.broken[0])

    async def _live(self) -> None:
        with small_calendar(), self._lambda_in_place():
            workers = asyncio.gather(*(self._employ(number) for number in range(self.plan.workers)))
            people = [self._person(number) for number in range(self.plan.users)]
            try:
                await asyncio.gather(self._storm(), *people)
                await self._come_to_rest()
                await workers
            finally:
                workers.cancel()

    # ── people ──

    async def _person(self, number: int) -> None:
        user = User(f"user-{number}", self.rng.choice(USER_TIERS))
        async with contextlib.AsyncExitStack() as stack:
            devices = [
                self._device(stack, user, f"{user.user_id}.{index}")
                for index in range(self.plan.devices)
            ]
            person = Person(user, devices)
            self.people.append(person)
            chat_id: str | None = None
            for turn in range(self.plan.prompts):
                await asyncio.sleep(self.rng.uniform(0, 10))
                chat_id = await self._prompt(person, f"message-{number}-{turn}", chat_id)

    async def _prompt(self, person: Person, message_id: str, chat_id: str | None) -> str | None:
        """Asks, and sees it through; returns the chat to go on in."""
        device, in_chat_id = self.rng.choice(person.devices), chat_id
        text = f"#{message_id} What does {person.user.user_id} want? <|im_end|>"
        answer = device.client.send(message_id, chat_id, text)
        run_id = run_id_for(person.user.user_id, message_id)
        beside = asyncio.create_task(
            self._beside(person, answer, message_id, chat_id, text, run_id)
        )
        await _known(answer)
        chat_id = answer.chat_id or chat_id
        await beside
        deleted = chat_id is not None and await self._delete(person, chat_id)
        if deleted and self._happens(self.plan.repeats):
            # A device that was away says what it has to say.
            await asyncio.sleep(self.rng.uniform(0, 10))
            self.rng.choice(person.devices).client.send(message_id, in_chat_id, text)
        # All at once: one that watches the chat may hear of a run while another is waited for.
        while any(each.client.unanswered for each in person.devices):
            for each in person.devices:
                await each.client.quiet()
        refused = answer.refused is not None and answer.refused.code == "chat_not_found"
        gone = deleted or refused
        return None if gone else chat_id

    async def _beside(
        self,
        person: Person,
        answer: Answer,
        message_id: str,
        chat_id: str | None,
        text: str,
        run_id: str,
    ) -> None:
        """What else people do while they wait."""
        if self._happens(self.plan.repeats):
            await asyncio.sleep(self.rng.uniform(0, 3))
            self.rng.choice(person.devices).client.send(message_id, chat_id, text)
        if self._happens(self.plan.impatience):
            await asyncio.sleep(self.rng.uniform(0, 3))
            other = f"{message_id}-too"
            known_chat = answer.chat_id or chat_id
            impatient = self.rng.choice(person.devices).client
            await _known(impatient.send(other, known_chat, f"#{other} And what else?"))
        for each in person.devices:
            if self._happens(self.plan.watches):
                await asyncio.sleep(self.rng.uniform(0, 3))
                each.client.follow(run_id)
        if self._happens(self.plan.cancels):
            await asyncio.sleep(self.rng.choice((0.0, 0.3, 3.0, 10.0)) * self.rng.random())
            if self._happens(0.5):
                self.rng.choice(person.devices).client.cancel(run_id)
            else:
                await self._call(
                    lambda who: cancel(
                        self._seen_by(who),
                        self._inboxes_for(who),
                        person.user,
                        run_id,
                        now_ms() + skew_ms(),
                    )
                )

    async def _delete(self, person: Person, chat_id: str) -> bool:
        if not self._happens(self.plan.deletes):
            return False
        await asyncio.sleep(self.rng.uniform(0, 5))
        self.journal.note(person.user.user_id, "deletes", chat_id)

        def delete(who: str) -> None:
            stores, inboxes = self._seen_by(who), self._inboxes_for(who)
            purges = cast(Any, Remote(self, who, self.weather))
            delete_chat(stores, inboxes, purges, person.user, chat_id, now_ms() + skew_ms())

        while True:
            if await self._call(delete):
                return True
            await asyncio.sleep(1)

    def _device(self, stack: contextlib.AsyncExitStack, user: User, name: str) -> Device:
        def over(transcript: Transcript) -> None:
            self.audit.shown(name, transcript.run_id, transcript.status, transcript.text)

        # Its own chances: what a client draws must not shift what else happens.
        rng = random.Random(f"{self.seed} {name}")
        device = Device(name, Client(rng, now_ms, on_over=over))
        for routine in (device.client.live(), self._network(device, user)):
            stack.callback(asyncio.create_task(routine).cancel)
        return device

    async def _network(self, device: Device, user: User) -> None:
        """Connects, and in a storm breaks and comes back, on a new connection each time. Who has seen all
        that he asked for leaves: he hears no more of what is still on its way."""
        try:
            await self._comes_and_goes(device, user)
        finally:
            for connection_id in list(self.sockets.open):
                if connection_id.startswith(f"{device.name}/"):
                    del self.sockets.open[connection_id]

    async def _comes_and_goes(self, device: Device, user: User) -> None:
        while True:
            self._connections += 1
            connection_id = f"{device.name}/{self._connections}"
            self.sockets.open[connection_id] = device.client.receive

            def say(frame: dict[str, Any], connection_id: str = connection_id) -> None:
                self._in_background(self._hear(device, user, connection_id, frame))

            device.client.connect(say)
            await asyncio.sleep(self.rng.expovariate(1 / self.plan.connection_s))
            if not self._stormy:
                # From now on it holds.
                await asyncio.Event().wait()
            device.client.disconnect()
            # The other side may learn of it late: it posts into the void until then.
            self.sockets.open[connection_id] = lambda frame: None
            await asyncio.sleep(self.rng.uniform(0, 4))
            del self.sockets.open[connection_id]
            await asyncio.sleep(self.rng.uniform(0, 4) * self.rng.random())

    # ── Lambdas ──

    async def _hear(
        self, device: Device, user: User, connection_id: str, frame: dict[str, Any]
    ) -> None:
        """What a client says reaches the WebSocket's Lambda. When that fails, the gateway says so itself."""
        await asyncio.sleep(self.rng.uniform(0.005, 0.3))
        event = {
            "requestContext": {
                "connectionId": connection_id,
                "authorizer": {"user_id": user.user_id, "tier": str(user.tier)},
            },
            "body": json.dumps(frame),
        }
        self.journal.note(connection_id, "says", frame)
        answered = await self._call(lambda who: self._ws_message.handler(event, Context()))
        if not answered and self.sockets.open.get(connection_id) == device.client.receive:
            device.client.ask_again_sooner()

    async def _call(self, function: Callable[[str], Any]) -> bool:
        """Invoke a Lambda; whether its caller gets an answer, be it a refusal."""
        invocation = Invocation(self._skew_ms())
        if self.weather.strikes(self.weather.rates.lambda_dies):
            asyncio.get_running_loop().call_later(
                self.rng.uniform(0, 0.2), setattr, invocation, "dead", True
            )
        thread = Thread(invocation, lambda: function("lambda"))
        thread.step()
        try:
            await thread.answer
            return True
        except asyncio.CancelledError:
            if not invocation.dead:
                raise
            self.journal.note("lambda", "dies")
        except Retryable as error:
            self.journal.note("lambda", "fails", error)
        return False

    def _in_background(self, invocation: Any) -> None:
        task = asyncio.create_task(invocation)
        self._invocations[task] = None
        task.add_done_callback(lambda done: self._invocations.pop(done, None))

    @contextlib.contextmanager
    def _lambda_in_place(self) -> Iterator[None]:
        """The WebSocket Lambda, with this world's sides in place of AWS's."""
        self._ws_message = function = load_function("ws_message")
        sides = {
            "stores": self._seen_by("lambda"),
            "lanes": DoubtfulLanes(self.lanes, "lambda", self.weather, self.audit, self.bells),
            "inboxes": self._inboxes_for("lambda"),
            "posts": LambdaPosts("lambda", self.sockets),
            "tiers": self._tiers,
            "logger": JournalLogger(self.journal, "lambda", self.audit.broke),
            "now_ms": lambda: now_ms() + skew_ms(),
        }
        before = {name: getattr(function, name) for name in sides}
        vars(function).update(sides)
        try:
            yield
        finally:
            vars(function).update(before)

    def _seen_by(self, who: str) -> Stores:
        def remote(port: Any) -> Any:
            return Remote(port, who, self.weather)

        stores = self._stores
        return Stores(
            chats=remote(stores.chats),
            messages=remote(stores.messages),
            summaries=remote(stores.summaries),
            runs=cast(Any, Remote(stores.runs, who, self.weather, self.audit.happened)),
            ledgers=cast(Any, Remote(stores.ledgers, who, self.weather, self.audit.happened)),
            usage=remote(stores.usage),
            tickets=remote(stores.tickets),
            calendars=remote(stores.calendars),
            beats=remote(stores.beats),
        )

    def _inboxes_for(self, who: str) -> DoubtfulInboxes:
        return DoubtfulInboxes(self._inboxes, who, self.weather, self.audit)

    # ── the purge's state machine ──

    def start(self, user_id: str, chat_id: str) -> None:
        """The port `Purges`: an execution for each chat, once."""
        if chat_id not in self._purges:
            self._purges[chat_id] = asyncio.get_running_loop().create_task(
                self._purge(user_id, chat_id)
            )

    async def _purge(self, user_id: str, chat_id: str) -> None:
        state: list[PurgeState] = []

        def batch(who: str) -> None:
            stores, inboxes = self._seen_by(who), self._inboxes_for(who)
            state.append(purge(stores, inboxes, user_id, chat_id, now_ms() + skew_ms()).state)

        while PurgeState.DONE not in state:
            await self._call(batch)
            await asyncio.sleep(2)

    # ── workers ──

    async def _employ(self, number: int) -> None:
        """One worker after the other: when one is gone, the next one starts, under a new name."""
        generation = 0
        while not self._closing:
            generation += 1
            skew = self._skew_ms()
            if self.plan.clocks_apart:
                skew = self.plan.skew_ms * (1 if number % 2 else -1)
            employee = self.staff[number] = self._hire(f"worker-{number}.{generation}", skew)
            process = employee.process
            self.journal.note(process.name, "starts", f"clock {skew} ms ahead")
            while not employee.life.done() and not process.dead:
                await asyncio.wait([employee.life], timeout=0.5)
            if process.dead:
                self.dead.append(process)
            else:
                employee.life.result()
                if not employee.worker.stopping.is_set():
                    self.audit.broke(f"{process.name} ended by itself")
            await asyncio.sleep(self.rng.uniform(0.1, 5))

    def _hire(self, name: str, skew: int) -> Employee:
        process = Process(name, skew)
        gpu = Gpu(process, self.weather, self.audit, self.plan.token_s, self.plan.most_answers)
        calls = ThreadCalls(process)
        parts = WorkerParts(
            stores=self._seen_by(name),
            lanes=DoubtfulLanes(self.lanes, name, self.weather, self.audit, self.bells),
            inboxes=self._inboxes_for(name),
            posts=WorkerPosts(process, self.sockets, self.audit),
            tiers=self._tiers,
            compactions=MemoryCompactions(),
            waits=MemoryWaits(),
            engine=gpu,
            count_tokens=lambda text: len(text) // 4,
            calls=calls,
            polls=calls,
            logger=cast(Logger, JournalLogger(self.journal, name, self.audit.broke)),
            now_ms=process.now_ms,
        )
        limits = WorkerLimits(
            slots=self.plan.slots,
            drain_s=2.0,
            first_token_timeout_s=10.0,
            next_token_timeout_s=5.0,
        )
        worker = Worker(name, parts, limits)
        return Employee(process, worker, gpu, process.start(worker.run()))

    def _skew_ms(self) -> int:
        most = self.plan.skew_ms
        return self.rng.choice((-most, most, self.rng.randint(-most, most)))

    # ── what goes wrong ──

    @property
    def _stormy(self) -> bool:
        return asyncio.get_running_loop().time() < self.plan.storm_s

    def _happens(self, share: float) -> bool:
        return self.rng.random() < share

    async def _storm(self) -> None:
        while self._stormy and self.plan.upsets:
            await asyncio.sleep(self.rng.expovariate(1 / self.plan.upset_every_s))
            if self._stormy:
                self._upset(
                    self.rng.choice(list(self.staff.values())), self.rng.choice(self.plan.upsets)
                )
        await asyncio.sleep(max(0.0, self.plan.storm_s - asyncio.get_running_loop().time()))
        self._calm_s = asyncio.get_running_loop().time()
        self.journal.note("world", "calm")
        self.weather.calm()
        for employee in self.staff.values():
            employee.gpu.well = True
            employee.process.go_on()

    def _upset(self, employee: Employee, upset: str) -> None:
        process, later = employee.process, asyncio.get_running_loop().call_later
        if process.dead:
            return
        self.journal.note(process.name, "upset", upset)
        if upset == "kill":
            process.kill()
        elif upset == "drain":
            employee.worker.stopping.set()
        elif upset == "engine_down":
            employee.gpu.well = False
            later(self.rng.uniform(0.5, 20), setattr, employee.gpu, "well", True)
        elif upset == "cut_off":
            self.weather.cut_off.add(process.name)
            later(self.rng.uniform(15, 50), self.weather.cut_off.discard, process.name)
        else:
            process.stop()
            pause_s = self.rng.uniform(0, 6) if upset == "doze" else self.rng.uniform(12, 40)
            later(pause_s, process.go_on)

    async def _come_to_rest(self) -> None:
        """Until the lanes are empty and nothing is on its way; then every worker leaves in good order."""
        while True:
            await asyncio.sleep(1)
            if self._is_at_rest():
                break
        # What has just ended is still being tidied up.
        await asyncio.sleep(5)
        for execution in self._purges.values():
            execution.result()
        self._closing = True
        for employee in self.staff.values():
            self._look_at_the_slots(employee)
            employee.worker.stopping.set()

    def _is_at_rest(self) -> bool:
        return not (
            any(self.lanes.depth(lane) for lane in FEW_LANES)
            or any(employee.gpu.sessions for employee in self.staff.values() if employee.works)
            or not all(execution.done() for execution in self._purges.values())
            or self._invocations
            or self.weather.on_the_way
        )

    def _look_at_the_slots(self, employee: Employee) -> None:
        process = employee.process
        if not employee.works:
            return
        puller = inspect.getcoroutinelocals(cast(Any, employee.life.get_coro())).get("puller")
        if isinstance(puller, Puller) and puller._slots.free != self.plan.slots:
            self.audit.broke(
                f"{process.name} has {puller._slots.free} of {self.plan.slots} slots free"
            )

    async def _bury(self) -> None:
        for employee in self.staff.values():
            if not employee.life.done() and employee.process not in self.dead:
                employee.process.kill()
                self.dead.append(employee.process)
        for process in self.dead:
            await process.bury()

    def _look_at_the_end(self) -> None:
        self.audit.look_at_the_end(self._calm_s)
        for person in self.people:
            for device in person.devices:
                for waits_for in device.client.unanswered:
                    self.audit.broke(f"{device.name} still waits for {waits_for}")

    def _what_goes_on(self) -> str:
        runs = [run for run in self.audit.database.runs.values() if run.ended_ms is None]
        jobs = {str(lane): self.lanes.depth(lane) for lane in FEW_LANES if self.lanes.depth(lane)}
        waiting = {
            device.name: device.client.unanswered
            for person in self.people
            for device in person.devices
        }
        purges = [chat_id for chat_id, purge in self._purges.items() if not purge.done()]
        return (
            f"runs {runs}, jobs {jobs}, purges {purges}, on the way {self.weather.on_the_way}, "
            f"invocations {len(self._invocations)}, clients wait for {waiting}"
        )


async def _known(answer: Answer) -> None:
    """Until it is known whether there is a run."""
    with contextlib.suppress(Refused):
        await answer.until_admitted()
