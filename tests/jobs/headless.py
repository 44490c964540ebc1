"""A page opened in headless Chromium: what it shows, says and asks the network for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (  # no business of the browser's own, and nobody to be reached
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--disable-extensions", "--disable-sync", "--no-pings", "--enable-logging=stderr", "--v=0",
    "--host-resolver-rules=MAP * 127.0.0.1:1", "--virtual-time-budget=5000",
)  # fmt: skip
SCHEMES = {"dark": 0, "light": 1}  # as Blink's settings number them
PROBE = """
<script>
(async () => {
  const images = [...document.images];
  images.forEach((image) => { image.loading = "eager"; });
  const loaded = (image) => image.complete
    || new Promise((done) => { image.onload = image.onerror = done; });
  await Promise.all(images.map(loaded));
  const shown = (e) => !e.closest("[hidden]");
  const box = (e) => e.getBoundingClientRect();
  const empty = (e) => !(box(e).width && box(e).height);
  const name = (e) => e.getAttribute("aria-label") || e.getAttribute("class") || e.outerHTML;
  const found = {
    headings: [...document.querySelectorAll("h1, h2")].filter((e) => !empty(e))
      .map((e) => e.textContent),
    svgs: [...document.querySelectorAll("svg")].filter(shown).length,
    emptySvgs: [...document.querySelectorAll("svg")].filter((e) => shown(e) && empty(e)).map(name),
    outside: [...document.querySelectorAll("svg text")].filter(shown).filter((e) => {
      const text = box(e), frame = box(e.closest("svg"));
      return text.left < frame.left - 1 || text.right > frame.right + 1
        || text.top < frame.top - 1 || text.bottom > frame.bottom + 1;
    }).map((e) => e.textContent),
    images: images.length,
    brokenImages: images.filter((e) => !e.naturalWidth).length,
    width: innerWidth,
    pageWidth: document.documentElement.scrollWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
  };
  const note = document.createElement("pre");
  note.id = "probe";
  note.textContent = JSON.stringify(found);
  document.body.append(note);
})();
</script>
"""


@dataclass(frozen=True)
class Visit:
    """What came of opening a page."""

    dom: str  # after its scripts have run
    console: tuple[str, ...]  # all it said there, refused requests included
    requests: tuple[str, ...]  # addresses that the page itself asked for, of whatever success

    @property
    def probe(self) -> dict[str, Any]:
        """What PROBE found, where the page held it."""
        found = re.search(r'<pre id="probe">(.*?)</pre>', self.dom, re.S)
        assert found, "the probe did not finish"
        text = found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        return json.loads(text)


def browser() -> str | None:
    """The first that is on PATH."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def visit(path: str, page: str, folder: Path, scheme: str = "light", width: int = 1400) -> Visit:
    """Open a page from a file, and read everything that it did."""
    log = folder / "net.json"
    done = _run(path, page, folder, scheme, width, f"--log-net-log={log}", "--dump-dom")
    console = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
    return Visit(done.stdout, tuple(console), tuple(_asked(json.loads(log.read_text()))))


def screenshot(path: str, page: str, folder: Path, scheme: str, width: int) -> Path:
    """The page's first 3,000 pixels as a PNG."""
    target = folder / "page.png"
    _run(path, page, folder, scheme, width, f"--screenshot={target}")
    return target


def _run(
    path: str, page: str, folder: Path, scheme: str, width: int, *more: str
) -> subprocess.CompletedProcess[str]:
    place = folder / "page.html"
    place.write_text(page, encoding="utf-8")
    own = (
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},3000",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
    )
    command = [path, *QUIET, *own, *more, place.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def _asked(log: dict[str, Any]) -> list[str]:
    """Requests with a page behind them; the browser's own have "not an origin" as initiator."""
    kinds = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    starts = (
        event.get("params", {})
        for event in log["events"]
        if kinds[event["type"]] == "URL_REQUEST_START_JOB"
    )
    return [
        start["url"]
        for start in starts
        if "url" in start and start.get("initiator") != "not an origin"
    ]
