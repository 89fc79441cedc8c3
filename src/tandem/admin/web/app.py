"""The web process's HTTP side: who asks for what, and what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tandem.admin.client import CommandFailed
from tandem.admin.web.access import Caller, Role, Tokens, caller_by_certificate
from tandem.admin.web.audit import Audit
from tandem.admin.web.description import describe
from tandem.admin.web.limits import place_of
from tandem.admin.web.link import Link, Unreachable
from tandem.admin.web.live import Live
from tandem.admin.web.metrics import StatusCollector
from tandem.admin.web.operations import OPERATIONS, BadRequest, NotFound, Operation

PAGE = Path(__file__).with_name("page")
BODY_MAX = 64 << 10
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
ASK_FOR_PASSWORD = {"WWW-Authenticate": 'Basic realm="Tandem", charset="UTF-8"'}
ASK_FOR_TOKEN = {"WWW-Authenticate": 'Bearer realm="Tandem"'}
"""For who tried with a token: asked for a password, a browser would put up a prompt of its own over the page's."""


CERTIFICATE: Final = "certificate"
"""Where a request's state has the certificate that its connection was opened with; see `serve.Conversation`."""
PEER: Final = "peer"
"""Where it has what names that certificate."""


class Wanted(NamedTuple):
    """How the web process is to be."""

    socket: Path
    tokens: Path
    is_open: bool
    """Whether the page and the metrics need no credentials, as on loopback."""
    hosts: tuple[str, ...]
    """Names that it may be asked by; a page elsewhere that has its name point here is refused."""
    operators: tuple[str, ...] = ()
    """Names in certificates: who shows one of them may act, who shows another may look."""
    revoked: frozenset[str] = frozenset()
    """Serial numbers and fingerprints of certificates that let nobody in any more."""


class Refused(Exception):
    """Who asks may not."""

    def __init__(self, code: int, sentence: str, headers: Mapping[str, str] = HEADERS) -> None:
        super().__init__(sentence)
        self.code = code
        self.headers = headers


class Site:
    """Answers requests."""

    def __init__(self, wanted: Wanted, audit: Audit) -> None:
        self._wanted = wanted
        self._audit = audit
        self._tokens = Tokens(wanted.tokens)
        self._link = Link(wanted.socket)
        self._live = Live(Link(wanted.socket))  # its own way: a long list holds up no page

    def app(self) -> Starlette:
        """Give what an HTTP server runs."""
        routes = [
            Route("/", self._page),
            Route("/live", self._stream),
            Route("/metrics", self._metrics),
            Route("/openapi.json", self._description),
            Route("/api/v1/events/stream", self._event_stream),
            *(Route(each.path, self._endpoint(each), methods=[each.method]) for each in OPERATIONS),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]
        return Starlette(
            routes=routes,
            lifespan=self._run,
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(self._wanted.hosts), www_redirect=False)],
            exception_handlers={
                Refused: self._refuse,
                BadRequest: _answer_with(400),
                NotFound: _answer_with(404),
                Unreachable: _answer_with(503),
                CommandFailed: _answer_with(409),
                404: _no_such_path,
                405: _no_such_path,
            },
        )

    def end(self) -> None:
        """End all streams, which never end by themselves."""
        self._live.end()

    @contextlib.asynccontextmanager
    async def _run(self, _: Starlette) -> AsyncIterator[None]:
        asking = asyncio.create_task(self._live.run())
        try:
            yield
        finally:
            asking.cancel()
            await self._link.close()

    # -- what needs no credentials on loopback

    async def _page(self, request: Request) -> Response:
        self._let_in(request, is_open=self._wanted.is_open)
        text = (PAGE / "index.html").read_text()
        return Response(text, media_type="text/html", headers=HEADERS)

    async def _metrics(self, request: Request) -> Response:
        self._let_in(request, is_open=self._wanted.is_open)
        registry = CollectorRegistry()
        registry.register(StatusCollector(await self._live.fresh()))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type, **HEADERS})

    async def _stream(self, request: Request) -> Response:
        self._let_in(request, is_open=self._wanted.is_open)
        return _events_of(self._live.listen(_place(request)))

    async def _description(self, request: Request) -> Response:
        self._let_in(request, is_open=self._wanted.is_open)
        return JSONResponse(describe(), headers=HEADERS)

    # -- the API

    def _endpoint(self, operation: Operation) -> Any:
        async def endpoint(request: Request) -> Response:
            self._let_in(request, operation.role)
            if operation.role is not Role.READ_ONLY:
                _refuse_other_pages(request)
            given = await _given(request, operation)
            try:
                result = await operation.run(self._link, given)
            except CommandFailed as error:
                self._log_act(request, operation, given, str(error))
                raise
            self._log_act(request, operation, given, "done")
            return JSONResponse(result, headers=HEADERS)

        return endpoint

    async def _event_stream(self, request: Request) -> Response:
        self._let_in(request)
        messages = self._live.listen(_place(request))

        async def events() -> AsyncIterator[str]:
            async for told in messages:
                for event in json.loads(told)["events"]:
                    yield json.dumps(event)

        return _events_of(events())

    def _caller(self, request: Request) -> Caller | None:
        authorization = request.headers.get("authorization", "")
        certificate = request.scope.get("state", {}).get(CERTIFICATE)
        if certificate and not authorization.partition(" ")[2].strip():  # the page says Bearer before it has a token
            return caller_by_certificate(certificate, self._wanted.operators)
        return self._tokens.caller(authorization)

    def _let_in(self, request: Request, role: Role = Role.READ_ONLY, is_open: bool = False) -> None:
        """Return if who asks may have this; Refused says why not."""
        peer = request.scope.get("state", {}).get(PEER)
        if peer is not None and peer.is_among(self._wanted.revoked):
            raise Refused(403, f"The certificate with the serial number {peer.serial} is revoked.")
        if is_open:
            return
        caller = self._caller(request)
        if caller is None:
            scheme = request.headers.get("authorization", "").partition(" ")[0].lower()
            ask = ASK_FOR_TOKEN if scheme == "bearer" else ASK_FOR_PASSWORD
            sentence = "Give a token: `Authorization: Bearer TOKEN`. `tandem token new` makes one."
            raise Refused(401, sentence, {**HEADERS, **ask})
        if not caller.role.includes(role):
            raise Refused(403, f"{caller.name!r} has the role {caller.role}; this needs {role}.")

    def _log_act(self, request: Request, operation: Operation, given: Mapping[str, Any], outcome: str) -> None:
        """Log every act: who did what, from where, and what came of it."""
        if operation.role is not Role.READ_ONLY:
            caller = self._caller(request)
            place = request.client.host if request.client is not None else None
            self._audit.act(caller.name if caller is not None else None, place, operation.id, given, outcome)

    async def _refuse(self, request: Request, refused: Any) -> Response:
        """Answer who may not have what was asked for, and log it: at info if nothing was shown, as browsers begin."""
        has_shown = request.headers.get("authorization", "").partition(" ")[2] or refused.code != 401
        asked = f"{request.method} {request.url.path}"
        level = "warning" if has_shown else "info"
        self._audit.refused(_place(request), str(refused), level, code=refused.code, asked=asked)
        return JSONResponse({"error": str(refused)}, refused.code, headers=refused.headers)


