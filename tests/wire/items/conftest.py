"""What holds for items holds for every collection: these tests also run against a second one."""

import pytest

from tests.fixtures.running import RunningService
from tests.fixtures.second_collection import SecondCollection


@pytest.fixture(scope="module", params=["items", "products"])
def service(service: RunningService, request: pytest.FixtureRequest) -> RunningService:
    if request.param == "items":
        return service
    return SecondCollection.of(service, request.param)
