"""Pages in a real browser: requests, exactness and speed of sliders, and how they look.

    python experiments/report/check.py [PLAN STORE]

Without arguments the default plan is made from an empty store first. Writes ``README.md``'s table,
pictures and a PDF beside this file. Needs Chromium (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

from large_store import write_large_store
from oracle import Oracle, changes_of
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import floss_sim.cli
from floss_sim.analysis.comparison import Configuration
from floss_sim.analysis.what_if import replay_comparison, scenario
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.network.named_changes import with_changes
from planner import read_plan
from planner.page.plan_network import plan_network
from planner.page.plan_page import plan_page
from planner.page.plan_what_if import PlanWhatIf
from planner.page.used_runs import find_used_runs
from planner.plans.plan import Plan
from planner.report.reported_plan import ReportedPlan

HERE = Path(__file__).parent
SETTINGS, COMMANDS = 100, 10  # the first ones by the copied command, others by its functions
TOLERANCE = 1e-9
LEAST_CONTRAST = 4.5
HOSTILE = '</script><script>alert(1)</script> "x" <img src=x onerror=alert(2)> \u202e\u05d0 & co'
_SET = """(places) => {
  for (const [name, place] of Object.entries(places)) byId(`set-${name}`).value = place;
  const begin = performance.now(), shown = update(), ms = performance.now() - begin;
  const first = shown.rows.map((row) => [row.label, row.fleets.map((one) => one[one.length - 1])]);
  return { best: shown.best, rows: first, ms, command: byId("command").textContent };
}"""
_CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const told = parse(getComputedStyle(node).backgroundColor);
      if (told.length < 4 || told[3] > 0) return told;
    }
  };
  const leaves = [...document.body.querySelectorAll("*")].filter((node) => node.checkVisibility()
    && !["SCRIPT", "STYLE"].includes(node.tagName)
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()));
  return Math.min(...leaves.map((node) => {
    const style = getComputedStyle(node), own = node.ownerSVGElement ? style.fill : style.color;
    const [a, b] = [light(parse(own)), light(behind(node))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }));
}"""


def check(holds: bool, what: str) -> None:
    """Exit with a message unless something holds."""
    if not holds:
        raise SystemExit(what)


