"""Settings that are checked by making something of them."""

from collections.abc import Callable
from typing import TypeVar

from service.setting_sources import SettingsError

T = TypeVar("T")


def checked(name: str, make: Callable[[], T]) -> T:
    """What is made of the setting. Raises SettingsError."""
    try:
        return make()
    except (ValueError, OSError) as error:
        raise SettingsError(f"{name}: {error}") from None
