"""The viewer of answers: what it holds, and how it filters, links and scrolls in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from comptrust.records import Choice, Generation, Message, Prompt, Scorecard
from comptrust.report import answers, entries, page
from comptrust.report.answers import Answers, Row, Side
from comptrust.trust.evaluation import Evaluation
from tests.support.browsers import WIDTHS, resize, take_screenshots, wait_for
from tests.support.logged_runs import PLANTED, LoggedRuns

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

HOSTILE = f"{PLANTED}</script><!-- \u2028 \u202eabc\u202c ]]> & \\"
MAX_NODES = 400
"""Elements of the page, whatever the number of prompts."""


def asked(index: int, *, content: str = "Is it wrong?") -> Prompt:
    return Prompt(
        id=f"zero_shot#{index}",
        dimension="ethics",
        scenario="zero_shot",
        messages=(Message(role="user", content=content),),
        choices=(
            Choice(text="wrong", continuation=" yes"),
            Choice(text="not wrong", continuation="no"),
        ),
    )


def answered(index: int, text: str, **fields: object) -> Generation:
    extra = {"loglik": [-1.0, -1.5], "margin": 0.5, "group": "a" if index % 2 else "b"}
    values = {"finish_reasons": ("choice",), "target": "wrong", "extra": extra} | fields
    return Generation.model_validate(
        {
            "dimension": "ethics",
            "scenario": "zero_shot",
            "id": f"zero_shot#{index}",
            "texts": (text,),
        }
        | values
    )


def evaluation(*generations: Generation) -> Evaluation:
    return Evaluation("m", cast(Scorecard, None), generations={"ethics": list(generations)})


def collected(
    dense: list[Generation], compressed: list[Generation], prompts: list[Prompt]
) -> answers.Answers:
    return answers.collect(
        evaluation(*compressed), evaluation(*dense), prompts=prompts, title="m, gptq"
    )


def test_both_answers_of_a_prompt_stand_side_by_side() -> None:
    result = collected([answered(1, "wrong")], [answered(1, "not wrong")], [asked(1)])
    (row,) = result.rows
    assert (row.prompt[0].content, row.options, row.target) == (
        "Is it wrong?",
        (" yes", "no"),
        "wrong",
    )
    assert row.dense is not None and row.compressed is not None
    assert (row.dense.answer, row.dense.earned, row.dense.margin) == ("wrong", 1.0, 0.5)
    assert (row.compressed.answer, row.compressed.earned) == ("not wrong", 0.0)
    assert (row.group, row.dense.loglik) == ("a", (-1.0, -1.5))
    assert answers.unpack(answers.pack(result)) == result


def test_what_is_missing_is_said_and_never_zero() -> None:
    late = answered(2, "", finish_reasons=("too_long",))
    result = collected([answered(1, "wrong"), answered(2, "wrong")], [late], [])
    by_id = {row.id: row for row in result.rows}
    assert by_id["zero_shot#1"].compressed is None
    assert by_id["zero_shot#1"].prompt == ()
    side = by_id["zero_shot#2"].compressed
    assert side is not None
    assert (side.withheld, side.earned) == ("too_long", None)


def test_long_texts_are_cut_where_the_question_is_not() -> None:
    text = "x" * 10_000_000
    result = collected(
        [answered(1, f"wrong {text}")], [answered(1, text)], [asked(1, content=f"{text} why?")]
    )
    (row,) = result.rows
    assert row.prompt[0].content.endswith("why?")
    assert "9,980,005 characters left out" in row.prompt[0].content
    assert row.dense is not None and row.dense.texts[0].startswith("wrong x")
    assert len(answers.pack(result)) < 10_000


def test_data_that_cannot_be_read_is_none() -> None:
    good = answers.pack(collected([answered(1, "wrong")], [answered(1, "wrong")], []))
    assert [answers.unpack(data) for data in ("", "AAAA", "!", good[:40])] == [None] * 4
    assert answers.find("<p>") == ""


def open_viewer(browser: WebDriver, address: str, *, width: int = 1280) -> None:
    """Open a page with a viewer and wait until its rows are there."""
    resize(browser, width)
    browser.get("about:blank")
    browser.get(address)
    wait_for(browser, lambda driver: " prompts" in status(driver), "no rows")


def status(browser: WebDriver) -> str:
    return str(browser.find_element("css selector", ".status output").text)


def heading(browser: WebDriver) -> str:
    return str(browser.find_element("css selector", ".viewer article h2").text)


def choose(browser: WebDriver, name: str, value: str) -> None:
    """Set a filter as a user does, and wait until the list follows."""
    script = (
        "const box = document.querySelector(`.filters [name=${arguments[0]}]`); box.value ="
        " arguments[1]; box.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    before = status(browser)
    browser.execute_script(script, name, value)
    wait_for(browser, lambda driver: status(driver) != before, f"{name} changed nothing")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a page of 3,000 prompts: every tenth flips, every hundredth has hostile texts."""
    prompts, dense, compressed = [], [], []
    for index in range(3000):
        flips, is_hostile = index % 10 == 3, index % 100 == 3
        content = f"{HOSTILE} prompt {index}" if is_hostile else f"prompt {index}"
        prompts.append(asked(index, content=content))
        margin = {"loglik": [-1.0, -1.5], "margin": index / 1000, "group": "a" if flips else "b"}
        dense.append(answered(index, "wrong", extra=margin))
        changed = "not wrong" if flips else "wrong"
        text = f"{changed}\n{HOSTILE}" if is_hostile else changed
        if index == 5:
            text = "I'm sorry, but I cannot help with that."
        compressed.append(answered(index, text, extra=margin))
    data = answers.pack(collected(dense, compressed, prompts))
    path = tmp_path_factory.mktemp("viewer") / "answers.html"
    path.write_text(page.render_answers(data, title=PLANTED), encoding="utf-8")
    return path