class Watched:
    """A page of the browser, with what it has said and asked for."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page, self.said, self.asked = page, [], []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(f"file://{path}")
        page.evaluate("ready")
        page.evaluate("drawn")

    def check_quiet(self) -> None:
        """Check that the page has said nothing, and has asked for nothing but itself."""
        check(not self.said, f"messages on the console: {self.said}")
        check(len(self.asked) == 1, f"requests: {self.asked}")


@contextmanager
def opened(browser: Browser, path: Path, **context: Any) -> Iterator[Watched]:
    """Yield a page of a browser; in the end it must have been quiet."""
    held = browser.new_context(**context)
    watched = Watched(held.new_page(), path)
    yield watched
    watched.check_quiet()
    held.close()


def check_settings(watched: Watched, oracle: Oracle, folder: Path) -> dict[str, Any]:
    """Compare random settings with what ``replay`` and the planner say; return the figures."""
    draw, worst, ms, seen = random.Random(0), 0.0, [], set()  # noqa: S311
    sliders = watched.page.evaluate("page.sliders")
    titles = watched.page.evaluate("page.networks.map((one) => one.title)")
    for number in range(SETTINGS):
        places = {name: draw.randrange(len(one["values"])) for name, one in sliders.items()}
        told = watched.page.evaluate(_SET, places)
        ms.append(told["ms"])
        values = {name: one["values"][places[name]] for name, one in sliders.items()}
        profile = with_changes(load_profile(titles[values["network"]]), changes_of(values))
        best = oracle.best(profile, values["budget"])
        labels = {label.partition(": ")[2] or label for label in [told["best"] or ""]}
        check(best is None or labels == {words_of(best)}, f"{values}: {labels}, not {best}")
        seen |= labels
        by_command = number < COMMANDS
        worst = max(worst, worst_difference(told, folder, None if by_command else profile))
    check(worst <= TOLERANCE, f"seconds differ by {worst}")
    return {"worst": worst, "ms": median(ms), "most_ms": max(ms), "different": len(seen)}


def words_of(candidate: Any) -> str:
    """Return a candidate as pages name it."""
    from planner.page.shown_runs import what_text

    return what_text(candidate)


def worst_difference(told: dict[str, Any], folder: Path, profile: NetworkProfile | None) -> float:
    """Return the largest relative difference of a page's seconds to those of ``replay``.

    Args:
        told: What the page shows.
        folder: Folder of the page.
        profile: The network; None runs the command that the page copies.
    """
    found = {}  # a network equal to the recorded one is told as the recorded one alone
    words = shlex.split(told["command"])
    if profile is None:
        for line in json.loads(printed(words, folder))["scenarios"]:
            if not line["recorded"] or line["label"] not in found:
                found[line["label"]] = (line["own_fleet_s"], line["time"]["median_s"])
    else:
        paths = tuple(folder / word for word in words[2 : words.index("--network")])
        for configuration in recorded(paths):
            line = scenario(configuration, profile)
            found[configuration.label] = (line.own_fleet_s, line.time.median_s)
    ours = sorted((rows[0], median_of(rows)) for _, rows in told["rows"][: len(found)])
    theirs = sorted(found.values())
    pairs = zip(ours, theirs, strict=True)
    return max(abs(a / b - 1) for one, other in pairs for a, b in zip(one, other, strict=True))


@cache
def recorded(paths: tuple[Path, ...]) -> tuple[Configuration, ...]:
    """Return the configurations of run folders, as ``replay`` reads them."""
    return replay_comparison(paths, "the network").configurations


def printed(words: list[str], folder: Path) -> str:
    """Return what a command of ``floss-sim`` prints as JSON, in a folder."""
    sys.argv = [*words, "--json", "--out", str(folder / "replay.png")]
    with chdir(folder), redirect_stdout(StringIO()) as out, suppress(SystemExit):
        floss_sim.cli.main()
    return out.getvalue()


def median_of(seconds: list[float]) -> float:
    """Return the median over fleets by the convention of times."""
    from floss_sim.analysis.time_spread import fleet_quantile

    return float(fleet_quantile(seconds, 0.5))


def check_controls(watched: Watched) -> None:
    """Check keyboard, address and copy button."""
    page = watched.page
    page.focus("#set-up")
    before = page.inner_text("#told-up")
    page.keyboard.press("ArrowRight")
    after = page.inner_text("#told-up")
    check(before != after, "the arrow key moves no slider")
    check(page.get_attribute("#set-up", "aria-valuetext") == after, "a slider is not spoken")
    address = page.evaluate("location.hash")
    check(f"up={page.input_value('#set-up')}" in address, f"address {address}")
    page.click("#copy")
    check(bool(page.inner_text("#copied")), "nothing was copied")
    answer = page.inner_text("#what-if-answer")
    page.goto(page.url.partition("#")[0] + address)
    page.reload()
    page.evaluate("ready")
    again = (page.inner_text("#told-up"), page.inner_text("#what-if-answer"))
    check(again == (after, answer), f"the address gives {again}")
    watched.asked[:] = watched.asked[:1]


def picture(browser: Browser, path: Path, name: str) -> dict[str, float]:
    """Save pictures of a page at two widths and as PDF; return the least contrast by scheme."""
    least = {}
    for scheme in ("light", "dark"):
        for width in (1280, 360):
            view = {"width": width, "height": 900}
            with opened(browser, path, viewport=view, color_scheme=scheme) as watched:
                page = watched.page
                page.wait_for_timeout(1500)  # the crossovers follow
                wide = page.evaluate("document.documentElement.scrollWidth")
                check(wide <= width, f"the page is {wide} pixels wide on {width}")
                least[scheme] = page.evaluate(_CONTRAST)
                if scheme == "light" or width == 1280:
                    shown = "" if scheme == "light" else "-dark"
                    shot = HERE / f"{name}-{width}{shown}.png"
                    page.screenshot(path=shot, full_page=True)
                    Image.open(shot).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(
                        shot, optimize=True
                    )
                if scheme == "light" and width == 1280:
                    page.pdf(path=HERE / f"{name}.pdf", prefer_css_page_size=True)
    check(min(least.values()) >= LEAST_CONTRAST, f"contrast {least}")
    return least


def main() -> None:
    """Check pages, and write the table."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        plan, store = prepared(folder)
        used, network = find_used_runs(plan, store), plan_network(plan)
        if used is None or network is None:
            raise SystemExit("the store lacks the runs of the plan")
        what_if = PlanWhatIf(used, network, folder)
        oracle = Oracle(used, what_if.clients, what_if.data().choice.dense)
        page = plan_page(plan, store, folder)
        page.save(folder / "report.html")
        (large, times), sizes = large_page(plan, folder), {}
        sizes["the default plan"] = {key: len(part) for key, part in page.parts().items()}
        sizes["64 curves of 400 rounds"] = {key: len(part) for key, part in large.parts().items()}
        hostile = replace(plan, request={**plan.request, "network": HOSTILE})
        plan_page(hostile, store, folder).save(folder / "hostile.html")
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            least = picture(browser, folder / "report.html", "report")
            with opened(browser, folder / "hostile.html") as watched:
                shown = watched.page.inner_text("h1")
                check("<script>alert(1)</script>" in shown, f"a hostile name is shown as {shown}")
            with opened(browser, folder / "report.html") as watched:
                check_controls(watched)
            with opened(browser, folder / "large.html") as watched:
                times |= slider_times(watched)
            with opened(browser, folder / "report.html") as watched:
                found = check_settings(watched, oracle, folder)
            versions = browser.version
    write_table(sizes, times, found, least, versions)


