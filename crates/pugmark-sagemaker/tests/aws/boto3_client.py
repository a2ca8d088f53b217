"""AWS's own client for Python against the stand-in that AWS_ENDPOINT_URL names: its parsers, its paging, its waiters.

Run by clients.rs with boto3 1.43; by hand after `cargo run -p pugmark-sagemaker --example stand_in`.
"""

import boto3

IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/pugmark:latest"
ROLE = "arn:aws:iam::123456789012:role/SageMaker"
MACHINE = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}
QUICKLY = {"Delay": 0.02, "MaxAttempts": 50}

sagemaker = boto3.client("sagemaker")
runtime = boto3.client("sagemaker-runtime")
scaling = boto3.client("application-autoscaling")


def wait(waiter, **names):
    sagemaker.get_waiter(waiter).wait(**names, WaiterConfig=QUICKLY)
    print("waited:", waiter)


for name in ["job-1", "job-2"]:
    sagemaker.create_training_job(
        TrainingJobName=name, RoleArn=ROLE, ResourceConfig=MACHINE, StoppingCondition={"MaxRuntimeInSeconds": 3600},
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": "s3://bucket/out"})
wait("training_job_completed_or_stopped", TrainingJobName="job-1")
pages = list(sagemaker.get_paginator("list_training_jobs").paginate(MaxResults=1))
print("listed:", [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]])
sagemaker.stop_training_job(TrainingJobName="job-2")
wait("training_job_completed_or_stopped", TrainingJobName="job-2")
print("stopped:", sagemaker.describe_training_job(TrainingJobName="job-2")["TrainingJobStatus"])
stream = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": "job-1/algo-1-1790000000"}
print("logged:", len(boto3.client("logs").get_log_events(**stream, startFromHead=True)["events"]))

sagemaker.create_processing_job(
    ProcessingJobName="job-1", RoleArn=ROLE, AppSpecification={"ImageUri": IMAGE},
    ProcessingResources={"ClusterConfig": MACHINE})
wait("processing_job_completed_or_stopped", ProcessingJobName="job-1")

sagemaker.create_model(
    ModelName="ants", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://bucket/m.tar.gz"})
photos = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/photos"}
sagemaker.create_transform_job(
    TransformJobName="job-1", ModelName="ants", TransformInput={"DataSource": {"S3DataSource": photos}},
    TransformOutput={"S3OutputPath": "s3://bucket/out"},
    TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1})
wait("transform_job_completed_or_stopped", TransformJobName="job-1")

variant = {"VariantName": "main", "ModelName": "ants", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
sagemaker.create_endpoint_config(EndpointConfigName="ants-1", ProductionVariants=[variant])
sagemaker.create_endpoint(EndpointName="ants", EndpointConfigName="ants-1")
wait("endpoint_in_service", EndpointName="ants")
answer = runtime.invoke_endpoint(EndpointName="ants", Body=b"photo", ContentType="application/x-image")
print("answered:", answer["InvokedProductionVariant"], answer["Body"].read().decode())
try:
    runtime.invoke_endpoint(EndpointName="ants", Body=b"broken", ContentType="application/x-image")
except runtime.exceptions.ModelError as error:
    print("refused:", error.response["OriginalStatusCode"], error.response["OriginalMessage"])
scaling.register_scalable_target(
    ServiceNamespace="sagemaker", ResourceId="endpoint/ants/variant/main",
    ScalableDimension="sagemaker:variant:DesiredInstanceCount", MinCapacity=1, MaxCapacity=2)
sagemaker.delete_endpoint(EndpointName="ants")
wait("endpoint_deleted", EndpointName="ants")