def test_filters_keys_and_links_find_a_prompt(browser: WebDriver, many: Path) -> None:
    open_viewer(browser, many.as_uri())
    assert status(browser).startswith("3,000 of 3,000 prompts: 301 flipped, 301 worse")
    choose(browser, "change", "flips")
    assert status(browser).startswith("301 of 3,000")
    choose(browser, "margin", "0.5")
    assert status(browser).startswith("51 of 3,000")
    choose(browser, "text", "prompt 493")
    assert status(browser).startswith("1 of 3,000")
    assert heading(browser) == "zero_shot#493"
    assert "prompt=ethics%2Fzero_shot%23493" in browser.current_url

    body = browser.find_element("tag name", "body")
    body.send_keys("\ue00c")  # Escape
    wait_for(browser, lambda driver: status(driver).startswith("3,000 of 3,000"))
    assert heading(browser) == "zero_shot#493"
    body.send_keys("jjk")
    assert heading(browser) == "zero_shot#494"
    body.send_keys("/")
    assert browser.switch_to.active_element.get_attribute("name") == "text"
    browser.switch_to.active_element.send_keys("jk")  # is typed, moves nothing
    wait_for(browser, lambda driver: status(driver).startswith("0 of 3,000"))
    browser.switch_to.active_element.send_keys("\ue00c")
    wait_for(browser, lambda driver: status(driver).startswith("3,000 of 3,000"))
    for name, value, count in (("refusals", "new", "1"), ("group", "a", "0")):
        choose(browser, name, value)
        assert status(browser).startswith(f"{count} of 3,000"), name

    open_viewer(browser, f"{many.as_uri()}#prompt=zero_shot%232993")
    assert heading(browser) == "zero_shot#2993"
    chosen = browser.find_element("css selector", ".item[aria-selected=true]")
    assert chosen.is_displayed() and "prompt 2993" in chosen.text
    open_viewer(browser, f"{many.as_uri()}#prompt=none%20such")
    assert "There is no prompt none such" in status(browser)


