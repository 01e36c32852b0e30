//! The log on standard output. Nothing is buffered here, so that it is known to the byte what is there.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd as _,
};

use super::chain::Line;

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

    pub(super) fn write(&mut self, lines: &[Line]) -> Progress {
        let text: Vec<u8> = lines.iter().flat_map(|line| line.text.iter().copied().chain([b'\n'])).collect();
        let (written, error) = self.write_bytes(&text);
        let (mut begin, mut whole) = (0, 0);
        for line in lines {
            let end = begin + line.text.len() + 1;
            if end > written {
                break;
            }
            (begin, whole) = (end, whole + 1);
        }
        let torn = lines.get(whole).filter(|_| written > begin);
        if let Some(line) = torn {
            self.rest = text[written..=begin + line.text.len()].to_vec();
        }
        Progress { whole, begun: whole + usize::from(torn.is_some()), error }
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

    #[test]
    fn wherever_a_write_ends_every_line_is_there_once_and_whole() {
        let mut chain = Chain::default();
        let lines: Vec<Line> = (0..3).map(|_| chain.append(b"{\"event\":\"x\"}")).collect();
        let expected: Vec<u8> = lines.iter().flat_map(|line| [line.text.as_slice(), b"\n"].concat()).collect();
        for room in 0..expected.len() {
            let mut sink = StdoutSink::new(Narrow { taken: Vec::new(), room });
            let Progress { whole, begun, error } = sink.write(&lines);
            assert!(error.is_some() && whole <= begun && begun <= whole + 1, "{room}: {whole} {begun}");
            assert_eq!(sink.finish_line().is_err(), begun > whole, "{room}");
            sink.out.room = 1;
            let _ = sink.finish_line();
            sink.out.room = usize::MAX;
            sink.finish_line().unwrap();
            assert!(sink.write(&lines[begun..]).error.is_none(), "{room}");
            assert_eq!(sink.out.taken, expected, "{room}");
        }
    }
}
