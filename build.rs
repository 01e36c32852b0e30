//! Compiles the protos to Rust and to the descriptor set that reflection serves; no `protoc` needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true) // So that `grpcurl describe` shows the comments.
        .open_file("metabase/token/v1/token_service.proto")?;
    let descriptors = compiler.file_descriptor_set();

    #[expect(clippy::disallowed_methods, reason = "a build script is told where to write by its environment")]
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptor_set.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .btree_map(".") // Claims come out in one order, whatever the client sent.
        .compile_fds(descriptors)?;
    Ok(())
}
