//! Labels and predictions in every format, splits, and what `pugmark prepare` writes.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use fuzz::{file, folder, kind, of_kind, parts, seed, told, within};
use image::{ImageFormat, RgbImage};
use libfuzzer_sys::fuzz_target;
use pugmark_data::formats::{Format, TableOptions, WriteOptions, detect, read_table, validate, write_table};
use pugmark_data::prepare::prepare;
use pugmark_data::{
    DataError, Dataset, Form, Input, Limits, PrepareSettings, ReadOptions, Split, Storage, StorageOptions,
    Store, decode_stored, is_photo, read, read_column, read_labels, read_prepared,
};

/// Formats that are one file.
const FILES: [(Format, &str); 9] = [
    (Format::Csv, "labels.csv"),
    (Format::OneHot, "one_hot.csv"),
    (Format::Coco, "coco.json"),
    (Format::MegaDetector, "megadetector.json"),
    (Format::SpeciesNet, "speciesnet.json"),
    (Format::PytorchWildlife, "annotations.csv"),
    (Format::ZambaPredictions, "zamba.csv"),
    (Format::Predictions, "predictions.csv"),
    (Format::Submission, "submission.csv"),
];
const ONE_HOT: usize = 9;
const CAMTRAP: usize = 10;
const SPLIT: usize = 11;
const PREPARED: usize = 12;
const RESUMED: usize = 13;
const KINDS: usize = 14;

const LIMITS: Limits = Limits { max_pixels: 1 << 12, max_bytes: 1 << 16 };

fuzz_target!(init: seed(seeds()), |bytes: &[u8]| {
    let Some((kind, bytes)) = of_kind(bytes, KINDS) else { return };
    // A value of JSON takes up to 72 bytes and may stand in two of the file's; a place in it takes some more.
    within(512 * bytes.len() + (16 << 20), || match kind {
        ONE_HOT => {
            let [labels, features] = parts(bytes);
            file("conser/train_features.csv", features);
            let labels = file("conser/train_labels.csv", labels);
            table(Format::OneHot, &labels);
            data(&folder().join("conser"));
        }
        CAMTRAP => {
            let names = ["datapackage.json", "deployments.csv", "media.csv", "observations.csv"];
            for (name, part) in names.into_iter().zip(parts::<4>(bytes)) {
                file(&format!("camtrap/{name}"), part);
            }
            table(Format::CamtrapDp, &folder().join("camtrap"));
        }
        SPLIT => split(bytes),
        PREPARED => prepared(bytes),
        RESUMED => resumed(bytes),
        kind => {
            let (format, name) = FILES[kind];
            let path = file(&format!("one/{name}"), bytes);
            table(format, &path);
            data(&path);
            fs::remove_file(path).expect("it was just written");
        }
    });
});

fn wrong(error: &DataError) {
    told(error);
    if let Some(hint) = error.hint() {
        assert!(!hint.is_empty());
    }
}

/// A table that is read is a data set, and can be written and read again.
fn table(format: Format, path: &Path) {
    let report = validate(path, format);
    match &report {
        Ok(report) => assert!(!report.to_string().is_empty()),
        Err(error) => wrong(error),
    }
    if let Err(error) = detect(path) {
        wrong(&error);
    }
    let options = TableOptions { photos: Some(folder().to_owned()), ..TableOptions::default() };
    let table = match read_table(path, Some(format), &options) {
        Ok(table) => table,
        Err(error) => return wrong(&error),
    };
    sound(&table.clone().into_dataset());
    let photos = table.photos.iter().all(|photo| is_photo(Path::new(&photo.id)));
    // In its own format, and in another by chance.
    let formats: Vec<Format> = Format::ALL.into_iter().filter(|format| format.is_written()).collect();
    let other = formats[table.photos.len() % formats.len()];
    for written_as in formats.into_iter().filter(|one| *one == format || *one == other) {
        let out = folder().join("written").join(written_as.name());
        fs::create_dir_all(out.parent().expect("it has one")).expect("there is room");
        let out = match written_as {
            Format::CamtrapDp => out,
            Format::Coco | Format::MegaDetector | Format::SpeciesNet => out.with_extension("json"),
            _ => out.with_extension("csv"),
        };
        let options = WriteOptions { offset_minutes: Some(0), ..WriteOptions::default() };
        match write_table(&table, written_as, &out, &options, &mut |_| true) {
            Err(error) => wrong(&error),
            Ok(_) if written_as == Format::Submission => {}
            Ok(written) => {
                let again = read_table(&out, Some(written_as), &TableOptions::default());
                match again {
                    // Videos are left out by some.
                    Ok(again) if photos => assert_eq!(again.photos.len(), written.photos, "{written_as}"),
                    Ok(again) => assert!(again.photos.len() <= written.photos, "{written_as}"),
                    Err(error) => panic!("{written_as} is written and can't be read: {error}"),
                }
            }
        }
    }
}

