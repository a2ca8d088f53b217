//! Who asks, and where.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::{Builder, tls};
use clap::Args;

use crate::api::Api;
use crate::names::{WrongName, wrong};

/// Flags of every verb that calls AWS.
#[derive(Args, Clone, Debug)]
pub(crate) struct Account {
    /// Region [default: the one of the profile or of AWS_REGION]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Account")]
    region: Option<String>,

    /// Profile of ~/.aws/config
    #[arg(long, global = true, value_name = "NAME", help_heading = "Account")]
    profile: Option<String>,

    /// One address for all services, in place of AWS's own: a stand-in of tests
    #[arg(long, global = true, value_name = "URL", env = "AWS_ENDPOINT_URL", help_heading = "Account")]
    endpoint_url: Option<String>,

    /// Print the requests of a verb that makes, stops or deletes something as JSON, and send none
    #[arg(long, global = true, help_heading = "Account")]
    pub(crate) dry_run: bool,
}

impl Account {
    /// Looks for credentials as every program of AWS's does: variables, profiles with SSO and roles, the container, the machine.
    pub(crate) fn open(&self) -> anyhow::Result<Api> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime that credentials are fetched with")?;
        let (region, provider) = runtime.block_on(async {
            let http = Builder::new()
                .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
                .build_https();
            let mut loader = aws_config::defaults(aws_config::BehaviorVersion::latest()).http_client(http);
            if let Some(profile) = &self.profile {
                loader = loader.profile_name(profile);
            }
            if let Some(region) = &self.region {
                loader = loader.region(aws_config::Region::new(region.clone()));
            }
            let config = loader.load().await;
            let region = config
                .region()
                .ok_or_else(|| wrong("no region is known: `--region eu-central-1`, or AWS_REGION"))?
                .to_string();
            let provider = config.credentials_provider().ok_or_else(|| no_credentials("nothing is set"))?;
            anyhow::Ok((region, provider))
        })?;
        let source = Source { runtime, provider, last: RefCell::default() };
        // Without credentials nothing else is to be tried.
        source.credentials()?;
        Ok(Api::new(region, self.endpoint_url.clone(), source))
    }
}

/// Where credentials come from. Those of roles and of single sign-on end before a long training does.
pub(crate) struct Source {
    runtime: tokio::runtime::Runtime,
    provider: SharedCredentialsProvider,
    last: RefCell<Option<Credentials>>,
}

impl Source {
    /// The last credentials, or new ones where those end within five minutes.
    pub(crate) fn credentials(&self) -> Result<Credentials, WrongName> {
        let soon = SystemTime::now() + Duration::from_secs(300);
        let lasting = |known: &&Credentials| known.expiry().is_none_or(|end| end > soon);
        if let Some(known) = self.last.borrow().as_ref().filter(lasting) {
            return Ok(known.clone());
        }
        let asked = async {
            tokio::time::timeout(Duration::from_secs(30), self.provider.provide_credentials()).await
        };
        let new = self
            .runtime
            .block_on(asked)
            .map_err(|_| no_credentials("they did not come within 30 s"))?
            .map_err(|error| no_credentials(&chain(&error)))?;
        self.last.replace(Some(new.clone()));
        Ok(new)
    }
}

fn no_credentials(why: &str) -> WrongName {
    wrong(format!(
        "there are no credentials of AWS here: `aws configure`, `aws sso login`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({why})"
    ))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
