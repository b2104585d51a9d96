"""A real browser without a window, to look at pages as a reader does.

It is Debian's or the machine's own Chromium; nothing is downloaded. Whatever a page logs, asks
the network for or opens as a dialog is kept, so that a test can say that there was nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Dialog, Page, Request, sync_playwright

from tests.conftest import CHROMIUM

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Seen:
    """What a page did that it should not."""

    requests: list[str] = field(default_factory=list)
    """Addresses that it asked for, its own file left out."""
    refused: list[str] = field(default_factory=list)
    """Those of them that its own policy refused."""
    logged: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, gone afterwards."""
    assert CHROMIUM, "no Chromium here: apt-get install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield running
        finally:
            running.close()


@contextmanager
def opened(
    running: Browser, file: Path, address: str = "", **how: Any
) -> Iterator[tuple[Page, Seen]]:
    """The page in `file` at `address` (`#case=…`); `how` is of a new context."""
    seen = Seen()
    context = running.new_context(**{"viewport": WIDE, **how})

    def on_request(request: Request) -> None:
        if not request.url.startswith(file.as_uri()):
            seen.requests.append(request.url)

    def on_failed(request: Request) -> None:
        if "csp" in (request.failure or ""):
            seen.refused.append(request.url)

    def on_dialog(dialog: Dialog) -> None:
        seen.dialogs.append(dialog.message)
        dialog.dismiss()

    try:
        page = context.new_page()
        page.on("request", on_request)
        page.on("requestfailed", on_failed)
        page.on("dialog", on_dialog)
        page.on("console", lambda message: seen.logged.append(message.text))
        page.on("pageerror", lambda error: seen.logged.append(str(error)))
        page.goto(file.as_uri() + address)
        yield page, seen
    finally:
        context.close()
