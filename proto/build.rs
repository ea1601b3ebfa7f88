//! Compiles the contracts with protox (no protoc needed) into client and server code.

use prost::Message;

const CONTRACTS: [&str; 5] = [
    "postrider/directory/v1/directory.proto",
    "postrider/mailstore/v1/mailstore.proto",
    "postrider/operations/v1/operations.proto",
    "postrider/queue/v1/queue.proto",
    "postrider/submission/v1/submission.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=postrider");
    let contracts = protox::compile(CONTRACTS, ["."])?;
    // `compile_fds` ignores `file_descriptor_set_path`, so the set for the reflection service is written here.
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), contracts.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(contracts)?;
    Ok(())
}
