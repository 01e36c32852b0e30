//! HTTP/2 without a client's help: what is sent and read byte by byte.

use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::harness::FOR_EVER;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
pub(crate) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// What a raw connection is told until it is closed.
pub(crate) async fn told_until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut told = Vec::new();
    let read = timeout(FOR_EVER, stream.read_to_end(&mut told)).await.expect("the connection stays open");
    assert!(read.is_ok() || read.unwrap_err().kind() == std::io::ErrorKind::ConnectionReset);
    told
}

/// Whether GOAWAY (type 7) without an error is among these frames (RFC 9113, sections 4.1 and 6.8).
pub(crate) fn has_goaway(mut frames: &[u8]) -> bool {
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = frames {
        let (payload, next) = rest.split_at(usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c));
        if *kind == 7 {
            return payload[4..8] == [0; 4];
        }
        frames = next;
    }
    false
}

/// The frame that begins a gRPC request, without its message (RFC 9113, section 6.2).
pub(crate) fn headers(path: &str, stream: u32) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        // Literal without indexing (RFC 7541, section 6.2.2).
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).unwrap());
            head.extend(text.bytes());
        }
    }
    [&[0, 0, u8::try_from(head.len()).unwrap(), 1, 4], &stream.to_be_bytes()[..], &head].concat()
}

/// Type, flags and stream of the next frame, whose content is left out.
pub(crate) async fn next_frame(stream: &mut TcpStream) -> (u8, u8, u32) {
    let mut head = [0; 9];
    timeout(FOR_EVER, stream.read_exact(&mut head)).await.unwrap().unwrap();
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut content = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
    timeout(FOR_EVER, stream.read_exact(&mut content)).await.unwrap().unwrap();
    (kind, flags, u32::from_be_bytes(id))
}