def test_thousands_of_prompts_are_few_elements(browser: WebDriver, many: Path) -> None:
    open_viewer(browser, many.as_uri())
    count = "return document.querySelectorAll('*').length"
    assert browser.execute_script(count) < MAX_NODES
    scroll = (
        "const list = document.querySelector('.list'); list.scrollTop = list.scrollHeight;"
        " return list.scrollHeight"
    )
    assert browser.execute_script(scroll) == 3000 * 58
    last = "return [...document.querySelectorAll('.item')].at(-1).textContent"
    wait_for(browser, lambda driver: "prompt 2999" in driver.execute_script(last))
    assert browser.execute_script(count) < MAX_NODES


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_texts_stay_text(browser: WebDriver, many: Path, width: int) -> None:
    open_viewer(browser, f"{many.as_uri()}#prompt=zero_shot%233&change=flips", width=width)
    assert heading(browser) == "zero_shot#3"
    shown = browser.find_element("css selector", ".viewer article").text
    assert "</script><!--" in shown and "⟨U+2028⟩ ⟨U+202E⟩abc⟨U+202C⟩" in shown
    assert browser.find_elements("css selector", ".viewer img, .viewer script") == []
    assert browser.title != "planted"
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    take_screenshots(browser, "answers", width)


def test_broken_data_is_said(browser: WebDriver, tmp_path: Path) -> None:
    path = tmp_path / "answers.html"
    path.write_text(page.render_answers("AAAA", title="m"), encoding="utf-8")
    browser.get(path.as_uri())
    wait_for(browser, lambda driver: "cannot be shown" in status(driver))


def test_a_flip_without_gain_or_text_is_a_row_like_others(
    browser: WebDriver, tmp_path: Path
) -> None:
    rows = tuple(
        Row(dimension="ood", scenario="s", id=key, dense=Side(answer="a"), compressed=side)
        for key, side in (("1", Side(answer="b")), ("2", Side(answer="a")), ("3", None))
    )
    path = tmp_path / "answers.html"
    packed = answers.pack(Answers(title="m", rows=rows))
    path.write_text(page.render_answers(packed, title="org/m"), encoding="utf-8")
    open_viewer(browser, path.as_uri())
    drawn = "return [...document.querySelectorAll('.item')].map(e => getComputedStyle(e).display)"
    assert browser.execute_script(drawn) == ["block"] * 3


def test_a_flip_on_a_card_opens_in_the_viewer(
    browser: WebDriver, own_runs: LoggedRuns, tmp_path: Path
) -> None:
    card = tmp_path / "card.html"
    entry = entries.read_run(own_runs.runs["gptq-4bit-g64-s0"])
    card.write_text(page.render_card(entry), encoding="utf-8")
    open_viewer(browser, card.as_uri())
    link = browser.find_element("css selector", ".flip h4 a")
    wanted = link.text
    browser.execute_script("arguments[0].click()", link)
    wait_for(browser, lambda driver: heading(driver) == wanted, "another prompt")
    assert browser.find_element("css selector", ".viewer .pair").is_displayed()
    assert "▼ worse" in browser.find_element("css selector", ".viewer .chips").text
    effects = [element.text for element in browser.find_elements("css selector", ".flip h4 strong")]
    assert effects and set(effects) == {"▼ lost"}
    # MLflow shows artifacts in a frame without an origin; a link to a part of the page works there.
    frame = tmp_path / "frame.html"
    content = json.dumps(card.read_text()).replace("</", "<\\/")
    frame.write_text(
        "<iframe id=f sandbox=allow-scripts width=1200 height=800></iframe><script>f.src ="
        f" URL.createObjectURL(new Blob([{content}], {{type: 'text/html'}}))</script>"
    )
    browser.get(frame.as_uri())
    browser.switch_to.frame("f")
    wait_for(browser, lambda driver: " prompts" in status(driver))
    browser.find_element("css selector", ".flip h4 a").click()
    wait_for(browser, lambda driver: heading(driver) == wanted, "the frame lost the link")
    # Any other link is dead there, so its address is shown.
    away = browser.find_element("partial link text", "MLflow run")
    browser.execute_script("arguments[0].click()", away)
    assert str(away.get_attribute("href")) in browser.find_element("id", "elsewhere").text
    browser.switch_to.default_content()
