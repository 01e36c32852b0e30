//! The code generated from `proto/`. Only the edges know it: `transport` and `client`.
#![expect(clippy::pedantic, unused_qualifications, reason = "generated")]
#![cfg_attr(feature = "server", expect(clippy::allow_attributes, reason = "generated"))]

tonic::include_proto!("metabase.token.v1");
