use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;

/// How buckets are reached.
#[derive(Args, Serialize, Debug, Default)]
#[command(next_help_heading = "Buckets")]
pub(crate) struct StorageFlags {
    /// Server of `s3://` places, where it is not AWS [default: as AWS_ENDPOINT_URL or the profile in ~/.aws say]
    #[arg(long, value_name = "URL")]
    s3_endpoint: Option<String>,

    /// AWS region [default: as AWS_REGION or the profile say]
    #[arg(long, value_name = "NAME")]
    s3_region: Option<String>,

    /// Put the bucket into the host name, not into the path
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    s3_virtual_host: Option<bool>,

    /// Send no credentials: for public buckets
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    s3_anonymous: Option<bool>,
}
