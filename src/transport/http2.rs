//! Every limit of HTTP/2, and why it is what it is. What is not configurable here is what no operator has reason to change.

use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioTimer;

use super::requests::Requests;
use crate::config::Limits;

/// Bytes of a request's metadata, which every other limit on headers follows from: h2 refuses what is longer with 431, and
/// ends a connection whose CONTINUATION frames go on beyond it (CVE-2024-27316).
const MAX_METADATA_BYTES: u32 = 16 * 1024;
/// Bytes of the table of a connection's repeated headers (RFC 7541): the protocol's default, and held for each connection.
const HEADER_TABLE_BYTES: u32 = 4096;
/// Bytes of a frame: the least that RFC 9113, section 4.2, allows. A larger frame only keeps others waiting.
const MAX_FRAME_BYTES: u32 = 16 * 1024;
/// Bytes of a request that may be under way unread: the largest message that is accepted, without a round trip.
const STREAM_WINDOW_BYTES: u32 = 72 * 1024;
/// The same for all requests of a connection together: what one connection can make the server hold.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of an answer that wait for a client that does not read; the largest answer has less than half of it.
const MAX_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Requests that were taken back before the server got to them: more ends the connection. The attack is rapid reset (CVE-2023-44487).
///
/// In an overload, or after a pause of the machine, the deadlines of all requests that a client has open pass at once, and it takes them
/// back together: gRPC's libraries keep to 100 on a connection. h2's own 20 would end the connection then, fail what else is under way on it, and
/// have the client connect anew when that is dearest.
const MAX_PENDING_ACCEPT_RESETS: usize = 100;
/// Requests that the server had to reset because of an error of the client: more ends the connection. The attack is
/// `MadeYouReset` (CVE-2025-8671). A client without errors has some, too, in an overload: what is still on its way for a request that was
/// refused, and reset some fifty resets ago, counts among them. h2's own default.
const MAX_LOCAL_ERROR_RESETS: usize = 1024;

/// What a connection is served with, which gives its requests to `requests`.
pub(super) fn builder(limits: &Limits, requests: Requests) -> Builder<Requests> {
    let mut builder = Builder::new(requests);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams_per_connection)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        .max_header_list_size(MAX_METADATA_BYTES)
        .header_table_size(HEADER_TABLE_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .adaptive_window(false) // It would grow the windows beyond these.
        .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_ACCEPT_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_ERROR_RESETS);
    builder
}
