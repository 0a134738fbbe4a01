"""The way to the service: one channel, a key with each call, deadlines, retries that are safe, and the one error."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import Message

from .api_error import WorkflowApiError, to_api_error
from .contract import Method

ApiKey = str | Callable[[], str]

_ATTEMPTS_MAX = 4
_FIRST_PAUSE = 0.1
_OPTIONS = [
    ("grpc.enable_retries", 0),  # done here: they keep the request id and obey the service's pauses
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", -1),
]


def pause_after(attempt: int, error: WorkflowApiError, pause_max: float = 1.0) -> float:
    """Seconds before try ``attempt`` + 1: doubles from 0.1, at least what the service asked for; 20 % of it is chance, so that callers do not come back in step."""
    doubled = min(_FIRST_PAUSE * 2 ** min(attempt - 1, 16), pause_max)
    return max(error.retry_after or 0.0, doubled) * (1 + 0.2 * random.random())


class Connection:
    """Nothing is sent before the first call. Raises ValueError when the URL or the key is missing or unusable."""

    def __init__(self, url: str | None, api_key: ApiKey | None, root_certificates: bytes | None, headers: Mapping[str, str] | None) -> None:
        key = api_key if api_key is not None else os.environ.get("PAWF_API_KEY", "")
        if key == "":
            raise ValueError("there is no API key: give api_key, or set PAWF_API_KEY")
        self._key: ApiKey = key
        self._headers = [(name.lower(), value) for name, value in (headers or {}).items()]
        self._channel = _channel_to(url if url is not None else os.environ.get("PAWF_URL", ""), root_certificates)
        self._closed = threading.Event()

    def unary(self, method: Method, request: Message | dict[str, Any], timeout: float | None = None) -> Any:
        """Calls until there is an answer, a refusal that another try cannot change, four tries, or no time left for the next one."""
        # Encoded here: gRPC tells what cannot be as it does a stream that was reset.
        message = method.request_of(request).SerializeToString()
        call = self._channel.unary_unary(method.path, response_deserializer=method.response.FromString)
        bound = timeout if timeout is not None else method.default_timeout
        ends_at = None if bound is None else time.monotonic() + bound
        attempt = 0
        while True:
            attempt += 1
            metadata = self._metadata()
            left = None if ends_at is None else max(0.001, ends_at - time.monotonic())
            try:
                return self._told(lambda: call(message, timeout=left, metadata=metadata))
            except WorkflowApiError as error:
                pause = pause_after(attempt, error)
                if not error.is_passing or attempt >= _ATTEMPTS_MAX or (ends_at is not None and time.monotonic() + pause >= ends_at):
                    raise
                self.pause(pause)

    def stream(self, method: Method, request: Message | dict[str, Any], timeout: float | None = None) -> "Stream":
        """Opens a stream. It is not tried again: whoever reads it knows from where."""
        call = self._channel.unary_stream(method.path, response_deserializer=method.response.FromString)
        message = method.request_of(request).SerializeToString()
        metadata = self._metadata()
        return Stream(self, self._told(lambda: call(message, timeout=timeout, metadata=metadata)))

    def pause(self, seconds: float, woken: threading.Event | None = None) -> None:
        """Sleeps, unless the client is closed meanwhile. ``woken`` ends it early."""
        (woken or self._closed).wait(seconds)
        self._check_open()

    def close(self) -> None:
        """Ends what is under way with code CANCELED; further calls are refused."""
        self._closed.set()
        self._channel.close()

    def _metadata(self) -> list[tuple[str, str]]:
        # Asked for each try, so a key that rotates can be renewed. What it raises, the call raises: no other try would change it.
        self._check_open()
        key = self._key if isinstance(self._key, str) else self._key()
        return [*self._headers, ("authorization", f"Bearer {key}")]

    def _told(self, action: Callable[[], Any]) -> Any:
        self._check_open()
        try:
            return action()
        except grpc.RpcError as error:
            self._check_open()
            raise to_api_error(error) from error
        except ValueError:  # gRPC's word for a closed channel
            self._check_open()
            raise

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise WorkflowApiError("this client is closed", code="CANCELED")


class Stream(Iterator[Any]):
    """Messages of one stream; ``cancel`` ends it from any thread."""

    def __init__(self, connection: Connection, call: Any) -> None:
        self._connection = connection
        self._call = call

    def __next__(self) -> Any:
        return self._connection._told(lambda: next(self._call))

    def cancel(self) -> None:
        self._call.cancel()


def _channel_to(url: str, root_certificates: bytes | None) -> grpc.Channel:
    if url == "":
        raise ValueError("there is no URL of the service: give url, or set PAWF_URL, for example http://localhost:8006")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise ValueError(f'"{url}" is no URL of the service: it begins with http:// or https://')
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL of the service holds no credentials: give api_key, or set PAWF_API_KEY")
    if parts.path not in ("", "/"):
        raise ValueError(f'"{url}" has a path, which gRPC has no place for: give the address alone')
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    target = f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    if parts.scheme == "http":
        return grpc.insecure_channel(target, options=_OPTIONS)
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(root_certificates), options=_OPTIONS)
