// A token issuer as a team would write it in Node: the same contract, claims and checks. `node server.js ADDRESS`, with the
// secret in JWT_SHARED_SECRET.
import { createHash } from 'node:crypto';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { HealthImplementation } from 'grpc-health-check';
import jwt from 'jsonwebtoken';

const PROTO = new URL('../../../proto/', import.meta.url).pathname;
const SERVICE = 'metabase.token.v1.MetabaseTokenService';
const EMAIL = /^[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9-]+(\.[a-z0-9-]+)+$/;
const DEFAULT_LIFETIME = 600;
const MOST_LIFETIME = 3600;
const BACKDATED = 5;
const MAX_AGE = 180;

const secret = process.env.JWT_SHARED_SECRET;
if (!secret) throw new Error('JWT_SHARED_SECRET is not set');
const definition = loadSync('metabase/token/v1/token_service.proto', {
  includeDirs: [PROTO],
  keepCase: true,
  longs: Number,
  defaults: true,
});
const proto = grpc.loadPackageDefinition(definition).metabase.token.v1;

const timestamp = (seconds) => ({ seconds });

function violations({ user, lifetime }) {
  if (!user) return ['user: required'];
  const found = [];
  if (user.email.length > 254 || !EMAIL.test(user.email.toLowerCase())) found.push('user.email: not an e-mail address');
  for (const name of ['first_name', 'last_name']) {
    if (!user[name].trim() || user[name].length > 254) found.push(`user.${name}: 1 to 254 characters`);
  }
  if (lifetime && (lifetime.nanos !== 0 || lifetime.seconds < 60 || lifetime.seconds > MOST_LIFETIME)) {
    found.push(`lifetime: whole seconds, 60 to ${MOST_LIFETIME}`);
  }
  return found;
}

function issueMetabaseToken({ request }, callback) {
  const found = violations(request);
  if (found.length > 0) {
    callback({ code: grpc.status.INVALID_ARGUMENT, details: found.join('; ') });
    return;
  }
  const iat = Math.floor(Date.now() / 1000) - BACKDATED;
  const exp = iat + (request.lifetime ? request.lifetime.seconds : DEFAULT_LIFETIME);
  const { user, groups, attributes } = request;
  const claims = { email: user.email.toLowerCase(), first_name: user.first_name, last_name: user.last_name };
  if (groups) claims.groups = groups.names;
  const token = jwt.sign({ ...claims, ...attributes, iat, exp }, secret, { algorithm: 'HS256' });
  callback(null, {
    jwt: token,
    issue_time: timestamp(iat),
    expire_time: timestamp(exp),
    exchange_deadline: timestamp(Math.min(exp, iat + MAX_AGE)),
    token_fingerprint: createHash('sha256').update(token).digest('hex').slice(0, 16),
  });
}

function checkAuthStatus(call, callback) {
  callback({ code: grpc.status.UNIMPLEMENTED, details: 'this issuer judges nothing' });
}

const server = new grpc.Server({
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.max_receive_message_length': 64 * 1024,
});
server.addService(proto.MetabaseTokenService.service, { issueMetabaseToken, checkAuthStatus });
const health = new HealthImplementation({ '': 'NOT_SERVING', [SERVICE]: 'NOT_SERVING' });
health.addToServer(server);
server.bindAsync(process.argv[2], grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  health.setStatus('', 'SERVING');
  health.setStatus(SERVICE, 'SERVING');
});
process.once('SIGTERM', () => server.tryShutdown(() => process.exit(0)));
