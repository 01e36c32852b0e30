"""Holds the SBOM to Cargo.lock: python sbom.py SBOM TREE, where TREE is the output of cargo tree with one "name vVERSION" a line."""

import json
import sys
import tomllib
from pathlib import Path

bill = json.loads(Path(sys.argv[1]).read_text())
assert bill["bomFormat"] == "CycloneDX"
listed = {(part["name"], part["version"]) for part in bill["components"]}
itself = bill["metadata"]["component"]
built = {tuple(line.split()[:2]) for line in Path(sys.argv[2]).read_text().splitlines() if line}
built = {(name, version.removeprefix("v")) for name, version in built} - {(itself["name"], itself["version"])}
locked = {(package["name"], package["version"]) for package in tomllib.loads(Path("Cargo.lock").read_text())["package"]}
assert built and built <= locked
assert not built - listed, f"in the binary, and not in the SBOM: {sorted(built - listed)}"
assert not listed - locked, f"in the SBOM, and not in Cargo.lock: {sorted(listed - locked)}"
assert all(part.get("licenses") and part.get("hashes") for part in bill["components"]), "a part without licence or hash"
print(f"the SBOM names all {len(built)} crates of the binary, of {len(locked)} in Cargo.lock; {len(listed - built)} more are macros")
