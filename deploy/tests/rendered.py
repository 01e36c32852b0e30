"""Holds a rendered chart to what it promises: python rendered.py MANIFEST BINARY

The configuration is checked by the service itself, in the image, with every file where the pod mounts it and nowhere else.
"""

import datetime
import re
import secrets
import sys
import tempfile
from pathlib import Path

import tomllib
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from image import Image


def main() -> None:
    manifest, binary = Path(sys.argv[1]), Path(sys.argv[2])
    documents = [document for document in yaml.safe_load_all(manifest.read_text()) if document]
    one = {document["kind"]: document for document in documents if not document["metadata"]["name"].endswith("-dashboard")}
    deployment = one["Deployment"]["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    config_map = one["ConfigMap"]["data"]
    config = tomllib.loads(config_map["config.toml"])

    assert deployment["replicas"] >= 2
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert pod["automountServiceAccountToken"] is False and one["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] and security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod["terminationGracePeriodSeconds"] > pause + 15, "the drain of 15 s is cut off"
    probe_port = int(config["server"]["probe_listen"].rpartition(":")[2])
    for probe, service in ("startupProbe", "readiness"), ("readinessProbe", "readiness"), ("livenessProbe", "liveness"):
        assert container[probe]["grpc"] == {"port": probe_port, "service": service}, probe
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["grpc"] == int(config["server"]["listen"].rpartition(":")[2])
    assert ports["metrics"] == int(config["server"]["metrics_listen"].rpartition(":")[2])
    assert "@sha256:" in container["image"] or re.search(r":[^/]+$", container["image"]), "an image without a version"

    policy = one["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    for rule in policy["ingress"]:
        assert rule["from"] and all(rule["from"]) and rule["ports"], "an ingress rule that lets everyone in"
    open_ports = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    # Between meshed pods every port is that of Linkerd's proxy.
    is_in_linkerd = "config.linkerd.io/opaque-ports" in deployment["template"]["metadata"]["annotations"]
    assert open_ports == {ports["grpc"], ports["metrics"]} | ({4143} if is_in_linkerd else set())
    reached = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert not is_in_linkerd or reached >= {8080, 8086, 8090}, "Linkerd's control plane cannot be reached"
    for rule in policy["egress"]:
        assert rule["to"] and rule["ports"], "an egress rule that lets out to everywhere"
    labels = deployment["template"]["metadata"]["labels"]
    for selector in (policy["podSelector"], one["PodDisruptionBudget"]["spec"]["selector"], deployment["selector"]):
        assert selector["matchLabels"].items() <= labels.items()
    for document in documents:
        if document["kind"] == "Service":
            assert document["spec"]["selector"].items() <= labels.items()
            assert all(port["targetPort"] in ports for port in document["spec"]["ports"])

    # No secret is in the manifest, and what holds one is mounted from a Secret, readable by owner and group only.
    assert not [document for document in documents if document["kind"] == "Secret"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert len(mounts) == len(container["volumeMounts"])
    with tempfile.TemporaryDirectory() as root:
        image = Image(Path(root), binary)
        image.root.chmod(0o755)
        config_path = re.search(r"--config=(\S+)", " ".join(container["args"])).group(1)
        assert image.entrypoint == ["/metabase-token-service"] and container["args"][0] == image.command[0]
        image.write(config_path, config_map["config.toml"])
        assert "configMap" in volume_of(config_path, mounts)
        certificate, key = certificate_and_key()
        for key_path, path in paths(config):
            volume = volume_of(path, mounts)
            if key_path.endswith(("shared_secret.file", "subject_key.file")):
                assert volume["secret"]["defaultMode"] == 0o440, key_path
                image.write(path, secrets.token_hex(32), 0o440)
            elif key_path.endswith("private_key"):
                assert volume["secret"]["defaultMode"] == 0o440, key_path
                image.write(path, key, 0o440)
            else:
                image.write(path, certificate)
        checked = image.run("/metabase-token-service", "config", "check", config_path)
        assert checked.returncode == 0, checked.stderr
        tomllib.loads(checked.stdout)
    print(f"{len(documents)} documents, config check passed in the image")


def volume_of(path: str, mounts: dict) -> dict:
    folder = max((folder for folder in mounts if path.startswith(folder + "/")), key=len, default=None)
    assert folder, f"{path} is read, but nothing is mounted there"
    volume, file = mounts[folder], path.removeprefix(f"{folder}/")
    assert "/" not in file, f"{path} is read, but a volume at {folder} has no folders"
    items = (volume.get("secret") or volume.get("configMap")).get("items")
    assert items is None or file in [item["path"] for item in items], f"{path} is read, but {file} is not among the items of its volume"
    return volume


def paths(value, key: str = ""):
    """Every absolute path in the configuration, with its key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, key)
    elif isinstance(value, str) and value.startswith("/"):
        yield key, value


def certificate_and_key() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mts")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("mts")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(pem), secret


main()
