"""One local cloud, put together: `make run` and the tests start it, each with ports of its own.

Owns the order of start and end and the folder `.local/<name>` with state, builds and logs. It must
not print: a Progress does.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from local import accounts, ministack, triton, web, worker
from local.deployment import Deployment, LocalUrls
from local.endpoints import Endpoints
from local.ports import Ports
from local.preflight import Unfit
from local.processes import ProcessFailure, Service, clean_environment
from local.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
STEPS = 7
_WORKER_TRIAL_S = 15


class LocalStack:
    """A context manager: inside it everything runs, behind it nothing does.

    `fresh`: without what an earlier start has kept. `worker_settings`, `engine_settings` and `aws_settings`
    are added to the environment of the workers, of Triton and of MiniStack. The build is kept either way.
    `source`: of the release whose template and functions are deployed; all else is this one's.
    `aws` and `engine` are the processes of MiniStack and Triton. Raises Unfit when a port or the folder
    is in use, ProcessFailure when a part does not start.
    """

    aws: Service
    engine: Service

    def __init__(
        self,
        name: str,
        ports: Ports,
        progress: Progress,
        *,
        workers: int = 1,
        fresh: bool = False,
        worker_settings: Mapping[str, str] | None = None,
        engine_settings: Mapping[str, str] | None = None,
        aws_settings: Mapping[str, str] | None = None,
        source: Path = ROOT,
    ) -> None:
        self.home = ROOT / ".local" / name
        self.logs = self.home / "logs"
        self._name = name
        self._ports = ports
        self._progress = progress
        self._workers = workers
        self._fresh = fresh
        self._source = source
        self._worker_settings = dict(worker_settings or {})
        self._engine_settings = {
            # Each worker counts slots of its own; here they share one engine.
            "DEMO_SLOTS": str((worker.SLOTS + worker.EXTRA_SLOTS) * max(workers, 1)),
            **(engine_settings or {}),
        }
        self._aws_settings = dict(aws_settings or {})
        self._venvs = ROOT / ".local" / "venvs"
        self._services: list[Service] = []
        self._started_workers: list[Service] = []
        self._workers_made = 0
        self._cleanup = ExitStack()
        self.outputs: dict[str, str] = {}
        self.endpoints: Endpoints

    def __enter__(self) -> Self:
        self._ports.check_free()
        with ExitStack() as cleanup:
            cleanup.enter_context(self._lock())
            try:
                self._start(cleanup)
            except BaseException as reason:
                self._say_ending(reason, "what has started")
                raise
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._say_ending(exc_value, "workers, web page, Triton, MiniStack (which saves the chats)")
        self._cleanup.close()

    def check(self) -> None:
        """Put another worker in the place of one that has ended by itself.

        That costs no answer: another worker goes on with it, as on AWS. Raises ProcessFailure when any
        other part has ended, or a worker that had hardly started.
        """
        for service in self._services:
            service.check()
        for service in list(self._started_workers):
            try:
                service.check()
            except ProcessFailure as failure:
                if service.age_s < _WORKER_TRIAL_S:
                    raise
                self._started_workers.remove(service)
                self._progress.note(f"{failure}; another one takes its place")
                self.start_worker()

    def start_worker(self, source: Path = ROOT, /, **settings: str) -> Service:
        """One more worker, of the release in `source`, with these settings changed; it ends with the
        stack, or before by its own `stop` or `kill`."""
        self._workers_made += 1
        name = f"worker-{self._workers_made}"
        environment = {
            **worker.environment(source, self._ports, self.outputs),
            **self._worker_settings,
            **settings,
        }
        service = worker.service(source, name, environment, self.logs / f"{name}.log")
        self._started_workers.append(service)
        service.start()
        return service

    def upgrade(self, source: Path = ROOT) -> None:
        """Deploy another release over the one that runs, as a person would on AWS. Raises ProcessFailure."""
        self._deploy(source)

    def _deploy(self, source: Path) -> str:
        """Returns the stack's name."""
        deployment = Deployment(
            root=source,
            home=self.home,
            logs=self.logs,
            sam=self._venvs / "sam",
            pip=self._venvs / "boot",
            ports=self._ports,
            name=self._name,
        )
        with self._progress.step("sam build: functions and layers") as heard:
            if not deployment.build(heard):
                self._progress.note("nothing has changed")
        with self._progress.step("sam deploy: template.yaml") as heard:
            if not deployment.deploy(heard):
                self._progress.note("the kept state holds this build already")
        self.outputs = deployment.outputs()
        return deployment.stack_name

    def _stop_workers(self) -> None:
        # All at once: each may take its time to let answers end.
        with ThreadPoolExecutor() as pool:
            list(pool.map(Service.stop, self._started_workers))

    def _start(self, cleanup: ExitStack) -> None:
        self._clear()
        step = self._progress.step
        with step("MiniStack: the AWS services"):
            self.aws = ministack.service(
                self._venvs / "ministack",
                self.home,
                self._ports.ministack,
                self.logs / "ministack.log",
                self._aws_settings,
            )
            self._run(self.aws, cleanup)
        stack_name = self._deploy(self._source)
        with step("Accounts"):
            self._seed()
        with step("Triton: the engine"):
            self.engine = self._triton()
            self._run(self.engine, cleanup)
        self.endpoints = self._endpoints(stack_name)
        with step("Web page"):
            config = self.home / "config.json"
            config.write_text(json.dumps(self.endpoints.page_config))
            self._run(web.service(ROOT, config, self._ports.web, self.logs / "web.log"), cleanup)
        # Started last, so that they end first: what they hand their runs back to is still there.
        cleanup.callback(self._stop_workers)
        with step(f"GPU workers: {self._workers}"):
            for _ in range(self._workers):
                self.start_worker()

    def _say_ending(self, reason: BaseException | None, what: str) -> None:
        # First what went wrong: ending takes its time.
        if isinstance(reason, ProcessFailure):
            self._progress.fail(str(reason), reason.log)
        self._progress.say(f"Ending {what} …")

    def _run(self, service: Service, cleanup: ExitStack) -> None:
        # Registered before the start: an interrupt in between must not leave it behind.
        cleanup.callback(service.stop)
        self._services.append(service)
        service.start()

    def _lock(self) -> IO[str]:
        """Two stacks in one folder would overwrite each other's state."""
        self.home.mkdir(parents=True, exist_ok=True)
        lock = (self.home / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise Unfit(f"{self.home} is in use by another local cloud: end that first") from None
        return lock

    def _clear(self) -> None:
        # Logs and scratch files are of one start only.
        for folder in ("logs", "tmp", *(("state", "s3") if self._fresh else ())):
            shutil.rmtree(self.home / folder, ignore_errors=True)
        self.logs.mkdir(parents=True)

    def _seed(self) -> None:
        cognito = ministack.session().client(
            "cognito-idp", endpoint_url=self._ports.aws_endpoint_url
        )
        accounts.seed(cognito, self.outputs["UserPoolId"])

    def _triton(self) -> Service:
        # It writes its log there.
        work_dir = self.logs / "triton"
        work_dir.mkdir()
        try:
            command, additions = triton.command(
                self._venvs / "triton",
                ROOT / "gpu_service" / "triton" / "model_repository",
                work_dir,
                self._ports.triton_http,
                self._ports.triton_grpc,
                self._ports.triton_metrics,
            )
        except triton.TritonSetupError as error:
            raise ProcessFailure(f"Triton cannot start: {error}", self.logs) from error
        return Service(
            "Triton",
            command,
            environment=clean_environment({**additions, **self._engine_settings}),
            cwd=work_dir,
            log=work_dir / "triton.log",
            ready_url=f"http://127.0.0.1:{self._ports.triton_http}/v2/health/ready",
            start_timeout_s=90,
            stop_timeout_s=10,
        )

    def _endpoints(self, stack_name: str) -> Endpoints:
        urls = LocalUrls.from_outputs(self.outputs, self._ports.aws_endpoint_url)
        return Endpoints(
            http_url=urls.http_url,
            ws_url=urls.ws_url,
            web_url=self._ports.web_url,
            aws_endpoint_url=self._ports.aws_endpoint_url,
            region=ministack.REGION,
            user_pool_client_id=self.outputs["UserPoolClientId"],
            accounts=accounts.ACCOUNTS,
            stack_name=stack_name,
            triton_grpc_url=self._ports.triton_grpc_url,
            logs=str(self.logs),
        )
