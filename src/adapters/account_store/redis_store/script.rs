//! The rules of `domain::account` in Lua: one key, one round trip, atomic in Redis. docs/accounts.md describes the key.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind};

use super::connect::Connection;
use crate::domain::account::{AccountRules, Findings, Tokens, Use};

/// Version 1 of the key schema: another one is another prefix.
const PREFIX: &str = "mts:account:1:";

/// What Redis runs. `KEYS[1]` is the account; `ARGV` are the person, the window in milliseconds, whether findings refuse the token,
/// the bound of tokens (0 = none), and the tokens that were issued since the last question.
const LUA: &str = r"
local person, window = ARGV[1], tonumber(ARGV[2])
local enforced, most, uncounted = ARGV[3] == '1', tonumber(ARGV[4]), tonumber(ARGV[5])
local held = redis.call('HMGET', KEYS[1], 'person', 'tokens')
local other = held[1] and held[1] ~= person
local span = math.floor(tonumber(redis.call('TIME')[1]) / SPAN_SECONDS)
local counts = {}
for i = 1, SPANS do counts[i] = 0 end
if held[1] and held[2] then
  local kept = {}
  for number in string.gmatch(held[2], '%d+') do kept[#kept + 1] = tonumber(number) end
  if kept[1] > span then span = kept[1] end
  local passed = span - kept[1]
  for i = 1, SPANS - passed do counts[i + passed] = kept[i + 1] or 0 end
end
counts[1] = counts[1] + uncounted
local total = 0
for i = 1, SPANS do total = total + counts[i] end
local refused, many = other and enforced, false
if not refused and most > 0 then
  many = total + 1 > most
  refused = many and enforced
end
if not refused then
  counts[1] = counts[1] + 1
  total = total + 1
end
if not other then
  redis.call('HSET', KEYS[1], 'person', person, 'tokens', span .. ':' .. table.concat(counts, ':'))
  redis.call('PEXPIRE', KEYS[1], window)
elseif not refused or uncounted > 0 then
  redis.call('HSET', KEYS[1], 'tokens', span .. ':' .. table.concat(counts, ':'))
end
return { other and 1 or 0, many and 1 or 0, total }
";

/// The script with the spans of the domain, and its SHA-1, by which Redis knows it.
static SCRIPT: LazyLock<(String, String)> = LazyLock::new(|| {
    let spans = Tokens::SPANS.to_string();
    let text = LUA.replace("SPAN_SECONDS", &Tokens::SPAN_SECONDS.to_string()).replace("SPANS", &spans);
    let sha = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    (text, hex(sha.as_ref()))
});

/// What Redis has found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) findings: Findings,
    /// Tokens within an hour, this one included if it is issued.
    pub(super) tokens: u32,
}

/// One round trip; two when Redis was started anew and does not know the script.
pub(super) async fn run(
    connection: &mut Connection,
    asked: &Use,
    rules: AccountRules,
    uncounted: u32,
) -> Result<Answer, RedisError> {
    let (text, sha) = &*SCRIPT;
    let command = |name: &str, script: &str| {
        let mut command = Cmd::with_capacity(8, 256);
        command.arg(name).arg(script).arg(1).arg(key(asked)).arg(hex(asked.person.as_bytes()));
        command.arg(u64::from(rules.window) * 1000).arg(u8::from(asked.is_enforced));
        command.arg(rules.tokens_per_hour.map_or(0, std::num::NonZeroU32::get)).arg(uncounted);
        command
    };
    let (other, many, tokens): (u8, u8, u32) = match connection.query(&command("EVALSHA", sha)).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            connection.query(&command("EVAL", text)).await?
        }
        answer => answer?,
    };
    Ok(Answer { findings: Findings { other_person: other == 1, too_many_tokens: many == 1 }, tokens })
}

/// Reads a key that nobody has, to see whether Redis answers.
pub(super) async fn beat(connection: &mut Connection) -> Result<(), RedisError> {
    let mut command = Cmd::new();
    command.arg("HMGET").arg(format!("{PREFIX}heartbeat")).arg("person");
    let _: Vec<Option<String>> = connection.query(&command).await?;
    Ok(())
}

fn key(asked: &Use) -> String {
    let mut key = String::with_capacity(PREFIX.len() + 32);
    key.push_str(PREFIX);
    push_hex(&mut key, asked.account.as_bytes());
    key
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
}
