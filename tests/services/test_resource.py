"""What the one flow of all resources holds for each of them."""

from tunnelrelay.observe.audit import KINDS
from tunnelrelay.services.actor import AREAS
from tunnelrelay.services.addrs import Addrs
from tunnelrelay.services.resource import Resource
from tunnelrelay.services.services import Services


def test_every_resource_tells_its_changes_by_kinds_of_the_audit_table() -> None:
    resources = Resource.__subclasses__()
    events = {kind for each in resources for kind in (each.terms.created, each.terms.updated, each.terms.deleted)}

    assert {each.__name__ for each in resources} <= {each.__name__ for each in map(_class, Services.__slots__)}
    assert events <= set(KINDS)
    assert len(events) == 3 * len([each for each in resources if each is not Addrs])  # ports are told of as domains are
    assert {each.terms.area for each in resources} <= set(AREAS)


def _class(name: str) -> type:
    found = Services.__annotations__[name]
    assert isinstance(found, type)
    return found
