#!/usr/bin/env python3
"""The page of `hrm serve` in headless Chromium, used as a person uses it.

    page.py HRM      HRM: the binary to check

A tiny model is trained on tasks made here and served. Drawn with pointer and keys, pasted, opened:
what the page shows must be what it was given; each segment's answer, confidence and energy must be
what the server's interface says for the same grid. No errors on the console, no request but to the
server, nothing wider than a window of 360 pixels.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

PATIENCE_S = 30
CANVAS, SEGMENTS = 6, 8
MANY = 3000  # Test inputs that are not answered before they are cancelled.
TRAIN = [
    "arc-small", "--data", "data", "--run-dir", "run", "--device", "cpu", "--threads", "1",
    "model.hidden_size=32", "model.num_heads=2", "model.h_layers=1", "model.l_layers=1",
    "model.puzzle_emb_ndim=32", f"model.halt_max_steps={SEGMENTS}", "train.batch_size=4",
    "train.max_steps=30", "train.warmup_steps=1",
]


def expect(holds, what):
    if not holds:
        sys.exit(f"page.py: {what}")


def make_tasks(folder, rng):
    """Three tasks that turn every colour into the next, one test pair each."""
    tasks = {}
    for name in ("aaaa", "bbbb", "cccc"):
        def pair():
            h, w = rng.randint(2, CANVAS), rng.randint(2, CANVAS)
            rows = [[rng.randint(0, 4) for _ in range(w)] for _ in range(h)]
            return {"input": rows, "output": [[(c + 1) % 10 for c in row] for row in rows]}
        tasks[name] = {"train": [pair() for _ in range(3)], "test": [pair()]}
        path = folder / "mine" / "evaluation" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(tasks[name]))
    return tasks


def hrm(folder, *args):
    done = subprocess.run([BINARY, *args], cwd=folder, capture_output=True, text=True, timeout=300)
    expect(done.returncode == 0, f"hrm {args[0]} failed: {done.stderr}")


class Server:
    def __init__(self, folder):
        args = [BINARY, "serve", "run", "--port", "0", "--device", "cpu", "--threads", "1"]
        self.process = subprocess.Popen(
            args, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.url = self.process.stdout.readline().strip()
        expect(self.url.startswith("http://127.0.0.1:"), f"hrm serve printed {self.url!r}")

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def states(self, grid, puzzle):
        """Every segment of a refinement, by the interface alone."""
        body = {"input": grid, "puzzle": puzzle} if puzzle else {"input": grid}
        place = f"/v1/refine/{self.ask('POST', '/v1/refine', body)['id']}"
        states = [self.ask("POST", f"{place}/step") for _ in range(SEGMENTS)]
        self.ask("DELETE", place)
        return states

    def metric(self, name):
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE_S) as answer:
            lines = answer.read().decode().splitlines()
        return float(next(li for li in lines if li.startswith(f"{name} ")).split()[-1])

    def stop(self):
        self.process.terminate()
        expect(self.process.wait(PATIENCE_S) == 0, "hrm serve did not end with 0")


def open_browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    expect(chromium and driver, "chromium and chromedriver are not installed (apt)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                 "--disable-background-networking", "--window-size=1280,1000"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


class Page:
    def __init__(self, browser, url):
        self.browser = browser
        browser.get(url)
        self.wait(lambda: "parameters" in self.text("model"), "the model's description")

    def wait(self, holds, what):
        try:
            WebDriverWait(self.browser, PATIENCE_S, 0.05).until(lambda _: holds())
        except Exception:
            sys.exit(f"page.py: waited in vain for {what}; the page says {self.text('error')!r}")

    def by(self, name):
        return self.browser.find_element(By.ID, name)

    def text(self, name):
        return self.by(name).get_attribute("textContent").strip()

    def click(self, name):
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.by(name))
        self.by(name).click()

    def named(self, label):
        """The grid or control with this accessible name."""
        return self.browser.find_element(By.CSS_SELECTOR, f"[aria-label={json.dumps(label)}]")

    def grid(self, label):
        script = """const grid = arguments[0], w = getComputedStyle(grid)
            .gridTemplateColumns.split(' ').length, rows = [];
            for (const [i, cell] of [...grid.children].entries()) {
                if (i % w === 0) rows.push([]);
                rows.at(-1).push(Number(cell.dataset.c));
            }
            return rows;"""
        return self.browser.execute_script(script, self.named(label))

    def cell(self, label, r, c):
        columns = len(self.grid(label)[0])
        return self.named(label).find_elements(By.CSS_SELECTOR, "i")[r * columns + c]

    def paste(self, text):
        self.browser.execute_script(
            "document.getElementById('json').open = true;"
            "document.getElementById('text').value = arguments[0]", text)
        self.click("read")

    def refine(self):
        """Returns when the new refinement was played to its end."""
        before = self.by("player").get_attribute("data-session")
        self.click("refine")
        self.wait(lambda: self.by("player").get_attribute("data-session") != before, "a session")
        self.wait(lambda: self.text("play") == "Again", "the last segment")

    def overflow(self):
        return self.browser.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth")


def check_drawing(page):
    expect(page.grid("Test, input") == [[0] * 3] * 3, "a new task is not 3 x 3 of colour 0")
    page.named("colour 4").click()
    first, last = page.cell("Test, input", 0, 0), page.cell("Test, input", 0, 2)
    ActionChains(page.browser).click_and_hold(first).move_to_element(last).release().perform()
    drawn = page.grid("Test, input")
    expect(drawn[0][0] == 4 and drawn[0][2] == 4, f"a stroke drew {drawn}")
    grid = page.named("Test, input")
    grid.send_keys(Keys.ARROW_DOWN, "7", Keys.ARROW_LEFT, Keys.SPACE)
    drawn = page.grid("Test, input")
    expect(drawn[1][2] == 7 and drawn[1][1] == 4, f"keys drew {drawn}")
    grid.send_keys(Keys.ARROW_DOWN, "f")
    filled = page.grid("Test, input")
    expect(filled[2] == [4, 4, 4] and filled[1][2] == 7, f"filling drew {filled}")
    page.click("undo")
    expect(page.grid("Test, input") == drawn, "undo did not undo")
    page.browser.find_element(By.CSS_SELECTOR, "[value=flood]").click()
    page.cell("Test, input", 2, 0).click()
    expect(page.grid("Test, input") == filled, "the fill tool and the key F differ")
    size = page.named("Test, input: columns")
    size.send_keys(Keys.CONTROL + "a")
    size.send_keys("5", Keys.TAB)
    expect(page.browser.switch_to.active_element.text == "clear", "Tab lost the focus")
    wide = [row + [0, 0] for row in filled]
    expect(page.grid("Test, input") == wide, "growing lost cells")
    page.named("Test, input: clear").click()
    expect(page.grid("Test, input") == [[0] * 5] * 3, "clear did not clear")
    page.click("undo")
    page.click("undo")
    expect(page.grid("Test, input") == filled, "undo did not undo a change of size")
    page.browser.find_element(By.CSS_SELECTOR, "[value=pen]").click()


def check_json(page, task):
    for text, words in [
        ("{", "Not JSON"),
        ('{"train": []}', '"test"'),
        ('{"test": [{"input": [[1, 2], [3]]}]}', "test pair 1, input: the grid is ragged: row 2"),
        ('{"test": [{"input": [[1, 10]]}]}', "10 at row 1, column 2"),
        ('{"test": [{"input": %s}]}' % json.dumps([[0] * (CANVAS + 1)]), f"{CANVAS} x {CANVAS}"),
        ('{"train": [{"input": [[1]]}], "test": [{"input": [[1]]}]}', "train pair 1 has no output"),
        ('{"test": [{"input": [["<img src=x>"]]}]}', '"<img src=x>"'),
    ]:
        before = page.grid("Test, input")
        page.paste(text)
        expect(words in page.text("error"), f"{text}: the page says {page.text('error')!r}")
        expect(page.grid("Test, input") == before, f"{text}: the task changed")
    page.paste(json.dumps(task))
    expect(not page.by("error").is_displayed(), "the error stays")
    page.click("write")
    back = json.loads(page.by("text").get_attribute("value"))
    expect(back == task, f"the page gave back another task: {back}")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"train": task["train"][:1], "test": task["test"]}, file)
        file.flush()
        page.by("file").send_keys(file.name)
        page.wait(lambda: not page.browser.find_elements(
            By.CSS_SELECTOR, '[aria-label="Example 2, input"]'), "the uploaded task")
    expect(page.grid("Example 1, output") == task["train"][0]["output"], "upload: another grid")


def shown(page):
    """What the page says of the segment that it shows."""
    label = page.browser.execute_script(
        "return [...document.querySelectorAll('#answer i')].map(c => c.getAttribute('aria-label'))")
    return page.grid("Answer"), [float(li.split(", ")[-1 if "expected" not in li else 2]
                                       .removesuffix(" %")) for li in label]


def expect_segment(page, state, what):
    begin = f"Segment {state['step']} of {SEGMENTS}: "
    page.wait(lambda: page.text("now").startswith(begin), f"{what}, {begin}")
    expect(f"energy {state['energy']:.3f}" in page.text("now"), f"{what}: {page.text('now')}")
    if not state["grid"]:
        return
    grid, sure = shown(page)
    expect(grid == state["grid"], f"{what}: shows {grid}, the server says {state['grid']}")
    want = [p * 100 for row in state["confidence"] for p in row]
    expect(len(sure) == len(want), f"{what}: {len(sure)} confidences")
    expect(all(abs(a - b) <= 0.0501 for a, b in zip(sure, want)), f"{what}: confidence {sure}")


def check_refinement(page, server, task):
    Select(page.by("known")).select_by_value("bbbb")
    page.wait(lambda: page.grid("Test, input") == task["test"][0]["input"], "task bbbb")
    expect(page.grid("Test, expected") == task["test"][0]["output"], "the expected output differs")
    expect(Select(page.by("puzzle")).first_selected_option.text == "bbbb", "the puzzle's name")
    for puzzle in ("bbbb", ""):
        Select(page.by("puzzle")).select_by_value(puzzle)
        want = server.states(task["test"][0]["input"], puzzle)
        page.refine()
        expect_segment(page, want[-1], f"puzzle {puzzle!r}")
        rows = page.browser.find_elements(By.CSS_SELECTOR, "#numbers tbody tr")
        expect(len(rows) == SEGMENTS, f"{len(rows)} rows of numbers")
        expect(len(page.browser.find_elements(By.CSS_SELECTOR, "#curve .dot")) == SEGMENTS, "curve")
        for state in reversed(want[:-1]):
            page.click("back")
            expect_segment(page, state, "back")
        page.click("step")
        expect_segment(page, want[1], "on again")
        page.by("seek").send_keys(Keys.END)
        expect_segment(page, want[-1], "the slider")
        halting = any(s["halt"] for s in want)
        marked = page.browser.find_elements(By.CSS_SELECTOR, "#curve .halt")
        expect(len(marked) == halting, "the halting line")
        wrong = page.browser.find_elements(By.CSS_SELECTOR, "#answer .wrong")
        expected, answer = task["test"][0]["output"], want[-1]["grid"]
        differ = sum(expected[r][c] != v if r < len(expected) and c < len(expected[r]) else True
                     for r, row in enumerate(answer) for c, v in enumerate(row))
        expect(len(wrong) == differ, f"{len(wrong)} cells ringed, {differ} differ")
    expect(server.metric("hrm_sessions") == 1, "not one session, as is shown")


def check_solving(page, server, task):
    """The answers of the interface for the same task; and a long one cancelled."""
    want = server.ask("POST", "/v1/solve", {**task, "wait_s": 25})
    expect(want["state"] == "done", f"the interface did not solve it: {want}")
    page.click("solve")
    page.wait(lambda: "votes" in page.text("solved") or "No answer" in page.text("solved"), "votes")
    for line in want["trust"]:
        expect(line in page.text("solved"), f"not on the page: {line}")
    for number, test in enumerate(want["outcome"]["tests"], 1):
        name = f"Test {number}" if len(want["outcome"]["tests"]) > 1 else "Test"
        for i, attempt in enumerate(test["attempts"], 1):
            shown = page.grid(f"{name}, attempt {i}")
            expect(shown == attempt["grid"], f"{name}, attempt {i}: {shown}")
            votes = f"Attempt {i}: {attempt['votes']} of {test['votes_cast']} votes"
            expect(votes in page.text("solved"), f"not on the page: {votes}")
    page.paste(json.dumps({**task, "test": [{"input": [[1]]}] * MANY}))
    page.click("solve")
    page.wait(lambda: "answering" in page.text("how"), "progress")
    expect(page.by("progress").is_displayed(), "no progress bar")
    page.click("cancel")
    page.wait(lambda: not page.by("under-way").is_displayed(), "the end")
    page.wait(lambda: server.metric('hrm_solves_total{result="cancelled"}') == 1, "the cancelling")
    expect(not page.by("error").is_displayed(), page.text("error"))


def check_refusal(page, server):
    """An expired session is explained, and the next one works."""
    before = page.by("player").get_attribute("data-session")
    page.click("refine")
    page.wait(lambda: page.by("player").get_attribute("data-session") != before, "a session")
    session = page.by("player").get_attribute("data-session")
    page.wait(lambda: page.by("play").is_displayed(), "the first segment")
    page.click("play")
    page.wait(lambda: page.text("play") == "Play", "a pause")
    server.ask("DELETE", f"/v1/refine/{session}")
    for _ in range(SEGMENTS):
        page.wait(lambda: page.by("error").is_displayed() or page.by("step").is_enabled(), "step")
        if not page.by("error").is_displayed():
            page.click("step")
    expect(f'there is no refinement "{session}"' in page.text("error"), page.text("error"))
    page.refine()
    expect(not page.by("error").is_displayed(), page.text("error"))


def check_traffic(page, server, refusals):
    """Console and network of everything since the browser started."""
    bad = [e for e in page.browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]
    # The browser itself logs every answer of status 4xx.
    refused = [e for e in bad if "404" in e["message"] and "/v1/refine/" in e["message"]]
    # A question that met its cancelling on the way.
    late = [e for e in bad if "404" in e["message"] and "/v1/solve/" in e["message"]]
    expect(len(bad) == len(refused) + len(late) and len(late) <= 1, f"the console says {bad}")
    expect(len(refused) == refusals, f"refusals: {bad}")
    asked = 0
    for entry in page.browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            asked += 1
            expect(url.startswith((server.url + "/", "data:,")), f"a request to {url}")
    expect(asked > 10, f"only {asked} requests were seen")


def main():
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tasks = make_tasks(folder, random.Random(1))
        hrm(folder, "data", "build", "--dataset-dirs", "mine", "--output-dir", "data",
            "--num-aug", "2", "--canvas", str(CANVAS))
        hrm(folder, "train", *TRAIN)
        server = Server(folder)
        browser = open_browser()
        try:
            page = Page(browser, server.url)
            check_drawing(page)
            check_json(page, tasks["aaaa"])
            check_refinement(page, server, tasks["bbbb"])
            check_solving(page, server, tasks["bbbb"])
            check_refusal(page, server)
            expect(page.overflow() <= 0, "wider than a window of 1280 pixels")
            size = {"height": 800, "deviceScaleFactor": 1, "mobile": True, "width": 360}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            expect(page.overflow() <= 0, f"{page.overflow()} pixels wider than a narrow window")
            check_traffic(page, server, 1)
            browser.get(f"{server.url}/docs")
            expect("/v1/refine/{id}/step" in browser.page_source, "/docs lacks an operation")
            expect(page.overflow() <= 0, "/docs is wider than a narrow window")
            deadline = time.monotonic() + PATIENCE_S
            while server.metric("hrm_sessions") and time.monotonic() < deadline:
                time.sleep(0.05)
            expect(server.metric("hrm_sessions") == 0, "leaving the page did not release its refinement")
        finally:
            browser.quit()
        server.stop()
    print("page.py: drawn, pasted, solved, refined and stepped through, as the interface says")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    BINARY = sys.argv[1]
    main()
