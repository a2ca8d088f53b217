//! The stand-in by itself, for any client: `cargo run -p pugmark-sagemaker --example stand_in [ADDRESS:PORT]`.

#![allow(dead_code, unused_imports, reason = "the tests use the rest")]

mod model;
mod stand_in;

use std::thread;

use stand_in::{KEY, REGION, SECRET, StandIn};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let stand_in = StandIn::listen(&address)?;
    println!("export AWS_ENDPOINT_URL={}", stand_in.url());
    println!("export AWS_ACCESS_KEY_ID={KEY} AWS_SECRET_ACCESS_KEY={SECRET} AWS_REGION={REGION}");
    loop {
        thread::park();
    }
}
