//! The rules: from records to findings. Nothing here knows a running training, so that a file can be judged anew.

mod learning;
mod machine;
mod tensor;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::record::{Name, Record, Start};
use super::thresholds::{RuleInfo, Thresholds, rules};

/// Something that a rule found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// Optimiser step of the evidence, from 1.
    pub step: u64,
    /// Its epoch, from 1.
    pub epoch: u32,
    /// The tensor, class or quantity that it was found in.
    pub tensor: String,
    /// What was measured.
    pub value: f64,
    /// What it is held against.
    pub threshold: f64,
    /// What was found, in a sentence.
    pub text: String,
    /// What to try, in words.
    pub advice: String,
    /// A command to try.
    pub command: String,
}

/// What a rule came to.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleReport {
    /// The rule.
    pub info: &'static RuleInfo,
    /// Its thresholds.
    pub parameters: Vec<(&'static str, f64)>,
    /// Measurements it judged.
    pub datapoints: u64,
    /// Those that were beyond its thresholds, findings or not: most rules wait for several in a row.
    pub violations: u64,
    /// One for each tensor.
    pub findings: Vec<Finding>,
}

impl PartialEq for RuleInfo {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl RuleReport {
    /// In the fields of SageMaker Debugger's rule reports.
    pub fn to_json(&self) -> Value {
        let parameters: Vec<String> =
            self.parameters.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        json!({
            "Rule": self.info.sagemaker,
            "RuleTriggered": self.findings.len(),
            "Violations": self.violations,
            "Details": {
                "rule": self.info.id,
                "about": self.info.about,
                "findings": self.findings,
            },
            "Datapoints": self.datapoints,
            "RuleParameters": parameters.join("\n"),
        })
    }
}

/// All rules' reports as a document, those that were triggered most first.
pub fn reports_to_json(reports: &[RuleReport]) -> Value {
    Value::Array(reports.iter().map(RuleReport::to_json).collect())
}

/// What rules know besides the record at hand.
struct Context {
    thresholds: Thresholds,
    start: Option<Start>,
    layers: Vec<Name>,
    weights: Vec<Name>,
}

impl Context {
    fn get(&self, info: &RuleInfo, name: &str) -> f64 {
        self.thresholds.get(info, name)
    }
}

/// Where a rule found something.
struct Hit {
    step: u64,
    epoch: u32,
    tensor: String,
    value: f64,
    threshold: f64,
    text: String,
}

/// What a rule says of a record.
#[derive(Default)]
struct Verdict {
    datapoints: u64,
    violations: u64,
    hits: Vec<Hit>,
}

impl Verdict {
    /// Counts a measurement; whether it is beyond the thresholds.
    fn point(&mut self, violated: bool) -> bool {
        self.datapoints += 1;
        self.violations += u64::from(violated);
        violated
    }
}

/// A rule with what it remembers.
trait Rule: Send {
    fn info(&self) -> &'static RuleInfo;

    /// Judges a record; most rules pass over most of them.
    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict);

    /// Judges that nothing has come since, at a time in seconds since 1970.
    fn silence(&mut self, _now: f64, _context: &Context, _verdict: &mut Verdict) {}
}

/// Every rule, judging one training.
pub struct Rules {
    run: String,
    data: String,
    context: Context,
    rules: Vec<Box<dyn Rule>>,
    tallies: Vec<Tally>,
    told: HashSet<(usize, String)>,
}

#[derive(Default)]
struct Tally {
    datapoints: u64,
    violations: u64,
    findings: Vec<Finding>,
}

impl Rules {
    /// Rules for the run and the data set that commands are to name.
    pub fn new(thresholds: Thresholds, run: &str, data: &str) -> Self {
        let own: Vec<Box<dyn Rule>> =
            tensor::rules().into_iter().chain(learning::rules()).chain(machine::rules()).collect();
        let context = Context { thresholds, start: None, layers: Vec::new(), weights: Vec::new() };
        let tallies = own.iter().map(|_| Tally::default()).collect();
        Self { run: run.into(), data: data.into(), context, rules: own, tallies, told: HashSet::new() }
    }

    /// Judges a record; what is found for the first time in a tensor.
    pub fn record(&mut self, record: &Record) -> Vec<Finding> {
        match record {
            Record::Start(start) => self.context.start = Some(start.clone()),
            Record::Names { layers, weights } => {
                self.context.layers.clone_from(layers);
                self.context.weights.clone_from(weights);
            }
            _ => {}
        }
        self.judge(|rule, context, verdict| rule.record(record, context, verdict))
    }

    /// Judges that nothing has come since; `now` is in seconds since 1970.
    pub fn silence(&mut self, now: f64) -> Vec<Finding> {
        self.judge(|rule, context, verdict| rule.silence(now, context, verdict))
    }

    fn judge(&mut self, ask: impl Fn(&mut dyn Rule, &Context, &mut Verdict)) -> Vec<Finding> {
        let mut found = Vec::new();
        for at in 0..self.rules.len() {
            let mut verdict = Verdict::default();
            ask(self.rules[at].as_mut(), &self.context, &mut verdict);
            let info = self.rules[at].info();
            self.tallies[at].datapoints += verdict.datapoints;
            self.tallies[at].violations += verdict.violations;
            for hit in verdict.hits {
                if self.told.insert((at, hit.tensor.clone())) {
                    let finding = self.finding(info, hit);
                    self.tallies[at].findings.push(finding.clone());
                    found.push(finding);
                }
            }
        }
        found
    }

    fn finding(&self, info: &RuleInfo, hit: Hit) -> Finding {
        let rate = self.context.start.as_ref().map_or(0.001, |start| start.learning_rate / 10.0);
        let command = info
            .command
            .replace("RATE/10", &format!("{:?}", super::record::Number(rate).rounded().0))
            // The run's path may hold the other word.
            .replace("DATA", self.data.trim_end_matches('/'))
            .replacen("RUN", &self.run, 1);
        let Hit { step, epoch, tensor, value, threshold, text } = hit;
        let (rule, advice) = (info.id.into(), info.advice.into());
        Finding { rule, step, epoch, tensor, value, threshold, text, advice, command }
    }

    /// What every rule came to: those that were triggered most first.
    pub fn reports(&self) -> Vec<RuleReport> {
        let report = |info: &'static RuleInfo| {
            let at = self.rules.iter().position(|rule| rule.info() == info)?;
            let Tally { datapoints, violations, findings } = &self.tallies[at];
            let parameters = info.thresholds.iter().map(|t| (t.name, self.context.get(info, t.name)));
            Some(RuleReport {
                info,
                parameters: parameters.collect(),
                datapoints: *datapoints,
                violations: *violations,
                findings: findings.clone(),
            })
        };
        let mut reports: Vec<RuleReport> = rules().filter_map(report).collect();
        reports.sort_by_key(|report| std::cmp::Reverse(report.findings.len()));
        reports
    }
}
