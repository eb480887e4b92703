"""Requests as other programs write them: old Java clients, scrapers, balancers."""

import httpx
import pytest

from tests.fixtures.running import RunningService
from tests.fixtures.write_ways import new_item


@pytest.mark.parametrize(
    "accept",
    [
        # java.net.HttpURLConnection
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        "application/json, text/plain, */*",
        "application/json;q=1.0,*/*;q=.5",
    ],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_odd_but_common_accept(service: RunningService, accept: str, version: str) -> None:
    with service.client() as client:
        url = new_item(client).replace("v1", version)
        for _ in range(3):  # by the general path, then by the hot one
            answer = client.get(url, headers={"accept": accept})
            assert answer.status_code == 200
            assert answer.headers["content-type"] in (
                "application/json",
                "application/vnd.api+json",
            )


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
        "text/plain;version=0.0.4;q=1,*/*;q=0.1",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
        "encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3",
        "*/*",
        "text/plain",
    ],
)
def test_what_scrapers_accept(service: RunningService, accept: str) -> None:
    answer = httpx.get(f"{service.url}/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(("text/plain", "application/openmetrics-text"))
    assert "hotshelf_request_duration_seconds" in answer.text
