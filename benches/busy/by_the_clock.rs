//! Requests that are sent when their time has come, whether earlier ones have been answered or not. As a client of gRPC does: those that a
//! connection has no room for wait, whoever has waited for too long gives up, and the server is told so.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::raw_client::{Kind, RST_STREAM, RawClient};

/// RFC 9113, section 7.
const CANCEL: u32 = 8;

/// What became of the requests of some seconds, and how long each took from when its time had come.
#[derive(Default)]
pub(crate) struct Outcomes {
    pub(crate) answered: Vec<Duration>,
    pub(crate) refused: Vec<Duration>,
    /// Given up after they were sent.
    pub(crate) late: usize,
    /// Given up before.
    pub(crate) unsent: usize,
}

struct Line<'a> {
    client: &'a mut RawClient,
    /// When their time had come.
    waiting: VecDeque<Instant>,
    /// The same of those that have been sent, and whether a token has come.
    open: HashMap<u32, (Instant, bool)>,
    sent: VecDeque<u32>,
}

/// `rate` a second in all, for `period`, in turn over `clients`, whose transports do not block.
#[expect(clippy::disallowed_methods, reason = "measures")]
pub(crate) fn ask(
    clients: &mut [RawClient],
    most_open: usize,
    rate: f64,
    period: Duration,
    deadline: Duration,
    message: &[u8],
) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let mut lines: Vec<_> = clients.iter_mut().map(Line::new).collect();
    let (began, mut count) = (Instant::now(), 0_u32);
    loop {
        let now = Instant::now();
        loop {
            let due = began + Duration::from_secs_f64(f64::from(count) / rate);
            if due > now || due >= began + period {
                break;
            }
            let next = count as usize % lines.len();
            lines[next].waiting.push_back(due);
            count += 1;
        }
        for line in &mut lines {
            line.give_up(now, deadline, &mut outcomes);
            line.send(most_open, message);
            line.receive(&mut outcomes);
        }
        if now >= began + period && lines.iter().all(Line::is_done) {
            return outcomes;
        }
    }
}

impl<'a> Line<'a> {
    fn new(client: &'a mut RawClient) -> Self {
        let (waiting, open, sent) = (VecDeque::new(), HashMap::new(), VecDeque::new());
        Self { client, waiting, open, sent }
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.open.is_empty() && self.client.out.is_empty()
    }

    fn give_up(&mut self, now: Instant, deadline: Duration, outcomes: &mut Outcomes) {
        while self.waiting.front().is_some_and(|due| now > *due + deadline) {
            self.waiting.pop_front();
            outcomes.unsent += 1;
        }
        while let Some(stream) = self.sent.front() {
            match self.open.get(stream) {
                Some((due, _)) if now <= *due + deadline => break,
                Some(_) => {
                    self.open.remove(stream);
                    self.client.put(RST_STREAM, 0, *stream, &[&CANCEL.to_be_bytes()]);
                    outcomes.late += 1;
                }
                None => {}
            }
            self.sent.pop_front();
        }
    }

    fn send(&mut self, most_open: usize, message: &[u8]) {
        // What the socket does not take is not even written: a client has a buffer of some size.
        while self.client.out.len() < 65_536 && self.open.len() < most_open && self.client.room > 5 + message.len() {
            let Some(due) = self.waiting.pop_front() else { break };
            let stream = self.client.put_request(message);
            self.open.insert(stream, (due, false));
            self.sent.push_back(stream);
        }
        self.client.flush_some();
    }

    fn receive(&mut self, outcomes: &mut Outcomes) {
        while self.client.has_answer() {
            let frame = self.client.receive();
            match frame.kind {
                Kind::Token => {
                    self.open.entry(frame.stream).and_modify(|(_, has_token)| *has_token = true);
                }
                Kind::End => {
                    if let Some((due, has_token)) = self.open.remove(&frame.stream) {
                        let took = due.elapsed();
                        if has_token { outcomes.answered.push(took) } else { outcomes.refused.push(took) }
                    }
                }
                Kind::Other => {}
            }
        }
    }
}
