// The HTTP side: sign-in of demo people, and the endpoint that Metabase's SDK and interactive embedding call.

import { randomBytes } from "node:crypto";
import { promisify } from "node:util";
import cors from "cors";
import express from "express";
import session from "express-session";
import { Failure } from "./token-service.js";

/**
 * Whether the SDK asks (`response=json`), and where Metabase wants the person back. Metabase appends `return_to` at the
 * end, unencoded: then everything behind it belongs to it, `?` and `&` too.
 */
export function ssoQuery(query) {
  const [before, ...rest] = `&${query}`.split("&return_to=");
  const unencoded = rest.join("&return_to=");
  const own = new URLSearchParams(unencoded.includes("?") ? before : query);
  const returnTo = unencoded.includes("?") ? unencoded : own.get("return_to");
  return { wantsJson: own.get("response") === "json", returnTo: returnTo || "/" };
}

/** `people`: yours, the user database. `tokens`: as `tokenService` makes it. */
export function createApp(settings, people, tokens) {
  const app = express().disable("x-powered-by").disable("etag");

  app.use((req, res, next) => {
    res.set("Cache-Control", "no-store").vary("Origin");
    // CORS only hides answers; this keeps other sites from signing people in and out.
    if (req.headers.origin === undefined || settings.origins.includes(req.headers.origin)) return next();
    throw new Failure(403, "FOREIGN_ORIGIN", "Not from this site.");
  });
  // Answers preflights with the headers that were asked for.
  app.use(cors({ origin: settings.origins, credentials: true, methods: ["GET", "POST"] }));
  // The prefix keeps sibling subdomains from planting a session of their own.
  const name = settings.secure ? "__Host-session" : "session";
  const cookie = { httpOnly: true, secure: settings.secure, sameSite: settings.sameSite.toLowerCase() };
  app.use(
    session({
      name,
      secret: randomBytes(32).toString("hex"), // Yours: one that outlives the process, as the `store`.
      resave: false,
      saveUninitialized: false,
      proxy: settings.secure, // TLS ends before this process.
      cookie: { ...cookie, maxAge: 8 * 3_600_000 },
    }),
  );

  /** Who is asking: the session says so, and nothing else in the request. */
  const signedIn = (req) => {
    if (!Object.hasOwn(people, req.session.user ?? "")) throw new Failure(401, "NOT_SIGNED_IN", "Sign in first.");
    return people[req.session.user];
  };

  app.post("/login", express.json(), async (req, res) => {
    // Yours: prove who it is. The demo believes a name.
    const user = req.body?.user;
    if (typeof user !== "string") throw new Failure(400, "INVALID_REQUEST", 'Send {"user": "…"} as JSON.');
    if (!Object.hasOwn(people, user)) throw new Failure(401, "UNKNOWN_USER", "There is no such person.");
    await promisify(req.session.regenerate).call(req.session);
    req.session.user = user;
    res.sendStatus(204);
  });

  app.post("/logout", async (req, res) => {
    await promisify(req.session.destroy).call(req.session);
    res.clearCookie(name, cookie).sendStatus(204);
  });

  app.get("/sso/metabase", async (req, res) => {
    const person = signedIn(req);
    const { wantsJson, returnTo } = ssoQuery(req.originalUrl.split("?").slice(1).join("?"));
    if (wantsJson) return res.json({ jwt: (await tokens.issue(person)).jwt });
    return res.status(302).set("Location", (await tokens.issue(person, returnTo)).sso_url).end();
  });

  app.get("/sso/metabase/status", async (req, res) => {
    const { jwt } = await tokens.issue(signedIn(req));
    const { status, reason, message, warnings } = await tokens.check(jwt);
    for (const warning of warnings) console.warn(`token service: ${warning}`); // For operators.
    const word = status.replace("AUTH_STATUS_", "").toLowerCase();
    res.json({ status: word, reason: reason.replace("AUTH_STATUS_REASON_", ""), message });
  });

  app.use((error, req, res, next) => {
    if (res.headersSent) return next(error);
    if (!(error instanceof Failure)) console.error(error.message);
    const known = error instanceof Failure;
    const { status, code, message } = known ? error : new Failure(error.status ?? 500, "FAILED", "That did not work.");
    if (status === 429 || status === 503) res.set("Retry-After", "1");
    res.status(status).json({ status: "error", code, message });
  });
  return app;
}