/// As a training would read it.
fn data(path: &Path) {
    let options = ReadOptions { photos: None, skip_missing: true, allow_empty_class: false, crop: Some(0.1) };
    for read in [read(path, &options), read_labels(path, &options)] {
        match read {
            Ok(dataset) => {
                sound(&dataset);
                if let Err(error) = read_column(path, &dataset, "site") {
                    wrong(&error);
                }
            }
            Err(error) => wrong(&error),
        }
    }
}

fn sound(dataset: &Dataset) {
    for sample in &dataset.samples {
        assert!(sample.class.is_none_or(|class| class < dataset.classes.len()));
    }
    assert!(dataset.notes.iter().all(|note| !note.text.is_empty()));
    assert_eq!(dataset.hash(), dataset.hash());
}

fn split(bytes: &[u8]) {
    let path = file("split.csv", bytes);
    let dataset = photos();
    match Split::from_csv(&path, dataset) {
        Ok(split) => {
            let again = Split::from_csv(&file("again.csv", split.to_csv(dataset).as_bytes()), dataset);
            let again = again.expect("what was written can be read");
            assert_eq!((&again.parts, again.fold_count()), (&split.parts, split.fold_count()));
        }
        Err(error) => wrong(&error),
    }
    let earlier = Split::earlier(&path, dataset).err();
    let exactly = [None, Some(1)].map(|fold| Split::exactly(&path, dataset, fold, true).err());
    earlier.into_iter().chain(exactly.into_iter().flatten()).for_each(|error| wrong(&error));
}

/// A folder whose index and tables are the input's; its shards are whole.
fn prepared(bytes: &[u8]) {
    let root = template();
    let [index, train, test] = parts(bytes);
    for (name, part) in [("index.json", index), ("train_metadata.csv", train), ("test_metadata.csv", test)] {
        fs::write(root.join(name), part).expect("there is room");
    }
    match read_prepared(root) {
        Ok(Some(dataset)) => {
            sound(&dataset);
            for sample in dataset.samples.iter().take(8) {
                if let Err(error) = decode_stored(&sample.path, sample.stored.as_ref(), &LIMITS) {
                    assert!(!error.reason().is_empty());
                }
            }
        }
        Ok(None) => {}
        Err(error) => wrong(&error),
    }
}

/// A folder that is prepared further: plan and listings are the input's.
fn resumed(bytes: &[u8]) {
    let root = template();
    let [plan, listing, table] = parts(bytes);
    let names = ["prepare.json", "shards/photos-00000.json", "train_metadata.csv"];
    for (name, part) in names.into_iter().zip([plan, listing, table]) {
        fs::write(root.join(name), part).expect("there is room");
    }
    match pack(root) {
        Ok(()) => sound(&read_prepared(root).expect("it is whole").expect("it is prepared")),
        Err(error) => told(&*error),
    }
}

/// A data set of three photos.
fn photos() -> &'static Dataset {
    static DATASET: OnceLock<Dataset> = OnceLock::new();
    DATASET.get_or_init(|| {
        for (at, name) in ["cat/a", "cat/b", "dog/c"].into_iter().enumerate() {
            let path = file(&format!("photos/{name}.png"), b"");
            let picture = RgbImage::from_pixel(3, 2, image::Rgb([at as u8; 3]));
            picture.save_with_format(path, ImageFormat::Png).expect("there is room");
        }
        read(&folder().join("photos"), &ReadOptions::default()).expect("it is a data set")
    })
}

