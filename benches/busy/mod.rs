//! Servers that are kept as busy as they can be. Each is a process of its own, on the first CPU alone; the load, and whatever the servers
//! ask, is on the others. With that, the throughput is what a CPU is good for as long as the server takes most of it, and not what the
//! scheduler makes of processes that take turns. On Linux.

pub(crate) mod production;
mod raw_client;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustls::ClientConfig;

use self::raw_client::{Kind, RawClient};

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 8;
const IN_FLIGHT: usize = 8;

/// Which CPUs are whose. Children are where their parent is when they start.
pub(crate) struct Places {
    server: CpuSet,
    others: CpuSet,
}

impl Places {
    /// Moves this thread, and what it starts, off the server's CPU, if there is another.
    pub(crate) fn take() -> Self {
        let mut others = sched_getaffinity(None).expect("Linux tells");
        let first = (0..CpuSet::MAX_CPU).find(|cpu| others.is_set(*cpu)).expect("this runs on one");
        let mut server = CpuSet::new();
        server.set(first);
        if others.count() > 1 {
            others.unset(first);
        }
        sched_setaffinity(None, &others).expect("CPUs of its own");
        Self { server, others }
    }

    fn start(&self, command: &mut Command) -> Process {
        sched_setaffinity(None, &self.server).expect("a CPU of its own");
        let process = Process(command.spawn().expect("it starts"));
        sched_setaffinity(None, &self.others).expect("CPUs of its own");
        process
    }
}

/// Killed when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The service, and connections to it.
pub(crate) struct Server {
    process: Process,
    clients: Vec<RawClient>,
}

/// What a server came to, round by round.
#[derive(Default)]
pub(crate) struct Rounds {
    /// Tokens a second.
    rates: Vec<f64>,
    /// Seconds of the server's processor time, in all rounds.
    work: f64,
}

impl Server {
    /// `serve` with these arguments. Each connection asks once, with `message`.
    pub(crate) fn start(places: &Places, arguments: &[&str], tls: Option<&Arc<ClientConfig>>, message: &[u8]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metabase-token-service"));
        let mut process =
            places.start(command.args(["serve", "--log-level", "error"]).args(arguments).stdout(Stdio::piped()));
        let lines = BufReader::new(process.0.stdout.take().expect("it is piped")).lines();
        let printed: Vec<_> = lines.map_while(Result::ok).take_while(|line| line != "ready").collect();
        let address = printed.iter().find_map(|line| line.strip_prefix("gRPC on ")?.split(' ').next());
        let address: SocketAddr = address.expect("it tells its address").parse().expect("an address");
        let clients = (0..CONNECTIONS).map(|_| RawClient::connect(address, false, tls, &[], message)).collect();
        Self { process, clients }
    }

    /// Tokens a second, each asked for with a message of its own. Does not sleep: a server would pay for waking it up, and a slow one
    /// more than a fast one.
    #[expect(clippy::disallowed_methods, clippy::cast_precision_loss, reason = "measures")]
    fn round(&mut self, put_message: &dyn Fn(&mut Vec<u8>)) -> f64 {
        let mut message = Vec::new();
        let mut send = |client: &mut RawClient, count| {
            for _ in 0..count {
                message.clear();
                put_message(&mut message);
                client.put_request(&message);
            }
            client.flush();
        };
        let began = Instant::now();
        self.clients.iter_mut().for_each(|client| send(client, IN_FLIGHT));
        let (mut under_way, mut tokens, mut answers) = (IN_FLIGHT * self.clients.len(), 0_u64, 0_u64);
        while under_way > 0 {
            let before = answers;
            for client in &mut self.clients {
                let mut answered = 0;
                while client.has_answer() {
                    match client.receive().kind {
                        Kind::Token => tokens += 1,
                        Kind::End => answered += 1,
                        Kind::Other => {}
                    }
                }
                answers += answered as u64;
                if began.elapsed() < ROUND {
                    send(client, answered);
                } else {
                    under_way -= answered;
                }
            }
            if answers == before {
                thread::yield_now();
            }
        }
        assert_eq!(tokens, answers, "every answer is a token");
        tokens as f64 / began.elapsed().as_secs_f64()
    }

    /// Seconds of processor time so far, in hundredths.
    fn work(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.0.id())).unwrap_or_default();
        let fields: Vec<f64> = stat.rsplit(')').next().unwrap_or_default().split(' ').flat_map(str::parse).collect();
        // After the name: state (no number), then ppid and so on; user and system time are the 12th and 13th.
        fields.get(10).zip(fields.get(11)).map_or(0.0, |(user, system)| (user + system) / 100.0)
    }
}

/// Puts a message where there is room for it.
pub(crate) type PutMessage<'a> = Box<dyn Fn(&mut Vec<u8>) + 'a>;

/// Asks all in turn, again and again, after one round that does not count.
pub(crate) fn compare(subjects: &mut [(Server, PutMessage<'_>)]) -> Vec<Rounds> {
    for (server, put_message) in subjects.iter_mut() {
        server.round(put_message);
    }
    let mut all: Vec<_> = subjects.iter().map(|_| Rounds::default()).collect();
    for _ in 0..ROUNDS {
        for ((server, put_message), rounds) in subjects.iter_mut().zip(&mut all) {
            let before = server.work();
            rounds.rates.push(server.round(put_message));
            rounds.work += server.work() - before;
        }
    }
    all
}

impl Rounds {
    /// The median of the ratios to what `other` came to just before or after.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        median(self.rates.iter().zip(&other.rates).map(|(own, other)| own / other).collect())
    }
}

impl std::fmt::Display for Rounds {
    #[expect(clippy::cast_precision_loss, reason = "a count of rounds")]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tokens = self.rates.iter().sum::<f64>() * ROUND.as_secs_f64();
        let (rate, busy) = (median(self.rates.clone()), self.work / (ROUND.as_secs_f64() * self.rates.len() as f64));
        let each = self.work / tokens * 1e6;
        write!(
            f,
            "{rate:>7.0} tokens/s, {each:>5.1} us of the server's CPU each, which it took to {:.0} %",
            busy * 100.0
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
