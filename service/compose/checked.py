"""Checks settings by building objects from them."""

from collections.abc import Callable
from typing import TypeVar

from service.setting_sources import SettingsError

T = TypeVar("T")


def checked(name: str, make: Callable[[], T]) -> T:
    """The result of ``make``; its ValueError becomes a SettingsError that names the setting."""
    try:
        return make()
    except (ValueError, OSError) as error:
        raise SettingsError(f"{name}: {error}") from None
