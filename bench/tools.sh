# Installs and builds everything that is measured, pinned, from the package registries into bench/.tools; what is there at the
# pinned version is left alone. Sourced by bench/run, bench/curves and bench/instructions.

readonly ghz_version=v0.93.0
readonly root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly bench=$root/bench
readonly tools=$bench/.tools
readonly proto=metabase/token/v1/token_service.proto

say() { printf '== %s\n' "$*" >&2; }
die() {
  printf '\n!! %s\n' "$*" >&2
  exit 2
}

# is_current NAME TEXT...: whether NAME was installed for exactly these versions and files.
is_current() { [[ -f $tools/$1.stamp && $(<"$tools/$1.stamp") == "${*:2}" ]]; }
mark_current() { printf '%s\n' "${*:2}" >"$tools/$1.stamp"; }
digest() { cat "$@" | git hash-object --stdin; }

need() {
  local command
  for command in "$@"; do
    [[ -n $(command -v "$command") ]] || die "$command is needed, and not on the PATH."
  done
}

# debian COMMAND PACKAGE: Debian's own version, which the results name.
debian() {
  [[ -n $(command -v "$1") ]] && return
  say "installing Debian's $2"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >&2 || die "$1 (Debian's $2) is needed, and cannot be installed here."
}

# venv NAME REQUIREMENTS: a virtual environment of its own.
venv() {
  local wanted
  wanted="$(digest "$2") $(python3 --version) $(python3 -c 'import sys; print(sys.prefix)')"
  is_current "$1" "$wanted" && [[ -x $tools/$1/bin/python ]] && return
  say "installing the packages of ${2#"$root/"} into a virtual environment of $(python3 --version)"
  rm -rf "${tools:?}/$1"
  python3 -m venv "$tools/$1"
  "$tools/$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: -r "$2"
  "$tools/$1/bin/python" -m pip check >&2
  mark_current "$1" "$wanted"
}

stubs() {
  local wanted
  wanted="$(digest "$root/proto/$proto" "$bench/requirements.txt")"
  is_current stubs "$wanted" && return
  rm -rf "$tools/stubs" && mkdir -p "$tools/stubs"
  "$tools/venv/bin/python" -m grpc_tools.protoc --proto_path="$root/proto" --python_out="$tools/stubs" \
    --grpc_python_out="$tools/stubs" --descriptor_set_out="$tools/contract.binpb" --include_imports "$proto"
  mark_current stubs "$wanted"
}

ghz() {
  local wanted
  wanted="$ghz_version $(go version)"
  is_current ghz "$wanted" && [[ -x $tools/bin/ghz ]] && return
  say "installing ghz $ghz_version"
  GOBIN=$tools/bin go install "github.com/bojand/ghz/cmd/ghz@$ghz_version"
  mark_current ghz "$wanted"
}

client_certificates() {
  local wanted
  wanted="$(digest "$bench/client_certificates.c") $(cc -dumpfullversion)"
  is_current client_certificates "$wanted" && return
  cc -O2 -Wall -Wextra -shared -fPIC -o "$tools/client_certificates.so" "$bench/client_certificates.c" -ldl
  mark_current client_certificates "$wanted"
}

go_target() {
  local wanted
  wanted="$(digest "$root/proto/$proto" "$bench"/targets/go/{go.mod,go.sum,main.go,generate}) $(go version)"
  is_current go "$wanted" && [[ -x $tools/bin/issuer ]] && return
  say "building targets/go"
  PROTOC="$tools/venv/bin/python -m grpc_tools.protoc" "$bench/targets/go/generate"
  (cd "$bench/targets/go" && go build -mod=readonly -trimpath -ldflags='-s -w' -o "$tools/bin/issuer" .)
  mark_current go "$wanted"
}

node_target() {
  local wanted
  wanted="$(digest "$bench/targets/node/package-lock.json") $(node --version)"
  is_current node "$wanted" && [[ -d $bench/targets/node/node_modules ]] && return
  say "installing the packages of targets/node/package-lock.json"
  npm ci --prefix "$bench/targets/node" --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
  mark_current node "$wanted"
}

java_target() {
  local wanted
  wanted="$(digest "$root/proto/$proto" "$bench/targets/java/pom.xml" "$bench"/targets/java/src/main/java/bench/*) $(java -version 2>&1 | head -1)"
  is_current java "$wanted" && [[ -f $bench/targets/java/target/issuer.jar ]] && return
  say "building targets/java"
  mvn --quiet --batch-mode -f "$bench/targets/java" package -Dmaven.test.skip=true
  mark_current java "$wanted"
}

# The same profile and the same folder, so that the crates they share are compiled once.
rust() {
  say "building the service and targets/echo in release mode"
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
  (cd "$root" && cargo build --quiet --locked --release)
  (cd "$bench/targets/echo" && cargo build --quiet --locked --release)
}

prepare_harness() {
  need cargo cc git python3 taskset
  debian h2load nghttp2-client
  mkdir -p "$tools/bin"
  venv venv "$bench/requirements.txt"
  stubs
  client_certificates
  rust
}

prepare_rivals() {
  need go java mvn node npm
  ghz
  go_target
  node_target
  java_target
  venv python "$bench/targets/python/requirements.txt"
}

# measure MODULE ARGUMENTS...: runs a part of the harness.
measure() {
  export PYTHONPATH=$bench:$root/tests/interop:$tools/stubs PYTHONDONTWRITEBYTECODE=1
  exec "$tools/venv/bin/python" -m "measure.$1" "${@:2}"
}
