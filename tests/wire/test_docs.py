"""/docs in a browser: open it, authorise, send a request, see the answer."""

import json
import uuid
from pathlib import Path

import httpx
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import element_to_be_clickable
from selenium.webdriver.support.wait import WebDriverWait

from tests.fixtures.running import RunningService

_PATIENCE_S = 60


def _find(chrome: Chrome, selector: str) -> WebElement:
    wait = WebDriverWait(chrome, _PATIENCE_S)
    return wait.until(element_to_be_clickable((By.CSS_SELECTOR, selector)))


def _click(chrome: Chrome, selector: str) -> None:
    element = _find(chrome, selector)
    chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def _text(chrome: Chrome, selector: str) -> str:
    wait = WebDriverWait(chrome, _PATIENCE_S)
    return wait.until(lambda browser: browser.find_element(By.CSS_SELECTOR, selector).text)


def _requested_hosts(chrome: Chrome) -> set[str]:
    entries = [json.loads(entry["message"]) for entry in chrome.get_log("performance")]  # type: ignore[no-untyped-call]
    urls = [
        entry["message"]["params"]["request"]["url"]
        for entry in entries
        if entry["message"]["method"] == "Network.requestWillBeSent"
    ]
    return {url.split("/")[2] for url in urls if url.startswith(("http:", "https:", "ws"))}


def test_the_page_calls_the_service(
    service: RunningService, chromium: Chrome, tmp_path: Path
) -> None:
    with service.client() as client:
        created = client.post(
            "/v1/items",
            json={"data": {"name": "a kettle from the docs test"}},
            headers={"idempotency-key": str(uuid.uuid4())},
        )
    chromium.get(f"{service.url}/docs")
    _click(chromium, "button.authorize")
    _find(chromium, "input[aria-label='auth-bearer-value']").send_keys(service.token())
    _click(chromium, ".auth-container:has([aria-label='auth-bearer-value']) button.authorize")
    _click(chromium, "button.btn-done")

    read = "#operations-items-getItemV1"
    _click(chromium, f"{read} .opblock-summary-control")
    item_id = _find(chromium, f"{read} tr[data-param-name='id'] input")
    item_id.clear()
    item_id.send_keys(created.json()["id"])
    _click(chromium, f"{read} button.execute")
    status = _text(chromium, f"{read} .live-responses-table tbody .response-col_status")
    body = _text(chromium, f"{read} .live-responses-table .highlight-code")
    chromium.save_screenshot(tmp_path / "docs.png")

    assert status.startswith("200")
    assert "a kettle from the docs test" in body
    assert _requested_hosts(chromium) == {service.url.removeprefix("http://")}
    errors = [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]
    assert not errors


def test_it_is_open_to_everybody_and_compressed(service: RunningService) -> None:
    with httpx.Client(base_url=service.url) as nobody:
        page = nobody.get("/docs")
        names = [part.split('"')[0] for part in page.text.split('"docs/')[1:]]
        assets = [nobody.get(f"/docs/{name}", headers={"accept-encoding": "br"}) for name in names]
        document = nobody.get("/openapi.json")
        odd = [nobody.get("/docs/nothing.js"), nobody.get("/docs/..%2Fpage"), nobody.get("/docs/")]
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert sorted(names) == ["start.js", "swagger-ui-bundle.js", "swagger-ui.css"]
    assert [asset.status_code for asset in assets] == [200] * 3
    assert assets[1].headers["content-encoding"] == "br"
    assert int(assets[1].headers["content-length"]) < len(assets[1].content) / 3
    assert document.json()["openapi"].startswith("3.1")
    assert [answer.status_code for answer in odd] == [404] * 3
