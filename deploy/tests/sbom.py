"""Holds the SBOM to Cargo.lock: python sbom.py SBOM TREE TREE-WITH-MACROS

The trees are outputs of cargo tree, with one "name vVERSION" a line: what is in the binary, and with the macros that wrote some of it.
"""

import json
import sys
import tomllib
from pathlib import Path

bill = json.loads(Path(sys.argv[1]).read_text())
assert bill["bomFormat"] == "CycloneDX"
listed = {(part["name"], part["version"]) for part in bill["components"]}
itself = bill["metadata"]["component"]


def crates(tree: str) -> set[tuple[str, str]]:
    lines = [line.split() for line in Path(tree).read_text().splitlines() if line]
    return {(name, version.removeprefix("v")) for name, version, *_ in lines} - {(itself["name"], itself["version"])}


built, with_macros = crates(sys.argv[2]), crates(sys.argv[3])
locked = {(package["name"], package["version"]) for package in tomllib.loads(Path("Cargo.lock").read_text())["package"]}
assert built and built <= locked
assert not built - listed, f"in the binary, and not in the SBOM: {sorted(built - listed)}"
assert not listed - with_macros, f"in the SBOM, and neither in the binary nor one of its macros: {sorted(listed - with_macros)}"
assert all(part.get("licenses") and part.get("hashes") for part in bill["components"]), "a part without licence or hash"
print(f"the SBOM names all {len(built)} crates of the binary, of {len(locked)} in Cargo.lock; {len(listed - built)} more are macros")
