// The program: reads its settings and serves.

import { readFileSync } from "node:fs";
import { createApp } from "./app.js";
import { settingsFrom } from "./settings.js";
import { connect, tokenService } from "./token-service.js";

const settings = settingsFrom(process.env);
const people = JSON.parse(readFileSync(settings.peopleFile, "utf8"));
const app = createApp(settings, people, tokenService(connect(settings), settings.instance));
const { port, hostname, origin } = settings.listen;
const server = app.listen(port || 80, hostname, (error) => {
  if (error) throw error;
  console.log(`listening on ${origin}`);
});
process.once("SIGTERM", () => server.close(() => process.exit(0))); // Once what is in flight is answered.
process.once("SIGTERM", () => setTimeout(() => process.exit(0), 10_000)); // Who stalls is not waited for.
