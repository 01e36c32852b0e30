//! Runs the tests with one mutant at a time.

use std::{
    env, fmt,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use crate::mutant::Mutant;

const PROPERTIES: &str = "::properties::";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Caught,
    Missed,
    TimedOut,
    Unviable,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caught => "caught",
            Self::Missed => "missed",
            Self::TimedOut => "timed out",
            Self::Unviable => "unviable",
        })
    }
}

/// Where the verdicts are written as they come.
pub struct Record(Mutex<File>);

impl Record {
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(File::create(path)?)))
    }

    /// One line for each, and one to the terminal for what is not as it should be.
    pub fn add(&self, verdict: Verdict, mutant: &Mutant) -> io::Result<()> {
        if matches!(verdict, Verdict::Missed | Verdict::TimedOut) {
            println!("{verdict}: {}", mutant.name);
        }
        writeln!(self.0.lock().expect("no thread panics"), "{verdict}\t{}", mutant.name)
    }
}

/// The tests, built and ready to be run.
pub struct Tests<'a> {
    pub package: &'a Path,
    pub binary: PathBuf,
    /// For the binary.
    pub arguments: &'a [&'a str],
    pub timeout: Duration,
}

impl Tests<'_> {
    /// As many at a time as `MUTANTS_JOBS` says.
    pub fn try_all(&self, mutants: &[Mutant], ids: &[usize], record: &Record) -> io::Result<()> {
        let jobs = env::var("MUTANTS_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(2);
        let next = AtomicUsize::new(0);
        let work = || -> io::Result<()> {
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                record.add(self.try_one(&mutants[*id], Some(*id))?, &mutants[*id])?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
        })
    }

    /// In two steps: most mutants fail a test that is quick, and those that try thousands of cases are spared. All of these are of
    /// the domain, which knows nothing of the application.
    pub fn try_one(&self, mutant: &Mutant, id: Option<usize>) -> io::Result<Verdict> {
        let verdict = self.run(&["--skip", PROPERTIES], id)?;
        if verdict != Verdict::Missed || mutant.file.starts_with("src/application/") {
            return Ok(verdict);
        }
        self.run(&[PROPERTIES], id)
    }

    /// Until the first failure.
    pub fn run(&self, filter: &[&str], id: Option<usize>) -> io::Result<Verdict> {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.package).args(self.arguments).args(filter).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(id) = id {
            command.env("MUTANT", id.to_string());
        }
        let mut child = command.spawn()?;
        let output = child.stdout.take().map(BufReader::new);
        let (failed, failure) = mpsc::channel();
        // Ends with the output: the sender goes with it.
        let reader = thread::spawn(move || {
            let lines = output.into_iter().flat_map(BufRead::lines).map_while(Result::ok);
            let _ = lines.into_iter().any(|line| line.ends_with("FAILED") && failed.send(()).is_ok());
        });
        let verdict = match failure.recv_timeout(self.timeout) {
            Err(RecvTimeoutError::Timeout) => Verdict::TimedOut,
            Err(RecvTimeoutError::Disconnected) if child.wait()?.success() => Verdict::Missed,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Verdict::Caught,
        };
        // With what the tests have started.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status();
        child.wait()?;
        reader.join().expect("no thread panics");
        Ok(verdict)
    }
}
