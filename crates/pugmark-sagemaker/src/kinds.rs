//! The kinds of things that run on SageMaker, and what it calls their operations and members.

/// What can be listed, described, followed and stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Training,
    Processing,
    Transform,
    Tuning,
    Endpoint,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Training, Self::Processing, Self::Transform, Self::Tuning, Self::Endpoint];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Processing => "processing",
            Self::Transform => "transform",
            Self::Tuning => "tuning",
            Self::Endpoint => "endpoint",
        }
    }

    /// What operations on it end with: `DescribeTrainingJob`.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Training => "TrainingJob",
            Self::Processing => "ProcessingJob",
            Self::Transform => "TransformJob",
            Self::Tuning => "HyperParameterTuningJob",
            Self::Endpoint => "Endpoint",
        }
    }

    /// The member with the items of a list.
    pub(crate) fn items(self) -> &'static str {
        match self {
            Self::Training => "TrainingJobSummaries",
            Self::Processing => "ProcessingJobSummaries",
            Self::Transform => "TransformJobSummaries",
            Self::Tuning => "HyperParameterTuningJobSummaries",
            Self::Endpoint => "Endpoints",
        }
    }

    /// Whether nothing more comes.
    pub(crate) fn has_ended(self, status: &str) -> bool {
        match self {
            Self::Endpoint => {
                matches!(status, "InService" | "Failed" | "OutOfService" | "UpdateRollbackFailed")
            }
            _ => matches!(status, "Completed" | "Failed" | "Stopped" | "DeleteFailed"),
        }
    }

    /// Group of its log, and how its streams begin.
    pub(crate) fn log(self, name: &str) -> (String, String) {
        let group = match self {
            Self::Training => "/aws/sagemaker/TrainingJobs",
            Self::Processing => "/aws/sagemaker/ProcessingJobs",
            Self::Transform => "/aws/sagemaker/TransformJobs",
            // The trainings of a tuning job are called by its name and a number.
            Self::Tuning => return ("/aws/sagemaker/TrainingJobs".into(), format!("{name}-")),
            Self::Endpoint => return (format!("/aws/sagemaker/Endpoints/{name}"), String::new()),
        };
        (group.into(), format!("{name}/"))
    }
}
