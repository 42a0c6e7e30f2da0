//! Makes the API's messages from `proto/`: types by prost, their proto3 JSON
//! with the original field names by pbjson. No protoc is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/sip_gateway.proto"], ["proto"])?;
    let mut json = pbjson_build::Builder::new();
    for file in &files.file {
        json.register_file_descriptor(file.clone());
    }
    prost_build::Config::new().compile_fds(files)?;
    // A field from 100 up that we do not know yet is skipped, in JSON as in
    // binary.
    json.preserve_proto_field_names()
        .ignore_unknown_fields()
        .build(&[".sip_gateway"])?;
    Ok(())
}
