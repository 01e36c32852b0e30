"""Configuration files of the service: what it is given in production, and larger."""

from dataclasses import dataclass
from pathlib import Path

from . import contract
from .certificates import spiffe_id
from .servers import Place

AUDIT = """
[audit]
sink = {{ file = "{folder}/audit.jsonl" }}
durability = "{durability}"
subject_key = {{ file = "{folder}/subjects" }}
"""
TLS = """
[server.tls]
certificate = "{certificate}"
private_key = "{key}"
client_ca = "{ca}"
[server.identity]
mtls = true
"""
LIMITS = """
[server.limits]
max_in_flight = 20000
max_connections = 20000
"""
GRANT = """
[[callers.grants]]
instance = "i{instance}"
email_domains = ["c{set}.example.com", "example.com"]
groups = ["Customers", "Region *"]
{attributes}
max_lifetime = "15m"
"""
ATTRIBUTES = 'attributes = { customer_id = "integer", region = ["emea", "apac"] }'
ANY_ATTRIBUTES = 'attributes = { "*" = "string" }'


@dataclass(frozen=True)
class Shape:
    """What a configuration is like. The default is that of production."""

    audit: str = "written"
    """Durability, or "off"."""
    tls: bool = True
    callers: int = 1
    instances: int = 1
    sets: int = 100
    """So many different sets of grants at most."""
    attributes: str = ATTRIBUTES
    wide: bool = False
    """With room for 10,000 connections."""
    more: str = ""
    """Further tables, for what is to be measured beside these."""


def write(shape: Shape, place: Place) -> Path:
    """The file, and the secrets that it names."""
    folder, certificates = place.folder, place.certificates
    secrets = {f"secret{index}": _secret(index) for index in range(shape.instances)}
    secrets["subjects"] = contract.SECRET[::-1]
    for name, text in secrets.items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o600)
    text = [f'[server]\nlisten = "{place.address}"\nmetrics_listen = "127.0.0.1:{place.metrics_port}"\n']
    if not shape.tls:
        text.append('identity = { local = "c0" }\n')
    text.append("drain = { announce_delay = \"0s\" }\n")
    if shape.tls:
        text.append(TLS.format(certificate=certificates.server, key=certificates.server_key, ca=certificates.ca))
    text.append(LIMITS if shape.wide else "")
    text.append(AUDIT.format(folder=folder, durability=shape.audit) if shape.audit != "off" else "")
    for index in range(shape.instances):
        default = "default = true\n" if index == 0 else ""
        text.append(f'\n[[instances]]\nname = "i{index}"\n{default}probe_interval = "off"\n')
        text.append('url = "https://metabase.example.com"\n')
        text.append(f'shared_secret = {{ file = "{folder}/secret{index}" }}\n')
    for caller in range(shape.callers):
        text.append(f'\n[[callers]]\nname = "c{caller}"\nidentities = ["{spiffe_id(caller)}"]\n')
        for index in range(shape.instances):
            grant = GRANT.format(instance=index, set=caller % shape.sets, attributes=shape.attributes)
            text.append(grant)
    text.append(shape.more)
    path = folder / "service.toml"
    path.write_text("".join(text))
    return path


def _secret(index: int) -> str:
    return contract.SECRET if index == 0 else f"{index:08x}{contract.SECRET[8:]}"
