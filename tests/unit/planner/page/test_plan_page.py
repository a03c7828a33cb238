"""The page of a plan: its first screen, hostile names, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_plans import whole_plan
from read_pages import ReadPage

from floss_sim.page import library
from planner.page.plan_page import plan_page

HOSTILE = (
    """</script><script>alert(1)</script> "quoted" <img src=x onerror=alert(2)> \u202etac & co"""
)


def html_of(plan) -> str:
    return plan_page(plan, Path("no-store"), Path()).html()


def page_of(plan) -> ReadPage:
    return ReadPage(html_of(plan))


@pytest.fixture(scope="module")
def page() -> ReadPage:
    return page_of(whole_plan())


def test_it_asks_no_network_for_anything(page: ReadPage):
    policy = next(a["content"] for tag, a in page.elements if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    assert "unsafe-eval" not in policy
    assert not [a for _, a in page.elements if {"src", "href", "action"} & a.keys()]


def test_its_first_screen_says_what_how_good_how_long_and_how_much(page: ReadPage):
    plan, (answer,) = whole_plan(), re.findall(r"^Train an adapter.*$", page.text, re.MULTILINE)
    best = plan.recommendation
    assert f"rank {best.candidate.rank} for {best.rounds} rounds" in answer
    assert f"sends {'1/16'} of its changes back" in answer
    assert f"{100 * best.test.mean:.1f} % right answers" in answer
    assert "3.4 s on this network (nine chances in ten: " in answer
    assert "moves 800 kB in all" in answer
    assert "Money and energy are not known" in answer
    first = page.text.partition("budget is")[0]
    assert not re.search(r"P·M|0\.0625|densit|quantile|FLoSS", first)


def test_a_name_stays_text_whatever_it_is():
    plan = whole_plan()
    request = {**plan.request, "task": HOSTILE, "network": HOSTILE}
    ours, hostile = page_of(plan), page_of(replace(plan, request=request))
    for tag in ("script", "img"):
        assert hostile.count(tag) == ours.count(tag)
    assert '</script><script>alert(1)</script> "quoted"' in hostile.text
    assert "\u202e" not in html_of(replace(plan, request=request))


def test_commands_name_the_plan_wherever_the_page_is(tmp_path: Path):
    html = plan_page(whole_plan(), Path("no-store"), tmp_path / "pages", tmp_path / "a plan").html()
    assert "floss-plan apply '../a plan'" in ReadPage(html).texts
    assert "floss-plan report ." in page_of(whole_plan()).texts


def test_without_the_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(library, "_PACKAGE", "no_such_package")
    library.library_script.cache_clear()
    with pytest.raises(library.ConfigError, match=r"pip install 'floss-sim\[report\]'"):
        html_of(whole_plan())
