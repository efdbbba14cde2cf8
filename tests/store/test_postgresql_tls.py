"""A database elsewhere must show a certificate, unless the operator says otherwise."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.postgres import PostgresServer, postgres_server
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.store.base import StoreError
from tunnelrelay.store.postgresql import PostgresqlStore


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def tls_server(authority: Authority) -> Iterator[PostgresServer]:
    with postgres_server() as server:
        server.stop()
        for name, file in zip(("server.crt", "server.key"), authority.issue("db.example"), strict=True):
            target = server.data / name
            shutil.copy(file, target)
            target.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(target, "nobody")
        server.settings["ssl"] = "on"
        server.start()
        yield server


def elsewhere(url: str) -> DatabaseUrl:
    """The URL as if its server were on another machine."""
    made = DatabaseUrl(url)
    made.is_local = False
    return made


async def opens(url: DatabaseUrl) -> bool:
    """Whether it opens, encrypted."""
    try:
        store = await PostgresqlStore.open(url)
    except StoreError:
        return False
    async with store.engine.connect() as connection:
        row = await connection.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        is_encrypted = bool(row.scalar_one())
    await store.close()
    assert is_encrypted
    return True


async def test_without_a_certificate_that_is_trusted_nothing_is_sent(
    tls_server: PostgresServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = elsewhere(await tls_server.database())
    assert not await opens(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    assert await opens(url)


async def test_a_certificate_of_another_host_is_refused(
    tls_server: PostgresServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    url = (await tls_server.database()).replace("127.0.0.1", "127.0.0.2")
    tls_server.settings["listen_addresses"] = "127.0.0.1,127.0.0.2"
    tls_server.stop(at_once=False)
    tls_server.start()
    assert not await opens(elsewhere(url))


async def test_a_server_elsewhere_without_tls_is_refused(postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        await PostgresqlStore.open(elsewhere(await postgres.database()))


async def test_the_urls_own_words_decide_where_they_are_given(
    tls_server: PostgresServer, authority: Authority, tmp_path: Path
) -> None:
    url = await tls_server.database()
    assert await opens(elsewhere(f"{url}?sslmode=verify-full&sslrootcert={authority.ca_file}"))
    other = Authority(tmp_path / "other")
    assert not await opens(elsewhere(f"{url}?sslmode=verify-full&sslrootcert={other.ca_file}"))
