"""Take the screenshots in README.md and docs/reports.md from real runs, in headless Chromium.

    python docs/screenshots.py

All answers are replayed or come from the embedded model, so nothing is called over a network.
Needs `chromium` on the path.
"""  # noqa: INP001 - a script, not a module of a package

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser import NARROW, browser, opened  # noqa: E402 - the checkout's own
from tests.pages import many_prompts, page  # noqa: E402 - the checkout's own

IMAGES = ROOT / "docs" / "images"
WIDE = {"width": 1200, "height": 820}
GSM8K = ("compare", "175b_verification", "175b_finetuning")


def llmops(folder: Path, *arguments: str) -> None:
    """Run llmops in `folder`, ignoring the exit code."""
    subprocess.run(  # noqa: S603 - this checkout's program
        [sys.executable, "-m", "llmops_cli", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def broken_classifier(folder: Path) -> Path:
    """Return the report of README's session: half of the prompt's examples are deleted."""
    for name in ("prompts", "evalsets", ".llmops"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("store"))
    shutil.copy(ROOT / "llmops.yaml", folder)
    prompt = folder / "prompts" / "intent.prompt.yml"
    text = prompt.read_text(encoding="utf-8")
    prompt.write_text(re.sub(r"(?ms)^[^\n]*# --- second half.*?# --- end of[^\n]*\n", "", text))
    llmops(folder, "eval", "intent", "--html", "page.html")
    return folder / "page.html"


def math_problems(folder: Path) -> Path:
    """Return the report that compares two GPT-3 systems on 400 math problems."""
    shutil.copytree(ROOT / "examples" / "gsm8k-recorded", folder / "math")
    llmops(folder / "math", *GSM8K, "--html", "page.html")
    return folder / "math" / "page.html"


def main() -> None:
    """Write all screenshots."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        classifier, problems = broken_classifier(Path(one)), math_problems(Path(two))
        sixty = page(Path(one) / "sixty.html", *many_prompts())
        shots: list[tuple[str, Path, str, dict[str, Any]]] = [
            ("verdict", classifier, "", {"viewport": WIDE}),
            ("cases-dark", problems, "cases", {"viewport": WIDE, "color_scheme": "dark"}),
            ("sixty-prompts", sixty, "", {"viewport": WIDE}),
            ("narrow", classifier, "", {"viewport": NARROW}),
        ]
        with browser() as running:
            for name, file, part, how in shots:
                with opened(running, file, **how) as (at, _):
                    if part:
                        at.get_by_role("button", name="Regressed").click()
                        while not at.locator(".detail del").count():
                            at.keyboard.press("j")
                        at.evaluate(f"document.getElementById('{part}').scrollIntoView()")
                        at.wait_for_timeout(600)
                    at.screenshot(path=IMAGES / f"report-{name}.png")


if __name__ == "__main__":
    main()
