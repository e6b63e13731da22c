"""The only way out to addresses that users name: resolved once, checked, pinned, bounded in time and size."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import SplitResult, urljoin, urlsplit

from kernel import clock
from services.catalog.remote.addresses import Network, is_allowed, is_public, parse_address
from services.catalog.remote.faults import Fault, RemoteError

LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
_MOST_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_USER_AGENT = "fairlead-catalog"

Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Trust:
    """Whose certificates count: the system's authorities, or the registry's own; `verify` false counts them all."""

    verify: bool = True
    ca_certificate: str | None = None


@dataclass(frozen=True)
class Answer:
    """A whole answer of a registry. Header names are in lower case; `url` is where it came from in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    challenges: tuple[str, ...] = field(default_factory=tuple)


class Egress(Protocol):
    """Fetches one thing from outside."""

    def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        trust: Trust,
        body: bytes | None = None,
        seconds: float = 10.0,
        redirect_elsewhere: bool = False,
        largest_bytes: int = LARGEST_ANSWER_BYTES,
    ) -> Answer: ...


def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a host name. Raises OSError."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


@dataclass(frozen=True)
class _Target:
    parts: SplitResult
    host: str
    port: int
    address: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.parts.scheme, self.host, self.port

    @property
    def path(self) -> str:
        return (self.parts.path or "/") + (f"?{self.parts.query}" if self.parts.query else "")


