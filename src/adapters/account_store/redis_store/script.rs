//! The rules of `domain::account` in Lua: one round trip for many accounts, atomic in Redis. docs/accounts.md describes the keys.

use std::{num::NonZeroU32, sync::LazyLock};

use aws_lc_rs::digest;
use const_hex::Buffer;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind};

use super::connect::Connection;
use crate::domain::{
    account::{AccountId, AccountRules, Findings, PersonId, Tokens, Use},
    time::UnixTime,
};

/// Version 2 of the key schema: another one is another prefix.
const PREFIX: &str = "mts:account:2:";

/// What Redis runs. `KEYS` are the accounts that are asked about, in order, and one may be among them twice; `ARGV` are the window in
/// milliseconds, the bound of tokens (0 = none), and of each question 25 bytes: the person, whether findings refuse the token, the
/// tokens that were issued since the last question, and how many seconds ago. The answer to each is a number: the tokens, and two bits
/// of findings.
///
/// A free account takes one command, which does nothing but tell who holds it if it is not free. Nothing that was issued before it was free
/// counts. What is no value of this schema, and may be anything that somebody else put there, is answered with a negative number: whoever is
/// asked about beside it gets an answer.
const LUA: &str = r"
local window, most, questions = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local spread = unpack
local call, pcall, pack, unpack = redis.call, redis.pcall, struct.pack, struct.unpack
local time = tonumber(call('TIME')[1])
local now = math.floor(time / SPAN_SECONDS)
local first = pack('>I4HHHHHH', now, 1, 0, 0, 0, 0, 0)
local answers = {}
for i = 1, #KEYS do
  local person, enforced, uncounted, age = unpack('>c16BI4I4', questions, 25 * i - 24)
  local total, other, many = 1, false, false
  local held = pcall('SET', KEYS[i], person .. first, 'PX', window, 'NX', 'GET')
  if held and held.err and not held.err:find('WRONGTYPE', 1, true) then return held end
  local is_foreign = held and #held ~= BYTES
  if held and not is_foreign then
    local holder, span, a, b, c, d, e, f = unpack('>c16I4HHHHHH', held)
    for _ = 1, math.min(now - span, SPANS) do a, b, c, d, e, f = 0, a, b, c, d, e end
    if span < now then span = now end
    if uncounted > 0 then
      local counts = { a, b, c, d, e, f }
      local own = span - math.floor((time - age) / SPAN_SECONDS) + 1
      if counts[own] then counts[own] = math.min(counts[own] + uncounted, 65535) end
      a, b, c, d, e, f = spread(counts)
    end
    total = a + b + c + d + e + f
    other = holder ~= person
    local refused = other and enforced == 1
    if not refused and most > 0 then
      many = total + 1 > most
      refused = many and enforced == 1
    end
    if not refused then a, total = a + 1, total + 1 end
    local value = holder .. pack('>I4HHHHHH', span, math.min(a, 65535), b, c, d, e, f)
    if not other then
      call('SET', KEYS[i], value, 'PX', window)
    else
      if not refused or uncounted > 0 then call('SET', KEYS[i], value, 'KEEPTTL') end
      call('PEXPIRE', KEYS[i], window, 'LT')
    end
  end
  answers[i] = is_foreign and -1 or 4 * total + (many and 2 or 0) + (other and 1 or 0)
end
return answers
";

/// A person, a span, and a count for each span.
const VALUE_BYTES: usize = 16 + 4 + 2 * Tokens::SPANS;

const _: () = assert!(Tokens::SPANS == 6, "the script has a variable for each");

/// The script with the spans of the domain, and its SHA-1, by which Redis knows it.
static SCRIPT: LazyLock<(String, String)> = LazyLock::new(|| {
    let spans = Tokens::SPANS.to_string();
    let text = LUA.replace("SPAN_SECONDS", &Tokens::SPAN_SECONDS.to_string()).replace("SPANS", &spans);
    let text = text.replace("BYTES", &VALUE_BYTES.to_string());
    let sha = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    (text, const_hex::encode(sha))
});

/// What Redis is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) asked: Use,
    pub(super) uncounted: Option<Uncounted>,
    /// By the clock of this process, of which only differences count.
    pub(super) at: UnixTime,
}

/// Tokens that were issued since the last question, and that Redis does not know of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uncounted {
    pub(super) count: u32,
    /// When the first of them was.
    pub(super) since: UnixTime,
}

impl Uncounted {
    /// Both together.
    pub(super) fn and(one: Option<Self>, other: Self) -> Self {
        let Some(Self { count, since }) = one else { return other };
        Self { count: count.saturating_add(other.count), since: since.min(other.since) }
    }
}

