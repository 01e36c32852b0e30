// What every test plays on: builds of the frontend on origins of their own, a browser, and behind the page `world.py`.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
const FLAGS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

/** Serves a folder on an origin of its own. */
export async function serve(folder) {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://localhost").pathname;
    const file = path === "/" ? "/index.html" : path;
    try {
      const body = await readFile(join(folder, file));
      response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { origin: `http://localhost:${server.address().port}`, close };
}

/** A folder that is gone afterwards. */
export async function temporaryFolder() {
  const folder = await mkdtemp(join(tmpdir(), "browser-"));
  return { folder, close: () => rm(folder, { recursive: true, force: true }) };
}

/** Chromium with a profile of its own. */
export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM_BIN || "/usr/bin/chromium", args: FLAGS });

/** `world.py`, with what it printed. `close` rejects when the service or the backend did not end well. */
export async function startWorld(appOrigins, era) {
  const command = ["world.py", "--era", `${era}`, "--app-origin", appOrigins.join()];
  const program = spawn(process.env.BROWSER_TESTS_PYTHON, command, {
    cwd: import.meta.dirname,
    env: { ...process.env, PYTHONPATH: "../interop:../../examples/backends/conformance" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => program.once("exit", resolve));
  const line = await new Promise((resolve, reject) => {
    createInterface(program.stdout).once("line", resolve);
    ended.then((code) => reject(new Error(`world.py ended with ${code}`)));
  });
  const close = async () => {
    program.stdin.end();
    const code = await ended;
    if (code !== 0) throw new Error(`world.py ended with ${code}`);
  };
  return { ...JSON.parse(line), close };
}

/** The control of the stand-in for Metabase, see standin_metabase/control_http.py. */
export class Metabase {
  constructor({ control, secret }) {
    Object.assign(this, { control, secret });
  }

  async call(method, path, body) {
    const answer = await fetch(this.control + path, { method, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.status === 204 ? undefined : answer.json();
  }

  /** A Metabase of this version that holds the service's secret, with nobody signed in. */
  async reset(version) {
    await this.call("PATCH", "/settings", { version, jwt_shared_secret: this.secret });
    for (const path of ["/faults", "/sessions", "/requests"]) await this.call("DELETE", path);
  }

  /** What Metabase was asked, as `METHOD path`, or `exchange` for a token; preflights left out. */
  async asked() {
    const requests = await this.call("GET", "/requests");
    return requests.filter(({ method }) => method !== "OPTIONS");
  }

  /** The tokens that a page handed in for a session. */
  async exchanges() {
    return (await this.asked()).filter(({ path, token }) => path === "/auth/sso" && token !== null);
  }
}
