//! The code generated from `proto/`. Only the edges know it: `transport` and `client`; and tests of backends, whose stand-in for
//! the service implements its trait.
#![expect(clippy::allow_attributes, clippy::pedantic, unused_qualifications, reason = "generated")]

tonic::include_proto!("metabase.token.v1");
