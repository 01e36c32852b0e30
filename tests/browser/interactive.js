// Interactive embedding: Metabase itself in an iframe, by way of the backend's redirect.

import assert from "node:assert/strict";
import { formIsShown, scene, signIn, signOut, stage } from "./scenes.js";

const emails = async (metabase) => (await metabase.call("GET", "/sessions")).map(({ email }) => email);

scene("the iframe is signed in and ends where it should", { version: 61 }, async ({ page, context, metabase }) => {
  await page.goto(`${stage.app.origin}/interactive.html`);
  await formIsShown(page);
  assert.equal(await page.locator("iframe").count(), 0);
  await signIn(page);
  await page.frameLocator("iframe").getByRole("heading", { name: "Metabase" }).waitFor();
  assert.deepEqual(
    page.frames().map((frame) => frame.url()),
    [`${stage.app.origin}/interactive.html`, `${stage.world.metabase}/dashboard/1`],
  );
  assert.deepEqual(await emails(metabase), ["ada@example.com"]);
  const [exchange] = await metabase.exchanges();
  assert.deepEqual([exchange.status, exchange.query.return_to], [302, "/dashboard/1"]);
  assert.equal(exchange.headers["sec-fetch-dest"], "iframe");
  const cookies = await context.cookies(stage.world.metabase);
  assert.ok(cookies.some(({ name, httpOnly }) => name === "metabase.EMBEDDED_SESSION" && httpOnly));
});

scene("signing out ends the session at Metabase too", { version: 61 }, async ({ page, metabase }) => {
  await page.goto(`${stage.app.origin}/interactive.html`);
  await signIn(page);
  await page.frameLocator("iframe").getByRole("heading", { name: "Metabase" }).waitFor();
  await signOut(page);
  await formIsShown(page);
  assert.equal(await page.locator("iframe").count(), 0);
  assert.deepEqual(await emails(metabase), []);
});

scene("whoever comes from Metabase gets back to where they wanted", { version: 61 }, async ({ page, metabase }) => {
  await page.goto(`${stage.app.origin}/interactive.html`);
  await signIn(page);
  await page.frameLocator("iframe").getByRole("heading", { name: "Metabase" }).waitFor();
  await metabase.call("DELETE", "/sessions");
  const wanted = "/dashboard/2?tab=3&who=a%20b";
  await page.goto(`${stage.world.metabase}/auth/sso?redirect=${encodeURIComponent(wanted)}`);
  assert.equal(page.url(), stage.world.metabase + wanted);
  assert.deepEqual(await emails(metabase), ["ada@example.com"]);
});

scene("nobody gets into Metabase without the backend's session", { version: 61 }, async ({ page, metabase }) => {
  const answer = await page.goto(`${stage.world.metabase}/auth/sso?redirect=/dashboard/1`);
  assert.deepEqual([answer.status(), (await answer.json()).code], [401, "NOT_SIGNED_IN"]);
  assert.deepEqual([await metabase.exchanges(), await emails(metabase)], [[], []]);
});

scene("nobody is sent elsewhere with a token", { version: 61 }, async ({ page, metabase }) => {
  await page.goto(`${stage.app.origin}/interactive.html`);
  await signIn(page);
  await page.frameLocator("iframe").getByRole("heading", { name: "Metabase" }).waitFor();
  const answer = await page.goto(`${stage.world.backend}/sso/metabase?return_to=${stage.foreign.origin}/`);
  assert.deepEqual([answer.status(), (await answer.json()).code], [400, "INVALID_RETURN_TO"]);
  assert.equal((await metabase.exchanges()).length, 1);
});
