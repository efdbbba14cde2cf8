"""Keys that are renewed while relays run: known everywhere before they are used anywhere, gone when not needed."""

import fcntl
import json
import threading

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from tests.oidc.world import APP, START
from tunnelctl.policy.fields import MAX_SESSION
from tunnelrelay.keys.assertion import AHEAD_SECONDS, AssertionSigner, SigningKeys
from tunnelrelay.keys.assertion import KEEP_SECONDS as SIGN_KEEP_SECONDS
from tunnelrelay.keys.key_files import KeyFile, SecretFileError
from tunnelrelay.keys.keyring import KEEP_SECONDS, MAX_MASTERS, SETTLE_SECONDS, KeyRefused, KeyRing
from tunnelrelay.keys.rotation import POLL_EVERY, RETRY_SECONDS, RelayKeys, tended
from tunnelrelay.model import Identity
from tunnelrelay.observe.audit import Audit
from tunnelrelay.oidc.login.sealed_state import Handoff, open_blob, seal_blob

DAY = 86_400.0
ANN = Identity(issuer="https://op.test", subject="ann")


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


class Relay:
    """What one relay holds of the files in a directory."""

    def __init__(self, folder, clock, *, every=DAY):
        self.clock = clock
        self.keys = RelayKeys(folder / "keys.json", issuer="r", every=every, clock=clock)
        self.ring, self.signer = self.keys.ring, self.keys.signer
        self.audit = Audit(clock=clock)

    async def step(self):
        await self.keys.step(self.audit)

    def seal(self):
        return self.ring.seal("state", APP, b"x")

    def opens(self, blob):
        return self.ring.open("state", APP, blob, 999) == b"x"

    def sign(self):
        return self.signer.sign(ANN, audience="https://app.test", now=self.clock.now)

    def published(self):
        return self.signer.jwks()

    def events(self):
        return [(event.kind, event.reason, event.details["use"]) for event in self.audit.take()]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def relay(tmp_path, clock):
    return Relay(tmp_path, clock)


def verifies(token, jwks):
    try:
        jwt.decode(token, KeySet.import_key_set(jwks), algorithms=["ES256"])
    except (ValueError, JoseError):
        return False
    return True


# Sealing keys


async def test_a_new_master_opens_at_once_and_seals_when_every_relay_has_read_it(tmp_path, clock):
    one, two = Relay(tmp_path, clock), Relay(tmp_path, clock)
    before = one.seal().split(".")[1]
    clock.now += DAY
    await one.step()
    assert one.seal().split(".")[1] == before

    clock.now += POLL_EVERY
    await two.step()
    clock.now += SETTLE_SECONDS - POLL_EVERY
    blob = one.seal()

    assert blob.split(".")[1] != before
    assert two.opens(blob)
    assert POLL_EVERY * 5 < SETTLE_SECONDS


async def test_what_an_old_master_sealed_opens_for_as_long_as_the_longest_session(relay, clock):
    blob = relay.seal()
    clock.now += DAY
    await relay.step()
    clock.now += SETTLE_SECONDS + MAX_SESSION - 1
    await relay.step()
    assert relay.opens(blob)

    clock.now += 2
    await relay.step()

    assert not relay.opens(blob)
    assert ("keys.dropped", "aged", "seal") in relay.events()
    assert KEEP_SECONDS >= MAX_SESSION


async def test_a_blob_of_a_master_that_was_dropped_is_as_good_as_none(relay, clock):
    """Rows 39, 81."""
    handoff = Handoff(tx="ab" * 16, binding=b"b" * 32, connection_id="c", epoch="e", host=APP, expires_at=START * 2)
    blob = seal_blob(relay.ring, APP, handoff)
    kid = blob.split(".")[1]
    newer = relay.ring.with_new_key(clock.now)
    assert open_blob(newer, Handoff, APP, blob, clock.now) == handoff

    relay.ring.adopt(newer.without(kid))

    assert open_blob(relay.ring, Handoff, APP, blob, clock.now) is None


async def test_a_blob_renamed_to_a_key_that_is_still_there_is_not_accepted(relay, clock):
    """Row 81."""
    version, kid, body = relay.seal().split(".")
    relay.ring.adopt(relay.ring.with_new_key(clock.now))
    other = next(master.kid for master in relay.ring.masters if master.kid != kid)

    assert not relay.opens(f"{version}.{other}.{body}")


async def test_ciphers_of_a_dropped_master_are_forgotten_too(relay, clock):
    """Row 81."""
    blob = relay.seal()
    kid = blob.split(".")[1]
    relay.ring.adopt(relay.ring.with_new_key(clock.now).without(kid))

    assert not relay.opens(blob)


