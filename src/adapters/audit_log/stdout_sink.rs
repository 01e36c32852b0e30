//! The log on standard output. Nothing is buffered here, so that it is known to the byte what is there.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd as _,
};

use super::chain::Lines;

pub(super) struct StdoutSink<W = File> {
    out: W,
    /// The end of a line whose beginning is written: a pipe that does not block, or a full disk, takes a part of what it is given.
    rest: Vec<u8>,
}

/// How far a write came.
#[derive(Debug)]
pub(super) struct Progress {
    /// Lines that are written to their end.
    pub(super) whole: usize,
    /// Those, and one that is written in part. Its end comes before anything else, so it is a part of the chain.
    pub(super) begun: usize,
    /// Why not all are written.
    pub(super) error: Option<io::Error>,
}

impl StdoutSink {
    /// Of this process.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self::new(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }
}

impl<W: Write> StdoutSink<W> {
    const fn new(out: W) -> Self {
        Self { out, rest: Vec::new() }
    }

    /// Writes what is left of a line.
    ///
    /// # Errors
    /// It is left still.
    pub(super) fn finish_line(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        let (written, error) = self.write_bytes(&rest);
        self.rest = rest[written..].to_vec();
        error.map_or(Ok(()), Err)
    }

    pub(super) fn write(&mut self, lines: &Lines) -> Progress {
        let (written, error) = self.write_bytes(lines.text());
        let whole = (0..lines.len()).take_while(|index| lines.bytes(index + 1) <= written).count();
        let is_torn = written > lines.bytes(whole);
        if is_torn {
            self.rest = lines.text()[written..lines.bytes(whole + 1)].to_vec();
        }
        Progress { whole, begun: whole + usize::from(is_torn), error }
    }

    /// How many bytes are written, and why not all.
    fn write_bytes(&mut self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Some(error)),
            }
        }
        (written, None)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::chain::Chain, *};
    use crate::{application::audit::Record, domain::time::UnixTime};

    /// Takes so many bytes, and then none until there is room again.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let now = bytes.len().min(self.room);
            if now == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.taken.extend_from_slice(&bytes[..now]);
            self.room -= now;
            Ok(now)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn following(mut chain: Chain, count: usize) -> Lines {
        let mut lines = Lines::default();
        let record = Record { time: UnixTime::from_seconds(0), event: br#"{"event":"x"}"#.to_vec() };
        (0..count).for_each(|_| chain.append(&record, &mut lines));
        lines
    }

    #[test]
    fn wherever_a_write_ends_every_line_is_there_once_and_whole() {
        let lines = following(Chain::default(), 3);
        for room in 0..lines.text().len() {
            let mut sink = StdoutSink::new(Narrow { taken: Vec::new(), room });
            let Progress { whole, begun, error } = sink.write(&lines);
            assert!(error.is_some() && whole <= begun && begun <= whole + 1, "{room}: {whole} {begun}");
            assert_eq!(sink.finish_line().is_err(), begun > whole, "{room}");
            sink.out.room = 1;
            let _ = sink.finish_line();
            sink.out.room = usize::MAX;
            sink.finish_line().unwrap();
            let rest = following(lines.chain(begun).unwrap_or_default(), 3 - begun);
            assert!(sink.write(&rest).error.is_none(), "{room}");
            assert_eq!(sink.out.taken, lines.text(), "{room}");
        }
    }
}
