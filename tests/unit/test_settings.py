import dataclasses
from pathlib import Path

import pytest

from service import setting_sources
from service.setting_sources import SettingsError
from service.settings import Settings


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_without_any_source_the_defaults_hold() -> None:
    assert setting_sources.load({}) == (Settings(), {})


def test_environment_beats_file_beats_data_directory(tmp_path: Path) -> None:
    file = _write(tmp_path / "own.toml", "[http]\nport = 2\nworkers = 3\n")
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    _write(data_dir / "hotshelf.toml", '[http]\nport = 1\nworkers = 1\nhost = "::1"\n')
    loaded, sources = setting_sources.load({"HOTSHELF_HTTP_PORT": "4"}, file, data_dir)
    assert (loaded.http.port, loaded.http.workers, loaded.http.host) == (4, 3, "::1")
    assert sources["http.port"] == "environment"
    assert sources["http.workers"] == str(file)
    assert sources["http.host"] == str(data_dir / "hotshelf.toml")


def test_shards_are_read_alike_from_both(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.toml", '[database]\nshards = [["u1", "u2"], ["u3"]]\n')
    from_env = setting_sources.load({"HOTSHELF_DATABASE_SHARDS": "u1 u2; u3"})[0]
    assert setting_sources.load({}, file)[0] == from_env
    assert from_env.database.shards == (("u1", "u2"), ("u3",))


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"HOTSHELF_HTTP_PROT": "1"}, "HOTSHELF_HTTP_PORT"),
        ({"HOTSHELF_HTTP_PORT": "x"}, "http.port"),
        ({"HOTSHELF_HTTP_PORT": "65536"}, "65535"),
        ({"HOTSHELF_HTTP_WORKERS": "0"}, "http.workers"),
        ({"HOTSHELF_WRITES_REQUIRE_IF_MATCH": "maybe"}, "writes.require_if_match"),
        ({"HOTSHELF_CONFIG": "/nowhere.toml"}, "/nowhere.toml"),
    ],
)
def test_what_cannot_be_used_is_named(env: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        setting_sources.load(env)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[http]\nprot = 1\n", "http.port"),
        ("[htpt]\nport = 1\n", "http.port"),
        ("port = 1\n", "http.port"),
        ('[http]\nport = "1x"\n', "http.port"),
        ("[http]\nport = true\n", "http.port"),
        ("[http]\nport = 1.5\n", "http.port"),
        ("[database]\nshards = 3\n", "database.shards"),
        ("[http\n", "own.toml"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        setting_sources.load({}, _write(tmp_path / "own.toml", text))


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    secret = "s3cr3t"
    env = {
        "HOTSHELF_DATABASE_SHARDS": f"postgresql://u:{secret}@h/d postgresql://u:{secret}@i/d",
        "HOTSHELF_REDIS_URL": f"redis://:{secret}@h/0",
    }
    loaded, sources = setting_sources.load(env)
    rows = setting_sources.describe(loaded, sources)
    assert secret not in str(rows)
    assert "postgresql://u:***@i/d" in next(r.shown for r in rows if r.name == "database.shards")
    with pytest.raises(SettingsError) as refused:
        setting_sources.load(
            {}, _write(tmp_path / "a.toml", f'[database]\nshards = [["{secret}", 1]]\n')
        )
    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app@db/items?password=s3cr3t",
        "postgresql://app@db/items?sslmode=require&sslpassword=s3cr3t",
        "postgresql://app:s3cr3t@db/items?password=s3cr3t",
        "postgresql://user:s3%40cr3t@db/items",
        "host=db user=app password=s3cr3t",
        "password=s3cr3t",
        "redis://:s3cr3t@[::1/0",
    ],
)
def test_passwords_are_masked_in_every_form(tmp_path: Path, url: str) -> None:
    file = _write(tmp_path / "a.toml", f'[database]\nshards = [["{url}", "postgresql://u@h/d"]]\n')
    loaded, sources = setting_sources.load({"HOTSHELF_REDIS_URL": url}, file)
    rows = str(setting_sources.describe(loaded, sources))
    assert "s3cr3t" not in rows
    assert "cr3t@" not in rows
    assert "postgresql://u@h/d" in rows


@pytest.mark.parametrize("value", ["75", "620"])
def test_idle_connections_may_outlive_those_of_balancers(value: str) -> None:
    loaded, _ = setting_sources.load({"HOTSHELF_HTTP_IDLE_TIMEOUT_S": value})
    assert loaded.http.idle_timeout_s == float(value)


def test_lists_in_the_environment_may_have_commas() -> None:
    env = {
        "HOTSHELF_LISTS_ATTRIBUTES": "v,rank, a.b  c",
        "HOTSHELF_HTTP_TRUSTED_PROXIES": "10.0.0.0/8,127.0.0.1/32",
    }
    loaded, _ = setting_sources.load(env)
    assert loaded.lists.attributes == ("v", "rank", "a.b", "c")
    assert loaded.http.trusted_proxies == ("10.0.0.0/8", "127.0.0.1/32")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().http.port = 1  # type: ignore[misc]
