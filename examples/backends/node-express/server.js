// The program: reads its settings and serves.

import { readFileSync } from "node:fs";
import { createApp } from "./app.js";
import { settingsFrom } from "./settings.js";
import { connect, tokenService } from "./token-service.js";

const settings = settingsFrom(process.env);
const people = JSON.parse(readFileSync(settings.peopleFile, "utf8"));
const app = createApp(settings, people, tokenService(connect(settings), settings.instance));
app.listen(settings.listen.port || 80, settings.listen.hostname, () => console.log(`listening on ${settings.listen.origin}`));
