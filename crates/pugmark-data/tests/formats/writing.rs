//! What the writers refuse, and what they leave behind.

use std::fs;
use std::path::Path;

use pugmark_data::DataError;
use pugmark_data::formats::{
    Format, FormatError, TableOptions, WriteOptions, read_table, validate, write_table,
};

use crate::{METADATA, folder, read, write};

const PREDICTIONS: &str = "id,blank,hog,truncated,reason\n\
    test/Z1.jpg,0.25,0.75,false,\ntest/Z2.jpg,,,false,broken\ntest/Z0.jpg,0.9,0.1,false,\n";

#[test]
fn a_submission_is_joined_by_id_and_column() {
    let format = "id,hog,blank\nZ0,0.5,0.5\nZ1,0.5,0.5\nZ2,0.5,0.5\n";
    let data = folder(&[("predictions.csv", PREDICTIONS), ("format.csv", format)]);
    let table = read(&data.path().join("predictions.csv")).unwrap();
    let options =
        WriteOptions { submission_format: Some(data.path().join("format.csv")), ..WriteOptions::default() };
    let out = data.path().join("submission.csv");
    let written = write(&table, Format::Submission, &out, &options).unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap(), "id,hog,blank\nZ0,0.1,0.9\nZ1,0.75,0.25\nZ2,0.5,0.5\n");
    assert_eq!(written.notes[0].items, ["Z2"], "the broken one is told");
    assert!(validate(&out, Format::Submission).unwrap().is_valid());
    for (format, said) in [
        ("id,hog,blank\nZ7,0,1\n", "rows without a prediction: `Z7`"),
        ("id,hog,empty\nZ0,0,1\n", "classes that are no column of the submission: `blank`"),
    ] {
        fs::write(data.path().join("format.csv"), format).unwrap();
        let error = write(&table, Format::Submission, &out, &options).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    fs::write(data.path().join("format.csv"), "id,hog,blank\nZ0,0,1\n").unwrap();
    let twice = PREDICTIONS.replace("test/Z1", "more/Z0");
    fs::write(data.path().join("predictions.csv"), twice).unwrap();
    let table = read(&data.path().join("predictions.csv")).unwrap();
    let error = write(&table, Format::Submission, &out, &options).unwrap_err();
    assert!(error.to_string().contains("ids that several photos could be: `Z0`"), "{error}");
}

#[test]
fn machine_observations_in_camtrap_dp() {
    let results = r#"{"info": {"format_version": "1.6", "classifier": "model 1"}, "detection_categories": {"1": "animal"},
      "classification_categories": {"0": "hog"}, "images": [
       {"file": "1.jpg", "datetime": "2021:03:04 05:06:07", "detections": [{"category": "1", "conf": 0.9,
        "bbox": [0.1, 0.2, 0.3, 0.4], "classifications": [["0", 0.75]]}]},
       {"file": "2.jpg", "datetime": "2021:03:04 05:06:08", "detections": []}]}"#;
    let metadata = format!("timezone = \"+02:00\"\n{METADATA}\n[taxa]\nhog = \"Potamochoerus porcus\"\n");
    let data = folder(&[
        ("results.json", results),
        ("metadata.toml", &metadata),
        (
            "deployments.csv",
            "deploymentID,latitude,longitude,deploymentStart\nonly,5.5,-7.25,2021-03-01T00:00:00\n",
        ),
    ]);
    let at = |name: &str| Some(data.path().join(name));
    let table = read(&data.path().join("results.json")).unwrap();
    let options = WriteOptions {
        metadata: at("metadata.toml"),
        deployments: at("deployments.csv"),
        ..WriteOptions::default()
    };
    let out = data.path().join("package");
    let written = write(&table, Format::CamtrapDp, &out, &options).unwrap();
    let observations = fs::read_to_string(out.join("observations.csv")).unwrap();
    let rows: Vec<&str> = observations.lines().collect();
    let time = "2021-03-04T05:06:07+02:00";
    assert_eq!(
        rows[1],
        format!(
            "1.jpg/0,only,1.jpg,,{time},{time},media,animal,,Potamochoerus porcus,,,,,,,,,0.1,0.2,0.3,0.4,machine,\
             model 1,,0.75,,"
        )
    );
    assert!(rows[2].contains(",media,blank,,,"), "{}", rows[2]);
    let deployments = fs::read_to_string(out.join("deployments.csv")).unwrap();
    assert!(
        deployments.contains("5.5,-7.25,,2021-03-01T00:00:00+02:00,2021-03-04T05:06:08+02:00,"),
        "{deployments}"
    );
    assert_eq!(written.notes[0].items, ["only"], "the end is that of the last photo, and that is told");
    let description = fs::read_to_string(out.join("datapackage.json")).unwrap();
    assert!(description.contains("\"eng\": \"hog\""), "{description}");
    let report = validate(&out, Format::CamtrapDp).unwrap();
    assert!(report.findings.is_empty(), "{report}");
}

