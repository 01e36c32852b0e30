//! As little of an HTTP/2 client (RFC 9113, RFC 7541) as can ask for tokens one after the other: what it costs must not hide what
//! the server costs.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATH: &str = "/metabase.token.v1.MetabaseTokenService/IssueMetabaseToken";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A connection.
pub(crate) struct RawClient {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
    /// Both frames of a request whose headers are in the server's table; the stream's number is put in.
    request: Vec<u8>,
    /// Where the numbers go.
    numbers: [usize; 2],
    next_stream: u32,
    answer_bytes: usize,
}

impl RawClient {
    /// Connects, asks once, and learns how long an answer is.
    pub(crate) fn connect(address: SocketAddr, headers: &[(&str, &str)], message: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("a TCP connection");
        let answers = BufReader::new(stream.try_clone().expect("a connection"));
        let authority = address.to_string();
        let mut all = vec![(":path", PATH), (":authority", &authority)];
        all.extend([("content-type", "application/grpc"), ("te", "trailers")]);
        all.extend(headers);
        // :method POST and :scheme http stand in the static table; the others go into the dynamic one, the last to 62.
        let (mut first, mut later) = (vec![0x83, 0x86], vec![0x83, 0x86]);
        for (index, (name, value)) in all.iter().enumerate() {
            first.push(0x40);
            for text in [name, value] {
                first.push(u8::try_from(text.len()).ok().filter(|len| *len < 127).expect("short"));
                first.extend(text.as_bytes());
            }
            later.push(0x80 | u8::try_from(61 + all.len() - index).expect("few"));
        }
        let mut begin = PREFACE.to_vec();
        begin.extend(frame(SETTINGS, 0, &[]));
        begin.extend(frame(WINDOW_UPDATE, 0, &(i32::MAX.unsigned_abs() - 65_535).to_be_bytes()));
        stream.write_all(&begin).expect("sent");
        let (request, numbers) = frames_of(&first, message);
        let mut client = Self { stream, answers, request, numbers, next_stream: 1, answer_bytes: 0 };
        client.answer_bytes = client.exchange();
        assert!(client.answer_bytes > 200, "an answer of {} bytes has no token", client.answer_bytes);
        (client.request, client.numbers) = frames_of(&later, message);
        client
    }

    /// Asks once more. A refusal would have no message.
    pub(crate) fn ask(&mut self) {
        let bytes = self.exchange();
        assert_eq!(bytes, self.answer_bytes, "every answer is a token");
    }

    /// Bytes of the answer.
    fn exchange(&mut self) -> usize {
        for at in self.numbers {
            self.request[at..at + 4].copy_from_slice(&self.next_stream.to_be_bytes());
        }
        self.next_stream += 2;
        self.stream.write_all(&self.request).expect("sent");
        let mut bytes = 0;
        loop {
            let mut head = [0; 9];
            self.answers.read_exact(&mut head).expect("answered");
            let [a, b, c, kind, flags, ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.answers.read_exact(&mut payload).expect("answered");
            match (kind, flags) {
                (DATA, _) => bytes += payload.len(),
                (HEADERS, flags) if flags & END_STREAM != 0 => return bytes,
                (SETTINGS, 0) => self.stream.write_all(&frame(SETTINGS, ACK, &[])).expect("sent"),
                (PING, 0) => self.stream.write_all(&frame(PING, ACK, &payload)).expect("sent"),
                _ => {}
            }
        }
    }
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length.to_vec();
    frame.extend([kind, flags, 0, 0, 0, 0]);
    frame.extend(payload);
    frame
}

/// The frames of a request, and where the number of its stream goes.
fn frames_of(headers: &[u8], message: &[u8]) -> (Vec<u8>, [usize; 2]) {
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).expect("short").to_be_bytes());
    body.extend(message);
    let mut frames = frame(HEADERS, END_HEADERS, headers);
    let second = frames.len() + 5;
    frames.extend(frame(DATA, END_STREAM, &body));
    (frames, [5, second])
}
