//! As little of an HTTP/2 client (RFC 9113, RFC 7541) as can ask for tokens: what it costs must not hide what the server costs.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATH: &str = "/metabase.token.v1.MetabaseTokenService/IssueMetabaseToken";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// Bytes that every message with a token has more of.
const LEAST: u32 = 200;
/// Bytes of messages after which the server is told that there is room for as many again: half of what there is.
const MOST_UNTOLD: u32 = 1 << 30;

/// What a connection goes over.
trait Transport: Read + Write + Send {}

impl<T: Read + Write + Send> Transport for T {}

/// A connection.
pub(crate) struct RawClient {
    stream: BufReader<Box<dyn Transport>>,
    /// The headers of a request, which are in the server's table by now.
    headers: Vec<u8>,
    next_stream: u32,
    /// Of answers, since the server was told last that there is room for as many again.
    received: u32,
    /// Bytes of messages that the server has room for.
    pub(crate) room: usize,
    /// Frames that have not been sent yet.
    pub(crate) out: Vec<u8>,
}

/// What came, and for which request.
pub(crate) struct Frame {
    pub(crate) stream: u32,
    pub(crate) kind: Kind,
}

#[derive(PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message that is long enough for one. A refusal has none.
    Token,
    /// The end of an answer.
    End,
    Other,
}

impl RawClient {
    /// Connects, and asks once, for a token. After that `waits` tells whether reading and writing wait.
    pub(crate) fn connect(
        address: SocketAddr,
        waits: bool,
        tls: Option<&Arc<ClientConfig>>,
        headers: &[(&str, &str)],
        message: &[u8],
    ) -> Self {
        let tcp = TcpStream::connect(address).expect("connected");
        tcp.set_nodelay(true).expect("a TCP connection");
        let same = tcp.try_clone().expect("a connection");
        let transport: Box<dyn Transport> = match tls {
            Some(config) => {
                let name = "localhost".try_into().expect("a name");
                let tls = ClientConnection::new(Arc::clone(config), name).expect("a configuration that holds");
                Box::new(StreamOwned::new(tls, tcp))
            }
            None => Box::new(tcp),
        };
        // A message may be longer than what the transport gives at once, and several may come at once.
        let stream = BufReader::with_capacity(65_536, transport);
        let mut all = vec![(":path", PATH), (":authority", "localhost")];
        all.extend([("content-type", "application/grpc"), ("te", "trailers")]);
        all.extend(headers);
        // :method POST and :scheme stand in the static table; the others go into the dynamic one, the last to 62.
        let scheme = if tls.is_some() { 0x87 } else { 0x86 };
        let (mut first, mut later) = (vec![0x83, scheme], vec![0x83, scheme]);
        for (index, (name, value)) in all.iter().enumerate() {
            first.push(0x40);
            for text in [name, value] {
                first.push(u8::try_from(text.len()).ok().filter(|len| *len < 127).expect("short"));
                first.extend(text.as_bytes());
            }
            later.push(0x80 | u8::try_from(61 + all.len() - index).expect("few"));
        }
        let mut client =
            Self { stream, headers: first, next_stream: 1, received: 0, room: 65_535, out: PREFACE.to_vec() };
        client.put(SETTINGS, 0, 0, &[]);
        client.put(WINDOW_UPDATE, 0, 0, &[&(i32::MAX.unsigned_abs() - 65_535).to_be_bytes()]);
        client.ask(message);
        client.headers = later;
        same.set_nonblocking(!waits).expect("a connection");
        client
    }

    /// Asks once.
    pub(crate) fn ask(&mut self, message: &[u8]) {
        let asked = self.put_request(message);
        self.flush();
        let mut tokens = 0;
        loop {
            match self.receive() {
                Frame { kind: Kind::Token, stream } if stream == asked => tokens += 1,
                Frame { kind: Kind::End, stream } if stream == asked => break,
                _ => {}
            }
        }
        assert_eq!(tokens, 1, "the answer is a token");
    }