def prepared(folder: Path) -> tuple[Plan, Path]:
    """Return a plan and its store: given ones, or the default plan, made now."""
    if len(sys.argv) > 2:
        return read_plan(sys.argv[1]), Path(sys.argv[2])
    words = ["--budget", "50-dense-rounds", "--upload-ratio", "16", "--no-report"]
    where = ["--store", str(folder / "store"), "--out", str(folder / "plan")]
    subprocess.run([sys.executable, "-m", "planner", *words, *where], check=True)  # noqa: S603
    return read_plan(folder / "plan"), folder / "store"


def large_page(plan: Plan, folder: Path) -> tuple[Any, dict[str, float]]:
    """Return the page of 64 curves, and the seconds of the whole command that writes it."""
    large = write_large_store(plan, folder / "large")
    ReportedPlan.of(large).save(folder / "large-plan")
    words = [str(folder / "large-plan"), "--store", str(folder / "large")]
    where = ["--out", str(folder / "large.html")]
    seconds, processor = [], []
    for _ in range(3):
        begin, began = time.perf_counter(), _processor_s()
        subprocess.run([sys.executable, "-m", "planner", "report", *words, *where], check=True)  # noqa: S603
        seconds.append(time.perf_counter() - begin)
        processor.append(_processor_s() - began)
    times = {"page_s": median(seconds), "page_cpu_s": median(processor)}
    return plan_page(large, folder / "large", folder), times


def _processor_s() -> float:
    """Return the seconds of processor that finished processes of this one have taken."""
    told = os.times()
    return told.children_user + told.children_system


def slider_times(watched: Watched) -> dict[str, float]:
    """Return the milliseconds of moved sliders by network, in the page of 64 curves."""
    found = {}
    for number, title in enumerate(watched.page.evaluate("page.networks.map((one) => one.title)")):
        every = [
            watched.page.evaluate(_SET, {"network": number, "up": 5 + k})["ms"] for k in range(20)
        ]
        found[f"{title}, median ms"] = median(every)
        found[f"{title}, fastest ms"] = min(every)
    return found


def write_table(
    sizes: dict[str, dict[str, int]],
    times: dict[str, float],
    found: dict[str, Any],
    least: dict[str, float],
    chromium: str,
) -> None:
    """Write the table of ``README.md`` between its marks."""
    parts = list(next(iter(sizes.values())))
    rows = [f"| kB by part | {' | '.join(parts)} | all |", "|---" * (len(parts) + 2) + "|"]
    for name, each in sizes.items():
        cells = [f"{each[part] / 1e3:.0f}" for part in parts]
        rows.append(f"| {name} | {' | '.join(cells)} | {sum(each.values()) / 1e3:.0f} |")
    rows += ["", f"Checked on {datetime.now(UTC):%Y-%m-%d} with Chromium {chromium}:", ""]
    rows += ["| what | found |", "|---|---|"]
    rows += [
        "| requests besides the file itself, messages on the console | none |",
        f"| random settings whose best configuration is the planner's | {SETTINGS} of {SETTINGS} "
        f"({found['different']} different ones) |",
        f"| largest relative difference of their seconds to `replay` | {found['worst']:.1e} |",
        f"| a moved slider, the default plan | {found['ms']:.0f} ms (at most "
        f"{found['most_ms']:.0f}) |",
        f"| from `plan.json` to the page, 64 curves | {times['page_s']:.1f} s (processor: "
        f"{times['page_cpu_s']:.1f} s) |",
        *(f"| 64 curves: {name} | {value:.0f} |" for name, value in times.items() if "ms" in name),
        *(f"| least contrast of a text, {name} | {value:.1f} |" for name, value in least.items()),
    ]
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    made = "<!-- table -->\n" + "\n".join(rows) + "\n<!-- end -->"
    readme.write_text(re.sub(r"<!-- table -->.*<!-- end -->", made, text, flags=re.DOTALL))


if __name__ == "__main__":
    main()
