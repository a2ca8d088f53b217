//! Models, configurations and endpoints, which must be there for one another.

use serde_json::{Value, json};

use super::Refusal;
use super::state::{State, arn, step};

impl State {
    pub(super) fn endpoint(&mut self, verb: &str, noun: &str, request: &Value) -> Result<Value, Refusal> {
        let text = |member: &str| request[member].as_str().unwrap_or_default().to_owned();
        match (verb, noun) {
            ("List", "Endpoints") => self.list("Endpoint", "Endpoints", request),
            ("Create", "Model") => self.create("Model", &text("ModelName"), request),
            ("Delete", "Model") => self.delete("Model", &text("ModelName")),
            ("Create", "EndpointConfig") => {
                for variant in request["ProductionVariants"].as_array().into_iter().flatten() {
                    self.get("Model", variant["ModelName"].as_str().unwrap_or_default())?;
                }
                self.create("EndpointConfig", &text("EndpointConfigName"), request)
            }
            ("Describe", "EndpointConfig") => self.look("EndpointConfig", &text("EndpointConfigName")),
            ("Delete", "EndpointConfig") => {
                let name = text("EndpointConfigName");
                // SageMaker says that it must not be done and does not always refuse it.
                let used = self.things.iter().any(|((noun, _), thing)| {
                    *noun == "Endpoint" && thing.request["EndpointConfigName"] == name.as_str()
                });
                if used {
                    return Err(Refusal::validation(format!("The endpoint configuration {name} is in use.")));
                }
                self.delete("EndpointConfig", &name)
            }
            ("Create", "Endpoint") => {
                self.get("EndpointConfig", &text("EndpointConfigName"))?;
                self.create("Endpoint", &text("EndpointName"), request)
            }
            ("Update", "Endpoint") => self.update(&text("EndpointName"), &text("EndpointConfigName")),
            ("Describe", "Endpoint") => self.describe(&text("EndpointName")),
            ("Delete", "Endpoint") => {
                let endpoint = self.get("Endpoint", &text("EndpointName"))?;
                if matches!(endpoint.status(), "Deleting" | "Creating" | "Updating") {
                    return Err(Refusal::validation("Cannot update in-progress endpoint."));
                }
                (endpoint.steps, endpoint.seen) = ([step("Deleting")].into(), false);
                if let Some(steps) = self.scripts.remove(&text("EndpointName")) {
                    self.get("Endpoint", &text("EndpointName"))?.steps = steps;
                }
                Ok(Value::Null)
            }
            _ => Err(Refusal::new("UnknownOperationException", format!("{verb}{noun}"))),
        }
    }

    fn create(&mut self, noun: &'static str, name: &str, request: &Value) -> Result<Value, Refusal> {
        if self.get(noun, name).is_ok() {
            let message =
                format!("Cannot create already existing {} \"{}\".", noun.to_lowercase(), arn(noun, name));
            return Err(Refusal::validation(message));
        }
        let steps = match noun {
            "Endpoint" => {
                self.scripts.remove(name).unwrap_or_else(|| [step("Creating"), step("InService")].into())
            }
            _ => Default::default(),
        };
        self.add(noun, name, request.clone(), steps);
        let mut answer = json!({});
        answer[format!("{noun}Arn")] = arn(noun, name).into();
        Ok(answer)
    }

    fn delete(&mut self, noun: &'static str, name: &str) -> Result<Value, Refusal> {
        self.get(noun, name)?;
        self.things.remove(&(noun, name.to_owned()));
        Ok(Value::Null)
    }

    fn update(&mut self, name: &str, config: &str) -> Result<Value, Refusal> {
        self.get("EndpointConfig", config)?;
        let steps = self.scripts.remove(name).unwrap_or_else(|| [step("Updating"), step("InService")].into());
        let endpoint = self.get("Endpoint", name)?;
        if endpoint.status() != "InService" {
            let message = format!("Cannot update in-progress endpoint \"{}\".", arn("Endpoint", name));
            return Err(Refusal::validation(message));
        }
        endpoint.request["EndpointConfigName"] = config.into();
        endpoint.steps = steps;
        endpoint.seen = false;
        Ok(json!({"EndpointArn": arn("Endpoint", name)}))
    }

    fn describe(&mut self, name: &str) -> Result<Value, Refusal> {
        let endpoint = self.get("Endpoint", name)?;
        if endpoint.status() == "Deleting" && endpoint.seen && endpoint.steps.len() == 1 {
            // It has been seen going.
            self.things.remove(&("Endpoint", name.to_owned()));
        }
        let mut answer = self.look("Endpoint", name)?;
        let config = answer["EndpointConfigName"].as_str().unwrap_or_default().to_owned();
        // A script may say otherwise.
        if answer["ProductionVariants"].is_null()
            && let Ok(config) = self.get("EndpointConfig", &config)
        {
            let variants = config.request["ProductionVariants"].as_array().into_iter().flatten();
            answer["ProductionVariants"] = variants
                .map(|variant| {
                    let mut summary = json!({"VariantName": variant["VariantName"], "CurrentWeight": variant["InitialVariantWeight"].as_f64().unwrap_or(1.0)});
                    if let Some(count) = variant["InitialInstanceCount"].as_u64() {
                        summary["CurrentInstanceCount"] = count.into();
                    }
                    summary
                })
                .collect();
        }
        Ok(answer)
    }
}
