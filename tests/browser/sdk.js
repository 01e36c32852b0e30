// The SDK, from the package that has all of its code, through the example frontend to the stand-in for Metabase.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";
import {
  choose, dashboardIsShown, formIsShown, nothingIsShown, scene, signIn, signOut, stage, statusIs, until,
} from "./scenes.js";

scene("a person signs in and sees what is theirs", {}, async ({ page, context, metabase }) => {
  const requests = [];
  page.on("request", (request) => requests.push(request));
  await page.goto(stage.app.origin);
  await formIsShown(page);
  await nothingIsShown(page);
  assert.deepEqual((await metabase.exchanges()).length, 0);

  await signIn(page);
  await statusIs(page, "success");
  await page.getByText("In Metabase as Ada Lovelace").waitFor();
  await dashboardIsShown(page, 1);

  // The token came from the backend: another origin, asked with the page's own header and the session's cookie.
  const asked = requests.find((request) => request.url() === `${stage.world.backend}/sso/metabase?response=json`);
  const headers = await asked.allHeaders();
  assert.deepEqual([headers.origin, headers["x-requested-with"]], [stage.app.origin, "frontend"]);
  assert.match(headers.cookie, /^session=/);
  assert.notEqual(new URL(stage.app.origin).port, new URL(stage.world.backend).port);

  // Metabase was asked in the order of its version, and by the SDK alone.
  const [discovery, exchange, ...others] = (await metabase.asked()).filter(({ path }) => !path.startsWith("/app/"));
  assert.deepEqual([discovery.path, discovery.query], ["/auth/sso", { preferred_method: "jwt" }]);
  assert.deepEqual([exchange.path, exchange.status, exchange.token.claims.email], ["/auth/sso", 200, "ada@example.com"]);
  assert.ok(exchange.headers["x-metabase-sdk-jwt-hash"]);
  assert.ok(others.every(({ status, headers: { "x-metabase-session": session } }) => status === 200 && session));
  for (const { headers: sent } of [discovery, exchange, ...others]) {
    assert.equal(sent["x-metabase-client"], "embedding-sdk-react");
    assert.equal(sent.cookie, undefined);
  }
  assert.deepEqual((await metabase.call("GET", "/sessions")).map(({ email }) => email), ["ada@example.com"]);

  // Nothing that could sign somebody in stays where scripts can read it.
  const readable = await page.evaluate(() => JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }]));
  assert.doesNotMatch(readable, /eyJ|session/);
  const [cookie] = await context.cookies(stage.world.backend);
  assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Lax"]);
});

for (const version of [55, 57, 58, 61]) {
  scene(`the SDK of 56 signs in to version ${version} too`, { version }, async ({ page, metabase }) => {
    await page.goto(stage.app.origin);
    await signIn(page);
    await statusIs(page, "success");
    const [exchange] = await metabase.exchanges();
    assert.equal("x-metabase-sdk-jwt-hash" in exchange.headers, version <= 57);
  });
}

scene("a token is fetched again when the last has expired, and not before", {}, async ({ page, metabase }) => {
  const fetched = [];
  page.on("request", (request) => request.url().endsWith("?response=json") && fetched.push(request));
  await page.goto(stage.app.origin);
  await signIn(page);
  await dashboardIsShown(page, 1);
  const [first, ...none] = await metabase.exchanges();
  assert.deepEqual(none, []);
  const { iat, exp } = first.token.claims;
  assert.ok(exp > iat);

  await page.clock.setSystemTime((exp - 60) * 1000);
  await choose(page, 2);
  await dashboardIsShown(page, 2);
  assert.deepEqual([(await metabase.exchanges()).length, fetched.length], [1, 1]);

  await page.clock.setSystemTime((exp + 60) * 1000);
  await choose(page, 3);
  await dashboardIsShown(page, 3);
  // The session of the first token lives on, so that the dashboard may be there before the second is exchanged.
  const exchanges = await until(async () => {
    const found = await metabase.exchanges();
    return found.length > 1 && found;
  });
  const tokens = exchanges.map(({ token }) => token);
  // Not the same token once more: the backend was asked.
  assert.ok(fetched.length > 1);
  assert.ok(tokens.every(({ claims }) => claims.email === "ada@example.com"));
  await statusIs(page, "success");
});