def test_when_the_clock_is_behind_every_key_the_oldest_seals():
    ring = KeyRing.generate(START).with_new_key(START)

    assert ring.sealing(START - DAY) == ring.masters[0]


def test_the_newest_key_is_never_dropped(clock):
    for keys in (KeyRing.generate(START).with_new_key(START), SigningKeys.generate().with_new_key(START)):
        kids = [item.kid for item in (keys.masters if isinstance(keys, KeyRing) else keys.keys)]
        with pytest.raises(KeyRefused, match="newest"):
            keys.without(kids[-1])
        with pytest.raises(KeyRefused, match="no key"):
            keys.without("nobody")
        keys.without(kids[0])


def test_a_ring_does_not_grow_without_end():
    ring = KeyRing.generate(START)
    for number in range(1, MAX_MASTERS):
        ring = ring.with_new_key(START + number)

    with pytest.raises(KeyRefused):
        ring.with_new_key(START)


@pytest.mark.parametrize("days", [1, 2, 10, 31, 365])
async def test_a_relay_that_runs_for_long_keeps_a_month_of_masters(relay, clock, days):
    for _ in range(days):
        clock.now += DAY + SETTLE_SECONDS
        await relay.step()

    assert len(relay.ring.masters) <= 32
    assert len(relay.signer.keys.keys) <= 3


async def test_a_relay_that_slept_for_a_year_starts_with_one_new_key(relay, clock):
    clock.now += 365 * DAY
    await relay.step()

    assert len(relay.ring.masters) == 2
    assert relay.opens(relay.seal())


# Several relays, several processes


async def test_two_relays_that_find_the_key_too_old_make_one_between_them(tmp_path, clock, monkeypatch):
    one, two = Relay(tmp_path, clock), Relay(tmp_path, clock)
    clock.now += DAY
    await one.step()
    monkeypatch.setattr(KeyFile, "reload", lambda file: None)  # the other has looked a moment before
    await two.step()

    assert len(one.ring.masters) == len(two.ring.masters) == 2
    assert one.ring.dump() == two.ring.dump()
    assert two.events() == []


