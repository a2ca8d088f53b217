//! A space in short flags: `lr=log(1e-3,1e-1)`, `batch=16,32`, `momentum=0.8..0.99 if optimiser=sgd`.

use super::{Condition, Domain, Parameter, Scale, Space, SpaceError, Value, error::did_you_mean};

const FORMS: &str = "write 0.1..0.5, 2..5, log(1e-4,1e-1), reverse-log(0.9,0.999) or a,b,c";

impl Space {
    /// The space of short flags, one a parameter. `a..b` and `log(a,b)` are integers where both ends are written as integers.
    ///
    /// # Errors
    ///
    /// At a flag of another form, and what [`Self::validate`] finds.
    pub fn from_flags<S: AsRef<str>>(flags: &[S]) -> Result<Self, SpaceError> {
        let mut parameters: Vec<Parameter> = Vec::new();
        for flag in flags {
            let flag = flag.as_ref().trim();
            let Some((name, rest)) = flag.split_once('=') else {
                return Err(SpaceError::new(flag, "it has no values".to_owned(), FORMS));
            };
            let (values, condition) = match rest.split_once(" if ") {
                Some((values, condition)) => (values, Some(parse_condition(name, condition, &parameters)?)),
                None => (rest, None),
            };
            let domain = parse_domain(name, values.trim())?;
            parameters.push(Parameter { name: name.trim().to_owned(), domain, condition });
        }
        Self::new(parameters)
    }
}

fn parse_domain(name: &str, text: &str) -> Result<Domain, SpaceError> {
    if let Some((function, arguments)) = text.split_once('(') {
        let scale = match function.trim() {
            "log" => Scale::Logarithmic,
            "reverse-log" => Scale::ReverseLogarithmic,
            other => {
                let hint = did_you_mean(other, ["log", "reverse-log"]).unwrap_or_else(|| FORMS.to_owned());
                return Err(SpaceError::new(name, format!("{other}(..) is not known"), hint));
            }
        };
        let ends = arguments.trim_end().strip_suffix(')').and_then(|arguments| arguments.split_once(','));
        let Some((min, max)) = ends else {
            return Err(SpaceError::new(name, format!("{text} is no range"), FORMS));
        };
        return range(name, min, max, scale);
    }
    match text.split_once("..") {
        Some((min, max)) => range(name, min, max, Scale::Linear),
        None => Ok(Domain::Categorical(text.split(',').map(|value| value.trim().to_owned()).collect())),
    }
}

fn range(name: &str, min: &str, max: &str, scale: Scale) -> Result<Domain, SpaceError> {
    let (min, max) = (min.trim(), max.trim());
    if scale != Scale::ReverseLogarithmic
        && let (Ok(min), Ok(max)) = (min.parse(), max.parse())
    {
        return Ok(Domain::Integer { min, max, scale });
    }
    let number = |text: &str| {
        text.parse().map_err(|_| {
            SpaceError::new(name, format!("\"{text}\" is no number"), "write it as 0.001 or 1e-3")
        })
    };
    Ok(Domain::Continuous { min: number(min)?, max: number(max)?, scale })
}

/// `other=value,value`. The values are read as the other parameter writes them; a value it does not have stays a text, which
/// [`Space::validate`] refuses.
fn parse_condition(name: &str, text: &str, earlier: &[Parameter]) -> Result<Condition, SpaceError> {
    let Some((other, values)) = text.split_once('=') else {
        let hint = "write it as in \"momentum=0.8..0.99 if optimiser=sgd\"";
        return Err(SpaceError::new(name, format!("\"{}\" is no condition", text.trim()), hint));
    };
    let other = other.trim();
    let domain = earlier.iter().find(|parameter| parameter.name == other).map(|parameter| &parameter.domain);
    Ok(Condition {
        parameter: other.to_owned(),
        values: values.split(',').map(|value| parse(domain, value.trim())).collect(),
    })
}

/// The value in the words of its domain.
pub(super) fn parse(domain: Option<&Domain>, text: &str) -> Value {
    domain.and_then(|domain| domain.parse(text)).unwrap_or_else(|| Value::Text(text.to_owned()))
}
