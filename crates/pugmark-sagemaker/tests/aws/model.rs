//! The services' published models, from pip's botocore, and requests checked against them.

mod shapes;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flate2::bufread::GzDecoder;
use serde_json::Value;

pub(crate) use shapes::Report;
use shapes::Shapes;

/// The services that are called, with the versions of their interfaces.
const SERVICES: [(&str, &str); 5] = [
    ("sagemaker", "2017-07-24"),
    ("sagemaker-runtime", "2017-05-13"),
    ("logs", "2014-03-28"),
    ("application-autoscaling", "2016-02-06"),
    ("cloudwatch", "2010-08-01"),
];

/// What AWS publishes of the services that are called.
pub(crate) struct Models(BTreeMap<&'static str, Service>);

struct Service {
    operations: Value,
    shapes: Shapes,
}

impl Models {
    /// The models of this machine's botocore; none, and a line that says so, where there is none.
    pub(crate) fn found() -> Option<&'static Self> {
        static MODELS: OnceLock<Option<Models>> = OnceLock::new();
        let models = MODELS.get_or_init(|| Some(Self::read(&botocore()?)));
        if models.is_none() {
            println!(
                "skipped: there is no botocore here: `pip install botocore`, or PUGMARK_BOTOCORE names its folder"
            );
        }
        models.as_ref()
    }

    fn read(botocore: &Path) -> Self {
        let services = SERVICES.map(|(name, version)| {
            let path = botocore.join(format!("data/{name}/{version}/service-2.json.gz"));
            let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut model: Value =
                serde_json::from_reader(BufReader::new(GzDecoder::new(BufReader::new(file))))
                    .expect("a model");
            let (operations, shapes) = (model["operations"].take(), Shapes::new(model["shapes"].take()));
            (name, Service { operations, shapes })
        });
        Self(services.into())
    }

    /// Checks a request against the input of an operation.
    pub(crate) fn check(&self, service: &str, operation: &str, request: &Value) -> Report {
        self.check_side("input", service, operation, request)
    }

    /// Checks an answer against the output of an operation.
    pub(crate) fn check_answer(&self, service: &str, operation: &str, answer: &Value) -> Report {
        self.check_side("output", service, operation, answer)
    }

    fn check_side(&self, side: &str, service: &str, operation: &str, value: &Value) -> Report {
        let Some(service) = self.0.get(service) else { return Report::unknown(service) };
        match &service.operations[operation] {
            Value::Null => Report::unknown(operation),
            known => match known[side]["shape"].as_str() {
                Some(shape) => service.shapes.check(shape, value),
                None => Report::default(),
            },
        }
    }

    /// Of an answer's members those that the operation has.
    pub(crate) fn known_members(&self, service: &str, operation: &str, answer: Value) -> Value {
        let Some(service) = self.0.get(service) else { return answer };
        let Some(shape) = service.operations[operation]["output"]["shape"].as_str() else { return answer };
        let Value::Object(members) = answer else { return answer };
        Value::Object(
            members.into_iter().filter(|(name, _)| service.shapes.has_member(shape, name)).collect(),
        )
    }
}

fn botocore() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("PUGMARK_BOTOCORE").filter(|folder| !folder.is_empty()) {
        return Some(folder.into());
    }
    let python =
        Command::new("python3").args(["-c", "import botocore; print(botocore.__path__[0])"]).output().ok()?;
    let folder = String::from_utf8(python.stdout).ok()?;
    python.status.success().then(|| folder.trim().into())
}