#[test]
fn what_cannot_be_written_is_said() {
    let sites = "path,label,location,photo_time\n1.jpg,hog,north,2021-03-04 05:06:07\n";
    let coordinates = "deploymentID,latitude,longitude\nnorth,1,2\n";
    let cases = [
        (
            Format::CamtrapDp,
            sites,
            "",
            coordinates,
            None,
            "what only you know of the project: title, sampling_design",
        ),
        (
            Format::CamtrapDp,
            sites,
            METADATA,
            coordinates,
            None,
            "the time zone of the cameras' clocks, which 1 photo",
        ),
        (
            Format::CamtrapDp,
            sites,
            METADATA,
            "deploymentID\nsouth\nwest\n",
            Some(0),
            "coordinates of 1 deployment: `north`",
        ),
        (
            Format::CamtrapDp,
            "path,label\n1.jpg,hog\n",
            METADATA,
            coordinates,
            Some(0),
            "none of 1 photos can be written",
        ),
        (
            Format::CamtrapDp,
            "path,label,photo_time\n1.jpg,hog,2021-03-04 05:06:07\n",
            METADATA,
            "deploymentID,latitude,longitude\nnorth,1,2\nsouth,1,2\n",
            Some(0),
            "the deployment of every photo",
        ),
        (
            Format::CamtrapDp,
            "path,label,site,photo_time\n../1.jpg,hog,north,2021-03-04 05:06:07\n",
            METADATA,
            coordinates,
            Some(0),
            "paths that lead out of the package: `../1.jpg`",
        ),
        (
            Format::CamtrapDp,
            sites,
            "titel = \"x\"\n",
            coordinates,
            None,
            "metadata.toml, line 1: unknown field `titel`",
        ),
        (
            Format::CamtrapDp,
            sites,
            "timezone = \"CET\"\ntitle = 3\n",
            coordinates,
            None,
            "metadata.toml, line 2",
        ),
        (
            Format::CamtrapDp,
            sites,
            "sampling_design = \"random\"\n",
            coordinates,
            None,
            "not sampling_design `random` (one of simpleRandom,",
        ),
        (Format::SpeciesNet, "path,label\n1.jpg,a;b\n", "", "", None, "a semicolon in a class: `a;b`"),
        (Format::Coco, "path,label\n1.jpg,empty\n", "", "", None, "a class of this name: `empty`"),
        (Format::OneHot, "path,label\n1.jpg,hog\n", "", "", None, "one-hot labels to"),
        (Format::Submission, "path,label\n1.jpg,hog\n", "", "", None, "submission_format.csv"),
        (Format::Predictions, "path,label\n1.jpg,hog\n", "", "", None, "cannot write pugmark predictions"),
    ];
    for (format, labels, metadata, deployments, offset_minutes, said) in cases {
        let data =
            folder(&[("labels.csv", labels), ("metadata.toml", metadata), ("deployments.csv", deployments)]);
        let at = |name: &str, content: &str| (!content.is_empty()).then(|| data.path().join(name));
        let options = WriteOptions {
            offset_minutes,
            metadata: at("metadata.toml", metadata),
            deployments: at("deployments.csv", deployments),
            submission_format: None,
        };
        let table = read(&data.path().join("labels.csv")).unwrap();
        let error = write(&table, format, &data.path().join("out"), &options).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.hint().is_some(), "{error}");
        assert!(!data.path().join("out").exists(), "{said}");
    }
}

#[test]
fn a_stopped_conversion_leaves_what_was_there() {
    let rows: String = (0..5000).map(|row| format!("{row}.jpg,hog,north,2021-03-01T10:00:00Z\n")).collect();
    let data = folder(&[
        ("labels.csv", &format!("filepath,label,site,photo_time\n{rows}")),
        ("places.csv", "deploymentID,latitude,longitude\nnorth,1.5,2.5\n"),
        ("metadata.toml", METADATA),
        ("out.json", "as it was"),
    ]);
    let at = |name: &str| data.path().join(name);
    let table = read_table(&at("labels.csv"), None, &TableOptions::default()).unwrap();
    let options = WriteOptions {
        metadata: Some(at("metadata.toml")),
        deployments: Some(at("places.csv")),
        ..WriteOptions::default()
    };
    let written = write_table(&table, Format::CamtrapDp, &at("package"), &options, &mut |_| true).unwrap();
    assert_eq!(written.files[0], at("package/datapackage.json"));
    let names = ["datapackage.json", "deployments.csv", "media.csv", "observations.csv"];
    let package = || names.map(|name| fs::read(at("package").join(name)).unwrap());
    let before = package();
    let mut fewer = table.clone();
    fewer.photos.truncate(4000);

    for (format, name) in [
        (Format::Coco, "out.json"),
        (Format::MegaDetector, "out.json"),
        (Format::Csv, "out.csv"),
        (Format::CamtrapDp, "package"),
    ] {
        let mut seen = 0;
        let stopped = write_table(&fewer, format, &at(name), &options, &mut |done| {
            seen = done;
            done < 2000
        });
        assert!(matches!(stopped, Err(DataError::Format(FormatError::Interrupted { .. }))), "{format}");
        assert!(seen >= 2000, "{seen}");
        assert_eq!(fs::read_to_string(at("out.json")).unwrap(), "as it was");
    }
    assert!(package() == before, "the package is as it was");
    assert_eq!(fs::read_dir(at("package")).unwrap().count(), names.len());
    write_table(&fewer, Format::CamtrapDp, &at("package"), &options, &mut |_| true).unwrap();
    assert!(package() != before, "and can be replaced");
    let left: Vec<_> = fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
    let nowhere = write(&table, Format::Csv, Path::new("no/such/folder/x.csv"), &WriteOptions::default());
    assert!(matches!(nowhere, Err(DataError::Format(FormatError::Write { .. }))));
}
