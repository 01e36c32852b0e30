//! The contract as the service has it.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../proto");
    println!("cargo::rerun-if-changed={proto}");
    let descriptors = protox::compile(["metabase/token/v1/token_service.proto"], [proto])?;
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