scene("signing out hides everything, and the next person sees their own", {}, async ({ page, context, metabase }) => {
  await page.goto(stage.app.origin);
  await signIn(page);
  await dashboardIsShown(page, 1);
  await page.evaluate(() => (window.beforeSignOut = true));
  await signOut(page);
  await formIsShown(page);
  await nothingIsShown(page);
  // A new page: nothing that the SDK keeps in memory is left.
  assert.equal(await page.evaluate(() => window.beforeSignOut), undefined);
  const refused = await context.request.get(`${stage.world.backend}/sso/metabase?response=json`);
  assert.equal(refused.status(), 401);

  await page.reload();
  await formIsShown(page);
  await nothingIsShown(page);
  assert.equal((await metabase.exchanges()).length, 1);

  await signIn(page, "grace");
  await page.getByText("In Metabase as Grace Hopper").waitFor();
  await dashboardIsShown(page, 1, "customer_id 7, region apac");
});

const failing = { failures: true };
scene("a session that ended in another tab hides everything at the next token", failing, async ({ page, context, metabase }) => {
  await page.goto(stage.app.origin);
  await signIn(page);
  await dashboardIsShown(page, 1);
  const other = await context.newPage();
  await other.goto(stage.app.origin);
  await statusIs(other, "success");
  await signOut(other);
  await formIsShown(other);

  const exchanges = await metabase.exchanges();
  await page.clock.setSystemTime((exchanges[0].token.claims.exp + 60) * 1000);
  await choose(page, 2);
  await formIsShown(page);
  await nothingIsShown(page);
  assert.equal((await metabase.exchanges()).length, exchanges.length);
});

scene("another secret at Metabase is an error and shows nothing", failing, async ({ page, metabase }) => {
  await metabase.call("PATCH", "/settings", { jwt_shared_secret: "f".repeat(64) });
  await page.goto(stage.app.origin);
  await signIn(page);
  await statusIs(page, "error");
  await page.getByRole("alert").getByText(/status: 401/).waitFor();
  await nothingIsShown(page);
  const [exchange] = await metabase.exchanges();
  assert.equal(exchange.status, 401);
});

scene("a person without a grant gets no token", failing, async ({ page, metabase }) => {
  await page.goto(stage.app.origin);
  await signIn(page, "alan");
  await statusIs(page, "error");
  await page.getByRole("alert").getByText("You have no access to these analytics.").waitFor();
  await nothingIsShown(page);
  assert.deepEqual(await metabase.exchanges(), []);
});

scene("an unknown person is not signed in", {}, async ({ page, context }) => {
  await page.goto(stage.app.origin);
  await signIn(page, "mallory");
  await page.getByRole("alert").getByText("There is no such person.").waitFor();
  await formIsShown(page);
  assert.deepEqual(await context.cookies(stage.world.backend), []);
});

scene("a page of an origin that is not configured reaches nothing", {}, async ({ page, context, metabase }) => {
  await page.goto(stage.app.origin);
  await signIn(page);
  await statusIs(page, "success");
  await metabase.call("DELETE", "/requests");
  // The same code, the same browser, the session's cookie; only the origin is another.
  await page.goto(stage.foreign.origin);
  await page.getByRole("alert").getByText(`does not accept pages of ${stage.foreign.origin}`).waitFor();
  await nothingIsShown(page);
  const seen = await page.evaluate(
    (url) => fetch(url, { credentials: "include" }).then((answer) => answer.text(), () => "nothing"),
    `${stage.world.backend}/sso/metabase?response=json`,
  );
  assert.equal(seen, "nothing");
  assert.deepEqual(await metabase.exchanges(), []);
  assert.equal((await context.cookies(stage.world.backend)).length, 1);
});

scene("an API key needs no backend, in development", {}, async ({ page, metabase }) => {
  const elsewhere = [];
  page.on("request", (request) => request.url().startsWith(stage.world.backend) && elsewhere.push(request.url()));
  await page.goto(stage.withKey.origin);
  await statusIs(page, "success");
  await dashboardIsShown(page, 1, "For an API key, without attributes");
  const asked = (await metabase.asked()).filter(({ path }) => path.startsWith("/api/"));
  assert.ok(asked.every(({ headers }) => headers["x-api-key"] && !headers["x-metabase-session"]));
  assert.deepEqual([elsewhere, await metabase.exchanges()], [[], []]);
});

test("a build for production has no API key in it", async () => {
  const holdsKey = async (build) => {
    const assets = `${stage.folder}/${build}/assets/`;
    const texts = await Promise.all((await readdir(assets)).map((name) => readFile(assets + name, "utf8")));
    return texts.some((text) => text.includes(stage.key));
  };
  assert.deepEqual(await Promise.all(["with-key", "sdk-56", "pinned"].map(holdsKey)), [true, false, false]);
});
