"""What limits the growth of each table: a maximum number of rows, or a clean-up that deletes them. A test checks this
data.

The rates are defined in `services.service_base` (changes by a user), `agents.quotas` (new names of an owner) and
`observe.audit` (events).
"""

from collections.abc import Mapping

BOUNDS_OF: Mapping[str, str] = {
    "tokens": "1,000 good ones an owner; revoked ones go after 7 days, expired ones after 30 (`delete_spent`)",
    "sessions": "100 a person at a connection, 20,000 a connection, 20,000 a host; each ends with its time, at most 30 "
    "days (`delete_expired`)",
    "ended": "dropped an hour after the session ended (`delete_expired`)",
    "used": "each mark has an end, that of the login it belongs to (`delete_expired`)",
    "names": "1,000 reserved or in their cool-down an owner, and those that agents bind, one new one in half a second; "
    "generated names are forgotten (`forget_names`), chosen ones stay: browsers remember a former owner",
    "audit": "dropped after `audit_days` (`delete_audit`); of what strangers or agents cause so many a minute are "
    "kept, and users cause no more than their changes",
    "users": "made by administrators only",
    "api_keys": "200 a user; expired ones go after 30 days (`delete_spent`)",
    "sign_ins": "50 browsers and 5 codes a user; dropped when their time is over (`delete_spent`)",
    "domains": "1,000 names and 16 tcp ports an owner",
    "backends": "1,000 an owner",
    "edges": "1,000 an owner, 4 MiB together",
    "providers": "made by administrators only",
    "trust_rules": "made by administrators only, 1,000",
    "revisions": "one row a kind of thing",
}
"""The limit of each table's growth in words, by table name."""
