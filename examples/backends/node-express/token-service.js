// Asks metabase-token-service for tokens, in bounded time, and says in HTTP what it answers.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import protobuf from "protobufjs";

const DEADLINE_MS = 2000; // For an RPC with all its tries.
const PROTO = fileURLToPath(new URL("../../../proto/metabase/token/v1/token_service.proto", import.meta.url));
const { MetabaseTokenService } = grpc.loadPackageDefinition(
  protoLoader.loadSync(PROTO, { keepCase: true, enums: String, defaults: true }),
).metabase.token.v1;
const retryPolicy = {
  maxAttempts: 3,
  initialBackoff: "0.1s",
  maxBackoff: "0.5s",
  backoffMultiplier: 2,
  retryableStatusCodes: ["UNAVAILABLE"],
};
const methodConfig = [{ name: [{ service: "metabase.token.v1.MetabaseTokenService" }], retryPolicy }];
const OPTIONS = {
  "grpc.service_config": JSON.stringify({ methodConfig }),
  "grpc.max_reconnect_backoff_ms": 2000, // Back soon after the service is; the default waits up to 2 minutes.
  "grpc.keepalive_time_ms": 30_000, // Notices a peer that vanished without a word.
  "grpc.keepalive_timeout_ms": 5_000,
};

/** An answer for the browser: says nothing of what the service said. */
export class Failure extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

/** Connects when first asked. Plaintext is for a mesh's sidecar, or this machine. */
export function connect({ address, ca, certificate, key }) {
  const read = (file) => (file ? readFileSync(file) : null);
  const { createInsecure, createSsl } = grpc.credentials;
  const credentials = ca ? createSsl(read(ca), read(key), read(certificate)) : createInsecure();
  return new MetabaseTokenService(address, credentials, OPTIONS);
}

/** The two RPCs, for people as the demo's file has them. */
export function tokenService(client, instance) {
  const call = (method, request) =>
    new Promise((resolve, reject) => {
      const deadline = Date.now() + DEADLINE_MS;
      client[method](request, { deadline }, (error, answer) => (error ? reject(failureOf(error)) : resolve(answer)));
    });
  return {
    /** A token for this person, for this one request: never kept. With `return_to`, also the URL to send them to. */
    issue: ({ id, email, first_name, last_name, groups, attributes }, return_to) =>
      call("IssueMetabaseToken", {
        instance,
        user: { id, email, first_name, last_name },
        groups: { names: groups },
        attributes,
        return_to,
      }),
    /** What Metabase would say to the token; judged by the service, without an effect. */
    check: (jwt) => call("CheckAuthStatus", { instance, jwt }),
  };
}

const TRY_AGAIN = [503, "TRY_AGAIN", "Analytics cannot sign you in at the moment; try again."];
const BY_CODE = {
  [grpc.status.PERMISSION_DENIED]: [403, "NO_ACCESS", "You have no access to these analytics."],
  [grpc.status.RESOURCE_EXHAUSTED]: [429, "TOO_MANY_REQUESTS", "Too many people at once; try again."],
  [grpc.status.UNAVAILABLE]: TRY_AGAIN,
  [grpc.status.CANCELLED]: TRY_AGAIN, // By a server that stops.
  [grpc.status.DEADLINE_EXCEEDED]: TRY_AGAIN,
};
// UNAUTHENTICATED too: it is about this backend. As 401 it would send who is signed in to sign in, in a circle.
const OTHERWISE = [500, "MISCONFIGURED", "Analytics is not set up correctly."];

function failureOf(error) {
  console.warn(`token service: ${error.message}`); // For operators; never holds a token.
  if (error.code === grpc.status.INVALID_ARGUMENT && violatedFields(error).includes("return_to"))
    return new Failure(400, "INVALID_RETURN_TO", "The link leads nowhere in Metabase.");
  if (error.code === grpc.status.FAILED_PRECONDITION && reasons(error).includes("SHARED_ACCOUNT"))
    return new Failure(409, "SHARED_ACCOUNT", "Another person uses this e-mail address here; ask for one of your own.");
  return new Failure(...(BY_CODE[error.code] ?? OTHERWISE));
}

// As much of google/rpc/status.proto and error_details.proto as is read here.
const { root } = protobuf.parse(`syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { repeated Any details = 3; }
  message Violation { string field = 1; }
  message BadRequest { repeated Violation field_violations = 1; }
  message ErrorInfo { string reason = 1; }`, { keepCase: true });

function details(error, type) {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  const all = bytes ? root.lookupType("Status").decode(bytes).details : [];
  const own = all.filter(({ type_url }) => type_url.endsWith(`/google.rpc.${type}`));
  return own.map(({ value }) => root.lookupType(type).decode(value));
}

const violatedFields = (error) =>
  details(error, "BadRequest").flatMap(({ field_violations }) => field_violations.map(({ field }) => field));
const reasons = (error) => details(error, "ErrorInfo").map(({ reason }) => reason);