    /// Both frames of the next request, whose number is returned.
    pub(crate) fn put_request(&mut self, message: &[u8]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        put_frame(HEADERS, END_HEADERS, stream, &[&self.headers], &mut self.out);
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        self.put(DATA, END_STREAM, stream, &[&[0], &length, message]);
        self.room = self.room.saturating_sub(5 + message.len());
        stream
    }

    /// Waits for the next frame.
    pub(crate) fn receive(&mut self) -> Frame {
        let [a, b, c, kind, flags, stream @ ..] = self.take::<9>();
        let (length, stream) = (u32::from_be_bytes([0, a, b, c]), u32::from_be_bytes(stream));
        let kind = match (kind, flags) {
            (DATA, _) => {
                self.skip(length as usize);
                self.received += length;
                if self.received > MOST_UNTOLD {
                    let again = std::mem::take(&mut self.received);
                    self.put(WINDOW_UPDATE, 0, 0, &[&again.to_be_bytes()]);
                }
                if length > LEAST { Kind::Token } else { Kind::Other }
            }
            (WINDOW_UPDATE, _) => {
                let more = u32::from_be_bytes(self.take());
                self.room += if stream == 0 { more as usize } else { 0 };
                Kind::Other
            }
            (PING, 0) => {
                let payload = self.take::<8>();
                self.put(PING, ACK, 0, &[&payload]);
                Kind::Other
            }
            (kind, flags) => {
                self.skip(length as usize);
                match (kind, flags) {
                    (HEADERS, flags) if flags & END_STREAM != 0 => Kind::End,
                    (RST_STREAM, _) => Kind::End,
                    (SETTINGS, 0) => {
                        self.put(SETTINGS, ACK, 0, &[]);
                        Kind::Other
                    }
                    _ => Kind::Other,
                }
            }
        };
        Frame { stream, kind }
    }

    /// Whether something has come. Waits for it only where the transport does.
    pub(crate) fn has_answer(&mut self) -> bool {
        match self.stream.fill_buf() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            came => {
                assert!(!came.expect("the server goes on").is_empty(), "the server has ended the connection");
                true
            }
        }
    }

    fn take<const LEN: usize>(&mut self) -> [u8; LEN] {
        let (mut taken, mut len) = ([0; LEN], 0);
        while len < LEN {
            if self.has_answer() {
                len += self.stream.read(&mut taken[len..]).expect("something has come");
            }
        }
        taken
    }

    fn skip(&mut self, mut bytes: usize) {
        while bytes > 0 {
            if self.has_answer() {
                let skipped = self.stream.buffer().len().min(bytes);
                self.stream.consume(skipped);
                bytes -= skipped;
            }
        }
    }

    /// A frame, to be sent.
    pub(crate) fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[&[u8]]) {
        put_frame(kind, flags, stream, payload, &mut self.out);
    }

    /// Sends what there is.
    pub(crate) fn flush(&mut self) {
        while !self.flush_some() {}
    }

    /// Sends what the transport takes. Whether that was all.
    pub(crate) fn flush_some(&mut self) -> bool {
        let stream = self.stream.get_mut();
        let taken = if self.out.is_empty() { Ok(0) } else { stream.write(&self.out) };
        let sent = taken.map(|taken| drop(self.out.drain(..taken))).and_then(|()| stream.flush());
        if let Err(error) = &sent {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "the server goes on");
        }
        sent.is_ok() && self.out.is_empty()
    }
}

fn put_frame(kind: u8, flags: u8, stream: u32, payload: &[&[u8]], to: &mut Vec<u8>) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let [_, length @ ..] = u32::try_from(length).expect("short").to_be_bytes();
    to.extend(length);
    to.extend([kind, flags]);
    to.extend(stream.to_be_bytes());
    to.extend(payload.iter().copied().flatten());
}