fn pack(root: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let settings = PrepareSettings {
        form: Form { size: Some(2), store: Store::Raw, quality: None, crop: None },
        shards: Some(1),
        machine: (0, 1),
        threads: 1,
        limits: LIMITS,
        overwrite: false,
    };
    let storage = StorageOptions::default();
    let input = Input::open(&photos().root, &ReadOptions::default(), &storage)?;
    prepare(&input, &Storage::open(root, &storage)?, &settings, &AtomicBool::new(false), &mut |_| {})?;
    Ok(())
}

/// A prepared folder, which inputs change.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let root = folder().join("prepared");
        pack(&root).expect("it can be prepared");
        root
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let root = template();
    let text = |name: &str| fs::read(root.join(name)).expect("it is there");
    let joined = |names: [&str; 3]| names.map(text).join(&0);
    let mut seeds = vec![
        kind(PREPARED as u8, joined(["index.json", "train_metadata.csv", "test_metadata.csv"])),
        kind(RESUMED as u8, joined(["prepare.json", "shards/photos-00000.json", "train_metadata.csv"])),
        kind(
            SPLIT as u8,
            "id,split,class,site,fold\ncat/a.png,train,cat,,1\ncat/b.png,val,cat,,2\ndog/c.png,test,dog,,\n",
        ),
        kind(ONE_HOT as u8, "id,blank,hog\na,1,0\nb,0,1\n\0id,filepath,site\na,f/a.jpg,S1\nb,f/b.jpg,S2\n"),
        kind(
            6,
            "filepath,detection_category,detection_conf,x1,y1,x2,y2,hog,blank\na.jpg,1,0.9,0.1,0.2,0.3,0.4,0.7,0.3\n",
        ),
        kind(
            7,
            "id,split,class,predicted,hog,lion,truncated,reason\na.jpg,test,hog,lion,0.2,0.8,false,\nb.jpg,test,,,,,,empty\n",
        ),
        kind(8, "id,hog,lion\na,0.5,0.5\nb,1,0\n"),
    ];
    // The same table in every format that is written.
    let table = "filepath,label,split,site,datetime\na/1.jpg,hog,train,S1,2023-04-05 06:07:08\na/2.jpg,blank,val,S1,\nb/3.jpg,lion,test,\"S, 2\",2023-04-05T06:07:08+02:00\n";
    let table = read_table(&file("first.csv", table.as_bytes()), Some(Format::Csv), &TableOptions::default());
    let table = table.expect("it is a table");
    let out = folder().join("seeds");
    fs::create_dir_all(&out).expect("there is room");
    for (number, (format, name)) in FILES.into_iter().enumerate() {
        let options = WriteOptions { offset_minutes: Some(0), ..WriteOptions::default() };
        if format.is_written()
            && write_table(&table, format, &out.join(name), &options, &mut |_| true).is_ok()
        {
            seeds.push(kind(number as u8, fs::read(out.join(name)).expect("it is there")));
        }
    }
    let package = [
        "{\"name\": \"a\", \"profile\": \"https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0/camtrap-dp-profile.json\", \"resources\": \
         [{\"name\": \"deployments\", \"path\": \"deployments.csv\"}, {\"name\": \"media\", \"path\": \"media.csv\"}, \
         {\"name\": \"observations\", \"path\": \"observations.csv\"}]}",
        "deploymentID,latitude,longitude,deploymentStart,deploymentEnd,locationID\nD,1.5,2.5,2023-04-05T06:07:08Z,2023-05-05T06:07:08Z,S\n",
        "mediaID,deploymentID,timestamp,filePath,filePublic,fileMediatype\nM,D,2023-04-05T06:07:08Z,a/1.jpg,true,image/jpeg\n",
        "observationID,deploymentID,mediaID,eventID,eventStart,eventEnd,observationLevel,observationType,scientificName,\
         classificationMethod,bboxX,bboxY,bboxWidth,bboxHeight\nO,D,M,E,2023-04-05T06:07:08Z,2023-04-05T06:07:08Z,media,animal,\
         Sus scrofa,human,0.1,0.2,0.3,0.4\n",
    ];
    seeds.push(kind(CAMTRAP as u8, package.join("\0")));
    seeds
}
