from tunnelctl.api import AddressTaken as AddressTaken
from tunnelctl.api import AppEnded as AppEnded
from tunnelctl.api import AsyncEndpoint as AsyncEndpoint
from tunnelctl.api import CredentialRefused as CredentialRefused
from tunnelctl.api import Jwt as Jwt
from tunnelctl.api import NoHits as NoHits
from tunnelctl.api import NotReady as NotReady
from tunnelctl.api import Oidc as Oidc
from tunnelctl.api import RelayUnreachable as RelayUnreachable
from tunnelctl.api import RunRefused as RunRefused
from tunnelctl.api import SettingsRefused as SettingsRefused
from tunnelctl.api import SyncEndpoint as SyncEndpoint
from tunnelctl.api import TunnelError as TunnelError
from tunnelctl.api import TunnelLost as TunnelLost
from tunnelctl.api import forward as forward
from tunnelctl.api import forward_sync as forward_sync

API: tuple[str, ...]
__version__: str
