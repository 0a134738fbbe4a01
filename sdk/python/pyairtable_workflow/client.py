"""The client of the service: start a workflow, watch it, wait for its result, and every rpc of the contract beside it.

    with WorkflowClient() as wf:                      # PAWF_URL and PAWF_API_KEY
        run = wf.start("order-fulfilment", {"order": 42})
        for told in run.watch():
            print(told.sequence, told.event, told.state)
        print(run.result())
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from google.protobuf.message import Message

from .connection import ApiKey, Connection, Stream
from .contract import Method, methods_of
from .run import Run


class ServiceClient:
    """The rpcs of one service as methods: ``wf.workflows.GetExecution({"execution_id": "exe_…"}, timeout=5)``.

    A request is a message (``pyairtable_workflow.message_class``) or its JSON form; the answer is a message, a stream iterates over messages and is not
    resumed. Key, deadline, retries, request ids and errors are those of the client.
    """

    def __init__(self, connection: Connection, service: str) -> None:
        self._connection = connection
        self._methods: Mapping[str, Method] = methods_of(service)
        self._service = service

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = self._methods.get(name)
        if method is None:
            raise AttributeError(f"{self._service} has no rpc {name}")
        return partial(self._call, method)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._methods]

    def _call(self, method: Method, request: Message | dict[str, Any] | None = None, *, timeout: float | None = None) -> Any | Stream:
        call = self._connection.stream if method.is_stream else self._connection.unary
        return call(method, {} if request is None else request, timeout)


class WorkflowClient:
    """Nothing is sent before the first call. Raises ValueError when URL or key is missing or unusable. Threads may share it."""

    def __init__(
        self,
        url: str | None = None,
        api_key: ApiKey | None = None,
        *,
        root_certificates: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``url`` [PAWF_URL]: its scheme decides on TLS, ``root_certificates`` (PEM) for own authorities. ``api_key`` [PAWF_API_KEY]: a function is asked before each try.
        ``headers`` go with every call."""
        self._connection = Connection(url, api_key, root_certificates, headers)
        self.workflows = ServiceClient(self._connection, "WorkflowService")
        self.templates = ServiceClient(self._connection, "TemplateService")
        self.sagas = ServiceClient(self._connection, "SagaCoordinationService")
        self.tasks = ServiceClient(self._connection, "TaskService")
        self.secrets = ServiceClient(self._connection, "SecretService")
        self.files = ServiceClient(self._connection, "FileService")
        self.monitoring = ServiceClient(self._connection, "MonitoringService")
        self.access = ServiceClient(self._connection, "AccessService")

    def __enter__(self) -> "WorkflowClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        workflow: str,
        input: Mapping[str, Any] | None = None,
        *,
        revision: int = 0,
        execution_key: str = "",
        conflict_policy: str = "FAIL",
        correlation_id: str = "",
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        start_delay: float = 0.0,
        request_id: str = "",
        timeout: float | None = None,
    ) -> Run:
        """Starts an execution of a workflow, by its name or id. It is durable when this returns.

        ``conflict_policy``: when an open run has the ``execution_key``, FAIL with EXECUTION_EXISTS, RETURN_EXISTING or TERMINATE_EXISTING.
        ``start_delay`` and ``timeout`` are seconds.
        """
        request = {
            "workflow": workflow,
            "input": dict(input or {}),
            "revision": revision,
            "execution_key": execution_key,
            "conflict_policy": f"CONFLICT_POLICY_{conflict_policy}",
            "correlation_id": correlation_id,
            "labels": dict(labels or {}),
            "priority": priority,
            "start_delay": f"{start_delay:.3f}s",
            "request_id": request_id,
        }
        answer = self.workflows.StartExecution(request, timeout=timeout)
        return Run(self._connection, answer.execution.id, answer.existing)

    def run(self, execution_id: str) -> Run:
        """A run that was started elsewhere, by its id or ``key:<execution_key>``. Nothing is asked of the service."""
        return Run(self._connection, execution_id)

    def close(self) -> None:
        """Ends open calls and watches."""
        self._connection.close()