def test_changes_of_many_processes_lose_no_key(tmp_path):
    path = tmp_path / "keys.json"
    KeyRing.load_or_create(path)

    def rotate():
        for _ in range(5):
            KeyRing.file(path).change(lambda ring: ring.with_new_key(START))

    threads = [threading.Thread(target=rotate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(KeyRing.file(path).load().masters) == 31


def test_a_lock_that_nobody_gives_back_is_no_reason_to_hang(tmp_path, monkeypatch):
    path = tmp_path / "keys.json"
    KeyRing.load_or_create(path)
    monkeypatch.setattr("tunnelrelay.keys.key_files.LOCK_SECONDS", 0.0)
    with (tmp_path / "keys.json.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SecretFileError, match="another process"):
            KeyRing.file(path).change(lambda ring: ring.with_new_key(START))


def test_files_stay_private_and_whole(tmp_path):
    path = tmp_path / "keys.json"
    KeyRing.load_or_create(path)
    KeyRing.file(path).change(lambda ring: ring.with_new_key(START))

    assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {
        "keys.json": 0o600,
        "keys.json.lock": 0o600,
    }


async def test_a_file_that_was_damaged_leaves_the_keys_in_use_alone(relay, clock, tmp_path, caplog):
    blob = relay.seal()
    (tmp_path / "keys.json").write_bytes(b"{}")
    for _ in range(3):
        clock.now += POLL_EVERY
        await relay.step()

    assert relay.opens(blob)
    assert caplog.text.count("keys not reloaded") == 1


async def test_a_ring_that_was_replaced_by_another_is_not_taken_over_while_running(relay, tmp_path, caplog):
    blob = relay.seal()
    (tmp_path / "keys.json").unlink()
    KeyRing.load_or_create(tmp_path / "keys.json")
    await relay.step()

    assert relay.opens(blob)
    assert "restart the relay" in caplog.text


async def test_a_file_that_cannot_be_written_is_tried_again_later(relay, clock, monkeypatch, caplog):
    tries = []

    def fail(file, step):
        if file.path.name == "keys.json":
            tries.append(step)
        raise SecretFileError("read-only")

    monkeypatch.setattr(KeyFile, "change", fail)
    clock.now += DAY
    for _ in range(5):
        await relay.step()
        clock.now += POLL_EVERY
    assert len(tries) == 1

    clock.now += RETRY_SECONDS
    await relay.step()

    assert len(tries) == 2
    assert "read-only" in caplog.text


async def test_a_ring_that_is_full_is_looked_at_all_the_same(relay, clock, tmp_path, caplog):
    command = KeyRing.file(tmp_path / "keys.json", clock=clock)
    full = relay.ring
    while len(full.masters) < MAX_MASTERS:
        full = full.with_new_key(clock.now)
    command.change(lambda _: full)
    clock.now += 2 * DAY
    await relay.step()
    assert "not rotated, retrying" in caplog.text

    command.change(lambda ring: ring.without(full.masters[1].kid))
    await relay.step()

    assert len(relay.ring.masters) == MAX_MASTERS - 1


async def test_rotation_can_be_turned_off(tmp_path, clock):
    relay = Relay(tmp_path, clock, every=0.0)
    clock.now += 365 * DAY
    await relay.step()

    assert len(relay.ring.masters) == len(relay.signer.keys.keys) == 1


async def test_a_rotation_is_an_event_without_the_key(relay, clock):
    clock.now += DAY
    await relay.step()
    events = relay.audit.take()

    assert {(event.kind, event.details["use"]) for event in events} == {
        ("keys.rotated", "seal"),
        ("keys.rotated", "sign"),
    }
    kept = json.loads(relay.ring.dump())
    assert not any(master["secret"] in repr(events) for master in kept["masters"])


# Signing keys


async def test_the_next_signing_key_is_published_a_day_before_it_signs(relay, clock):
    first = relay.published()["keys"]
    clock.now += DAY
    await relay.step()
    ahead = relay.published()
    assert [key["kid"] for key in ahead["keys"][:1]] == [first[0]["kid"]]
    assert len(ahead["keys"]) == 2
    assert verifies(relay.sign(), {"keys": first})

    clock.now += AHEAD_SECONDS
    token = relay.sign()

    assert not verifies(token, {"keys": first})
    assert verifies(token, ahead)


async def test_the_former_signing_key_is_published_for_a_day_and_then_gone(relay, clock):
    former = relay.sign()
    clock.now += DAY
    await relay.step()
    clock.now += AHEAD_SECONDS + SIGN_KEEP_SECONDS - 1
    await relay.step()
    assert verifies(former, relay.published())

    clock.now += 2
    await relay.step()

    assert not verifies(former, relay.published())
    assert ("keys.dropped", "aged", "sign") in relay.events()


@pytest.mark.parametrize("every", [3600.0, DAY, 7 * DAY, 30 * DAY])
async def test_at_no_time_does_an_app_with_yesterdays_keys_meet_one_it_does_not_know(tmp_path, clock, every):
    relay = Relay(tmp_path, clock, every=every)
    day_old = [relay.published()] * 24
    met = []
    for _ in range(24 * 70):
        token = relay.sign()
        pair = token.partition(".")[0], day_old[0]  # the header names the key
        if pair not in met:
            assert verifies(token, day_old[0])
            met.append(pair)
        clock.now += 3600
        await relay.step()
        day_old = [*day_old[1:], relay.published()]

    assert len({header for header, _ in met}) > 1
    assert len(relay.published()["keys"]) <= 3


def test_what_is_published_holds_nothing_private():
    keys = SigningKeys.generate().with_new_key(START)
    shown = json.dumps(AssertionSigner(keys, issuer="r").jwks())

    for item in keys.keys:
        assert item.d not in shown
        assert item.d not in repr(item) + repr(keys)
    assert all(set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"} for key in json.loads(shown)["keys"])


def test_a_key_of_an_earlier_release_is_taken_over_and_its_file_removed(tmp_path):
    old = ECKey.generate_key("P-256")
    (tmp_path / "assertion.pem").write_bytes(old.as_pem(private=True))
    (tmp_path / "assertion.pem").chmod(0o600)

    signer = AssertionSigner.load_or_create(tmp_path / "assertion.json", issuer="r")

    assert [key["kid"] for key in signer.jwks()["keys"]] == [old.thumbprint()]
    assert [file.name for file in tmp_path.iterdir()] == ["assertion.json"]
    assert AssertionSigner.load_or_create(tmp_path / "assertion.json", issuer="r").jwks() == signer.jwks()


def test_nothing_is_done_when_nothing_is_due():
    ring, keys = KeyRing.generate(START), SigningKeys.generate().with_new_key(START)

    assert tended(ring, START + DAY - 1, DAY).dump() == ring.dump()
    assert tended(keys, START + DAY - 1, DAY).dump() == keys.dump()
