from tunnelrelay.policy.memo import MAX_ENTRIES, Memo


def test_what_is_known_is_not_worked_out_again():
    asked = []
    memo = Memo(lambda key: asked.append(key) or len(key), max_bytes=8)
    assert [memo[b"abc"], memo[b"abc"], memo[b"de"]] == [3, 3, 2]
    assert asked == [b"abc", b"de"]


def test_inventing_keys_fills_no_memory():
    memo = Memo(len, max_bytes=8)
    for number in range(3 * MAX_ENTRIES):
        assert memo[b"%d" % number] == len(b"%d" % number)
    assert len(memo) <= MAX_ENTRIES


def test_long_keys_are_worked_out_and_not_kept():
    memo = Memo(len, max_bytes=8)
    assert memo[b"y" * 9] == 9
    assert not memo
