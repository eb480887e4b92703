"""Times are RFC 3339 in UTC, always with six digits."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from service.model.item_json import timestamp

MOMENTS = st.datetimes(timezones=st.sampled_from([UTC, ZoneInfo("UTC")]))


@given(MOMENTS | MOMENTS.map(lambda moment: moment.replace(microsecond=0)))
def test_a_time_has_six_digits_and_a_z(moment: datetime) -> None:
    text = timestamp(moment)
    assert text == moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