class GuardedEgress:
    """Connects to checked addresses only. Private networks, plain HTTP and unusual low ports need `allowed`, the operator's list."""

    def __init__(self, allowed: Sequence[Network] = (), *, resolver: Resolve = resolve) -> None:
        self._allowed = tuple(allowed)
        self._resolve = resolver

    def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        trust: Trust,
        body: bytes | None = None,
        seconds: float = 10.0,
        redirect_elsewhere: bool = False,
        largest_bytes: int = LARGEST_ANSWER_BYTES,
    ) -> Answer:
        """The answer of `url`, whatever its status. Redirects stay on the host; `redirect_elsewhere` lets them leave it,
        without the Authorization header and checked anew (blobs, whose digest tells whether they are the right ones).
        Raises RemoteError."""
        deadline = clock.monotonic() + seconds
        target = self._target(url)
        sent = dict(headers)
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._exchange(method, target, sent, trust, body, deadline, largest_bytes)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                return answer
            following = self._target(urljoin(answer.url, location))
            if following.origin != target.origin:
                if not redirect_elsewhere or (target.parts.scheme == "https" and following.parts.scheme != "https"):
                    raise RemoteError(Fault.ANSWER, f"{target.host} redirects to another host, which is not followed.")
                sent.pop("Authorization", None)
                trust = Trust()
            target = following
        raise RemoteError(Fault.ANSWER, f"{target.host} redirects too often.")

    def _target(self, url: str) -> _Target:
        try:
            parts = urlsplit(url)
            port = parts.port or {"https": 443, "http": 80}[parts.scheme]
        except (ValueError, KeyError) as error:
            raise RemoteError(Fault.ADDRESS, "The address is not an http or https one.") from error
        if not parts.hostname or any(character <= " " or character > "~" for character in url):
            raise RemoteError(Fault.ADDRESS, "The address names no host, or holds characters that do not belong there.")
        return _Target(parts, parts.hostname, port, self._checked_address(parts.scheme, parts.hostname, port))

    def _checked_address(self, scheme: str, host: str, port: int) -> str:
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise RemoteError(Fault.ADDRESS, f"The name {host} cannot be resolved.") from error
        addresses = [parse_address(text) for text in found]
        if not addresses:
            raise RemoteError(Fault.ADDRESS, f"The name {host} has no address.")
        for address in addresses:
            if is_allowed(address, self._allowed):
                continue
            if not is_public(address):
                raise RemoteError(
                    Fault.ADDRESS, f"{host} lies in a network that the operator has not allowed (FAIRLEAD_EGRESS_ALLOWED_NETWORKS)."
                )
            if scheme != "https":
                raise RemoteError(
                    Fault.ADDRESS, f"{host} must be reached by https: plain http is for networks that the operator has allowed."
                )
            if port < 1024 and port != 443:
                raise RemoteError(Fault.ADDRESS, f"Port {port} of {host} is not one that registries use.")
        return found[0]

    def _exchange(
        self,
        method: str,
        target: _Target,
        headers: Mapping[str, str],
        trust: Trust,
        body: bytes | None,
        deadline: float,
        largest_bytes: int,
    ) -> Answer:
        connection = _PinnedConnection(target, trust, deadline)
        with connection.cut_at_deadline():
            try:
                connection.request(method, target.path, body, {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"} | dict(headers))
                response = connection.getresponse()
                content = b"" if method == "HEAD" else response.read(largest_bytes + 1)
            except ssl.SSLCertVerificationError as error:
                raise RemoteError(Fault.CERTIFICATE, f"The certificate of {target.host} is not trusted: {error.verify_message}.") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise _broken(target.host, error, late=clock.monotonic() >= deadline) from error
        if clock.monotonic() >= deadline:
            raise RemoteError(Fault.UNREACHABLE, f"{target.host} did not answer in time.")
        if len(content) > largest_bytes:
            raise RemoteError(Fault.ANSWER, f"{target.host} answers with more than {largest_bytes} bytes.")
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, content, target.parts.geturl(), tuple(response.headers.get_all("WWW-Authenticate") or ()))


def _broken(host: str, error: Exception, *, late: bool) -> RemoteError:
    if late or isinstance(error, TimeoutError):
        return RemoteError(Fault.UNREACHABLE, f"{host} did not answer in time.")
    if isinstance(error, ssl.SSLError):
        return RemoteError(Fault.CERTIFICATE, f"{host} does not speak TLS as it should.")
    return RemoteError(Fault.UNREACHABLE, f"{host} does not answer.")


class _PinnedConnection(http.client.HTTPConnection):
    """Connects to the checked address, speaks TLS to the name, and is cut when its time is over, whatever it is doing."""

    def __init__(self, target: _Target, trust: Trust, deadline: float) -> None:
        super().__init__(target.host, target.port)
        if target.parts.scheme == "https":
            self.default_port = 443  # so that the Host header leaves it out
        self._target = target
        self._trust = trust
        self._deadline = deadline
        self._raw: socket.socket | None = None

    def connect(self) -> None:
        left = max(self._deadline - clock.monotonic(), 0.01)
        self._raw = socket.create_connection((self._target.address, self._target.port), timeout=min(left, 5.0))
        self._raw.settimeout(max(self._deadline - clock.monotonic(), 0.01))
        self._raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._target.parts.scheme == "https":
            # The handshake comes after the socket is known, so that it can be cut as well.
            secure = tls_context(self._trust).wrap_socket(self._raw, server_hostname=self._target.host, do_handshake_on_connect=False)
            self.sock = secure
            secure.do_handshake()
        else:
            self.sock = self._raw

    def cut_at_deadline(self) -> _Cut:
        return _Cut(self, max(self._deadline - clock.monotonic(), 0.01))

    def cut(self) -> None:
        for one in (self._raw, self.sock):
            if one is not None:
                try:
                    # A TLS socket has taken the raw one's descriptor over; whichever is open, is shut.
                    socket.socket.shutdown(one, socket.SHUT_RDWR)
                except OSError:
                    continue


class _Cut:
    """Shuts a connection when its time is over: a server that sends a byte now and then cannot hold a thread."""

    def __init__(self, connection: _PinnedConnection, seconds: float) -> None:
        self._connection = connection
        self._timer = threading.Timer(seconds, connection.cut)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._connection.close()


def tls_context(trust: Trust) -> ssl.SSLContext:
    """TLS 1.2 or newer. Raises RemoteError when the registry's own authority is no certificate."""
    try:
        context = ssl.create_default_context(cadata=trust.ca_certificate or None)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise RemoteError(Fault.CERTIFICATE, "The registry's own authority (ca_certificate) is not a PEM certificate.") from error
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
