// Signs and verifies tokens with jsonwebtoken, as an ordinary Node service would.
//
// The one argument is "verify" or "sign". A JSON object is read from standard input and one is written to standard output:
//
//   verify: {token, secret}                      -> {header, claims} or {error}
//   sign:   {claims, secret, algorithm, header}  -> {token} or {error}; header is added to the usual one
"use strict";

const fs = require("node:fs");
const jwt = require("jsonwebtoken");

const modes = {
  verify({ token, secret }) {
    const { header, payload } = jwt.verify(token, secret, { algorithms: ["HS256"], complete: true });
    return { header, claims: payload };
  },

  sign({ claims, secret, algorithm, header }) {
    // Left to itself the library adds `iat` where the claims have none.
    const options = { algorithm, header, noTimestamp: !Object.hasOwn(claims, "iat") };
    return { token: jwt.sign(claims, algorithm === "none" ? null : secret, options) };
  },
};

const mode = modes[process.argv[2]];
if (!mode) {
  console.error("usage: main.js verify|sign");
  process.exit(2);
}
const asked = JSON.parse(fs.readFileSync(0, "utf8"));
let answer;
try {
  answer = mode(asked);
} catch (error) {
  answer = { error: `${error.name}: ${error.message}` };
}
process.stdout.write(JSON.stringify(answer));