def _place(request: Request) -> str:
    return place_of(request.client.host) if request.client is not None else ""


def _refuse_other_pages(request: Request) -> None:
    """See that no page elsewhere acts by its reader's certificate, which a browser shows whoever asks; else Refused."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers["host"]:
        raise Refused(403, f"This was asked by a page of {origin}; only the page that is served here may act.")


async def _given(request: Request, operation: Operation) -> dict[str, Any]:
    """Read what was given, by what the operation says may be. BadRequest names what is wrong."""
    in_path = {each.name: each for each in operation.parameters if each.where == "path"}
    given: dict[str, Any] = {name: in_path[name].read(value) for name, value in request.path_params.items()}
    in_query = {each.name: each for each in operation.parameters if each.where == "query"}
    for name, value in request.query_params.multi_items():
        if name not in in_query:
            raise BadRequest(f"There is no parameter {name!r}; there are: {', '.join(in_query) or 'none'}.")
        if name in given:
            raise BadRequest(f"{name} is given twice.")
        given[name] = in_query[name].read(value)
    if operation.method == "POST":
        given.update(_read_body(await _body(request), operation))
    return given


async def _body(request: Request) -> bytes:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > BODY_MAX:
            raise BadRequest(f"The body is longer than {BODY_MAX} octets.")
    return data


def _read_body(data: bytes, operation: Operation) -> dict[str, Any]:
    kinds = {"integer": int, "boolean": bool, "string": str}
    known = {each.name: each for each in operation.parameters if each.where == "body"}
    try:
        found = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError):
        raise BadRequest("The body must be a JSON object.") from None
    if not isinstance(found, dict):
        raise BadRequest("The body must be a JSON object.")
    for name, value in found.items():
        if name not in known:
            raise BadRequest(f"There is no {name!r} in the body; there are: {', '.join(known) or 'none'}.")
        if type(value) is not kinds[known[name].schema["type"]]:
            raise BadRequest(f"{name} must be of type {known[name].schema['type']}.")
    return found


def _events_of(messages: AsyncIterator[str]) -> Response:
    async def lines() -> AsyncIterator[str]:
        async for message in messages:
            yield f"data: {message}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers=HEADERS)


def _answer_with(code: int) -> Any:
    async def answer(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, code, headers=HEADERS)

    return answer


async def _no_such_path(request: Request, error: Any) -> Response:
    sentence = f"There is no {request.method} {request.url.path}; /openapi.json says what there is."
    return JSONResponse({"error": sentence}, error.status_code, headers={**HEADERS, **(error.headers or {})})
