//! Generates the messages and the client from `proto/`; no `protoc` needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../../../proto");
    let descriptors = protox::compile(["metabase/token/v1/token_service.proto"], ["../../../proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
