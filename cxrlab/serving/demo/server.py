"""The page's server: nothing is kept, nothing is fetched, and nobody else's page can ask it.

A file is the body of a request of its own. Forms of several parts would need a parser that puts
large files on the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import anyio
import cv2
import numpy as np
import torch
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxrlab.config.commands import DemoConfig
from cxrlab.data.images import UnreadableImageError
from cxrlab.errors import UserError
from cxrlab.layout import MODEL_CARD
from cxrlab.page import render
from cxrlab.serving.demo.about import about
from cxrlab.serving.demo.answer import Answer, answer
from cxrlab.serving.predictor import Predictor

_HERE = Path(__file__).parent
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    # Styles and scripts are this server's files, images are part of the answer; nothing else.
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",  # a browser would keep an answer on the disk
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# Other sites can't send this kind without being asked first, which is refused.
_KIND = "application/octet-stream"
_log = logging.getLogger("cxrlab")

Endpoint = Callable[[Request], Awaitable[Response]]


def demo_app(checkpoint: Path, config: DemoConfig) -> ASGIApp:
    """Load a run, try it once, and put the page around it.

    Args:
        checkpoint: the run's `checkpoints/best.ckpt`.
        config: method, limits and host.

    Raises:
        UserError: the checkpoint can't be used.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictor = Predictor.load(checkpoint, device)
    # The first pass takes a second more, and tells whether the method fits the network.
    blank = np.zeros((predictor.image_size,) * 2, np.uint8)
    answer(
        replace(predictor, gate=None), cv2.imencode(".png", blank)[1].tobytes(), "", config.method
    )
    page = render(
        _HERE / "page.html.j2",
        about=about(checkpoint.parents[1], predictor, config.method),
        limit=config.max_megabytes,
    )
    style = render(_HERE / "style.css.j2")
    script = (_HERE / "page.js").read_text()
    extra = f"[{config.host}]" if ":" in config.host else config.host
    inner = Starlette(
        routes=[
            Route("/", _file(page, "text/html")),
            Route("/style.css", _file(style, "text/css")),
            Route("/page.js", _file(script, "text/javascript")),
            Route("/predict", _predict(predictor, config), methods=["POST"]),
            *_card(checkpoint.parents[1] / f"{MODEL_CARD}.html"),
        ],
        middleware=[
            # Else a page elsewhere could take this address for its own name's (DNS rebinding).
            Middleware(TrustedHostMiddleware, allowed_hosts=[*_HOSTS, extra], www_redirect=False),
        ],
        exception_handlers={
            HTTPException: _refused,
            ClientDisconnect: _gone,
            Exception: _failed,
        },
    )
    return _Headers(inner)  # outside of all, so that failures have them too


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Serve until Ctrl-C, which is raised again as `KeyboardInterrupt`."""
    # Names of files can be names of patients: no request is logged.
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run()


def _file(text: str, kind: str) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return Response(text, media_type=kind)

    return endpoint


def _card(file: Path) -> list[Route]:
    """The model card, where the run has one. It brings its style along, and no script."""
    if not file.is_file():
        return []
    policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    text = file.read_text(encoding="utf-8")

    async def endpoint(request: Request) -> Response:
        return Response(text, media_type="text/html", headers=policy)

    return [Route("/model-card", endpoint)]


def _predict(predictor: Predictor, config: DemoConfig) -> Endpoint:
    limit = config.max_megabytes * 1_000_000
    uploads, turn = anyio.Semaphore(config.uploads), anyio.CapacityLimiter(1)

    async def endpoint(request: Request) -> Response:
        if request.headers.get("content-type") != _KIND:
            raise HTTPException(415, f"send a file's bytes as {_KIND}")
        _check_length(request, limit)
        async with uploads:
            content = await _body(request, limit, config.upload_seconds)
            name = unquote(request.headers.get("x-file-name", ""))
            work = partial(answer, predictor, content, name, config.method)
            try:
                found: Answer = await anyio.to_thread.run_sync(work, limiter=turn)
            except (UnreadableImageError, UserError) as error:
                raise HTTPException(422, str(error)) from error
        return JSONResponse(asdict(found))

    return endpoint


def _check_length(request: Request, limit: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)


async def _body(request: Request, limit: int, seconds: float) -> bytes:
    """The body, of which no more is read than the limit and a chunk."""
    content = bytearray()
    try:
        with anyio.fail_after(seconds):
            async for chunk in request.stream():
                content += chunk
                if len(content) > limit:
                    raise _too_large(limit)
    except TimeoutError as error:
        raise HTTPException(408, f"the file did not arrive within {seconds:g} s") from error
    return bytes(content)


def _too_large(limit: int) -> HTTPException:
    # What is left of the body is not read, so the connection can't be used again.
    return HTTPException(
        413, f"larger than {limit // 1_000_000} MB, the limit", {"connection": "close"}
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody waits for the answer any more."""
    return Response(status_code=400)


async def _failed(request: Request, error: Exception) -> Response:
    """The traceback is for the terminal alone, where the server writes it."""
    return JSONResponse({"error": "the server failed on this file; its terminal tells why"}, 500)


class _Headers:
    """Adds those of `_HEADERS` to every answer that it does not have."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [*message.get("headers", ())]
                own = {name for name, _ in given}
                told = ((name.encode(), value.encode()) for name, value in _HEADERS.items())
                message["headers"] = [*given, *(pair for pair in told if pair[0] not in own)]
            await send(message)

        await self.app(scope, receive, sent)