impl Question {
    /// Tokens that Redis is told of, and how many seconds ago they were issued at the latest. When in doubt, fewer and earlier ones: who
    /// is taken for more than one person is refused.
    fn uncounted(&self, rules: AccountRules) -> (u32, u32) {
        let Some(Uncounted { count, since }) = self.uncounted else { return (0, 0) };
        let age = u32::try_from(self.at.seconds().saturating_sub(since.seconds()).max(0)).unwrap_or(u32::MAX);
        // Longer ago, the account may have been free since: a repeat is answered for a sixth of the window at most. Seconds are rounded, and
        // it takes a moment to ask.
        let is_of_this_holder = age.saturating_add(2) <= rules.window - rules.window.div_ceil(6);
        if is_of_this_holder { (count, age.saturating_add(1)) } else { (0, 0) }
    }
}

/// What Redis has found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) findings: Findings,
    /// Tokens within an hour, this one included if it is issued.
    pub(super) tokens: u32,
}

impl Answer {
    /// None = the key has a value that this service has not written.
    fn read(number: i64) -> Option<Self> {
        let number = u64::try_from(number).ok()?;
        let findings = Findings { other_person: number & 1 != 0, too_many_tokens: number & 2 != 0 };
        Some(Self { findings, tokens: u32::try_from(number >> 2).unwrap_or(u32::MAX) })
    }
}

/// An answer to each question, in order; none where the key has a foreign value. One round trip; two when Redis was started anew and does
/// not know the script.
pub(super) async fn run(
    connection: &mut Connection,
    questions: &[Question],
    rules: AccountRules,
) -> Result<Vec<Option<Answer>>, RedisError> {
    let (text, sha) = &*SCRIPT;
    let answers: Vec<i64> = match connection.query(&command("EVALSHA", sha, questions, rules)).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            connection.query(&command("EVAL", text, questions, rules)).await?
        }
        answers => answers?,
    };
    if answers.len() != questions.len() {
        return Err((ErrorKind::UnexpectedReturnType, "not as many answers as questions").into());
    }
    Ok(answers.into_iter().map(Answer::read).collect())
}

fn command(name: &str, script: &str, questions: &[Question], rules: AccountRules) -> Cmd {
    let mut command = Cmd::with_capacity(questions.len() + 6, 128 + script.len() + questions.len() * 80);
    command.arg(name).arg(script).arg(questions.len());
    let mut key = String::with_capacity(PREFIX.len() + 32);
    let mut packed = Vec::with_capacity(questions.len() * 25);
    for question in questions {
        let Question { asked, .. } = question;
        let (uncounted, age) = question.uncounted(rules);
        write_key(asked.account, &mut key);
        command.arg(&key);
        packed.extend_from_slice(asked.person.as_bytes());
        packed.push(asked.is_enforced.into());
        packed.extend_from_slice(&uncounted.to_be_bytes());
        packed.extend_from_slice(&age.to_be_bytes());
    }
    command.arg(u64::from(rules.window) * 1000).arg(rules.tokens_per_hour.map_or(0, NonZeroU32::get)).arg(packed);
    command
}

/// The key of an account, into `key` for its room.
pub(super) fn write_key(account: AccountId, key: &mut String) {
    key.clear();
    key.push_str(PREFIX);
    key.push_str(Buffer::<_>::new().format(account.as_bytes()));
}

/// Asks about an account that nobody has, and that is free again after a second, for two people, to see whether Redis answers questions:
/// one without memory left, one that is a replica, and one that does not let this user do all that it takes, answer whoever only reads.
pub(super) async fn rehearse(connection: &mut Connection) -> Result<(), String> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "the system has no random numbers".to_owned())?;
    let question = |person| {
        let (account, person) = (AccountId::from_bytes(random), PersonId::from_bytes([person; 16]));
        Question { asked: Use { account, person, is_enforced: false }, uncounted: None, at: UnixTime::from_seconds(0) }
    };
    let rules = AccountRules { window: 1, tokens_per_hour: None };
    let answer = run(connection, &[question(1), question(2)], rules).await;
    answer.map(drop).map_err(|error| error.to_string())
}

/// Reads a key that nobody has, to see whether Redis answers.
pub(super) async fn beat(connection: &mut Connection) -> Result<(), RedisError> {
    let mut command = Cmd::new();
    command.arg("GET").arg(format!("{PREFIX}heartbeat"));
    let _: Option<Vec<u8>> = connection.query(&command).await?;
    Ok(())
}
