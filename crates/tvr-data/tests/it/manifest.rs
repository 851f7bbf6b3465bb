//! Tables of one's own videos, in every form, sound and broken.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use tvr_data::{Entry, Manifest};

use crate::shared::videos;

fn read(name: &str, text: &[u8]) -> Result<Manifest, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let place = format!("{}/", folder.path().display());
    Manifest::read(&path).map_err(|error| error.to_string().replace(&place, "")).map(|mut manifest| {
        for entry in &mut manifest.entries {
            entry.path = entry.path.strip_prefix(folder.path()).unwrap_or(&entry.path).to_owned();
        }
        manifest
    })
}

fn entry(id: &str, path: &str, captions: &[&str], split: Option<&str>) -> Entry {
    let captions = captions.iter().map(|&caption| caption.to_owned()).collect();
    Entry { id: id.into(), path: PathBuf::from(path), captions, split: split.map(str::to_owned) }
}

#[test]
fn all_forms_say_the_same() {
    let expected = [
        entry("a", "clips/a.mp4", &["a dog, running", "it says \"woof\"\tloudly"], Some("train")),
        entry("ü ../b", "b b.gif", &[], Some("test")),
        entry("c.mp4", "c.mp4", &["one"], None),
    ];
    let jsonl = r#"
{"id": "a", "path": "clips/a.mp4", "captions": ["a dog, running", "it says \"woof\"\tloudly"], "split": "train"}
{"id": "ü ../b", "path": "b b.gif", "captions": [], "split": "test", "licence": "none"}

{"path": "c.mp4", "caption": "one"}
"#;
    let csv = "\u{feff}id,path,caption,split,extra\r\na,clips/a.mp4,\"a dog, running\",train,1\r\n\
               a,clips/a.mp4,\"it says \"\"woof\"\"\tloudly\",train,2\r\nü ../b,b b.gif,,test,3\r\nc.mp4,c.mp4,one,,4\r\n";
    let tsv = "path\tid\tcaptions\tsplit\nclips/a.mp4\ta\t\"[\"\"a dog, running\"\", \"\"it says \\\"\"woof\\\"\"\\tloudly\"\"]\"\ttrain\n\
               b b.gif\tü ../b\t\ttest\nc.mp4\tc.mp4\t\"[\"\"one\"\"]\"\t\n";
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(jsonl.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    for (name, text) in [
        ("list.jsonl", jsonl.as_bytes()),
        ("list.csv", csv.as_bytes()),
        ("list.tsv", tsv.as_bytes()),
        ("LIST.JSONL.GZ", &packed),
    ] {
        let manifest = read(name, text).unwrap();
        assert_eq!(manifest.entries, expected, "{name}");
        assert_eq!(manifest.captions(), 3);
    }
    // An empty cell of a CSV is a blank caption; a missing one is none.
    assert_eq!(read("list.csv", csv.as_bytes()).unwrap().blank, ["ü ../b"]);
    assert!(read("list.jsonl", jsonl.as_bytes()).unwrap().blank.is_empty());
}

/// A Parquet file with id, path, split, and a list of captions.
fn parquet(path: &Path, rows: &[(&str, &str, &[&str])]) {
    let schema = "message list {
        optional binary id (UTF8); required binary path (UTF8);
        optional group captions (LIST) { repeated group list { optional binary element (UTF8); } }
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let bytes = |text: &str| ByteArray::from(text);
    let mut column =
        |values: Vec<ByteArray>, definitions: Option<Vec<i16>>, repetitions: Option<Vec<i16>>| {
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, definitions.as_deref(), repetitions.as_deref()).unwrap();
            column.close().unwrap();
        };
    let ids: Vec<ByteArray> = rows.iter().filter(|row| !row.0.is_empty()).map(|row| bytes(row.0)).collect();
    let given: Vec<i16> = rows.iter().map(|row| i16::from(!row.0.is_empty())).collect();
    column(ids, Some(given), None);
    column(rows.iter().map(|row| bytes(row.1)).collect(), None, None);
    let (mut texts, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    for (_, _, captions) in rows {
        if captions.is_empty() {
            definitions.push(1);
            repetitions.push(0);
        }
        for (number, caption) in captions.iter().enumerate() {
            texts.push(bytes(caption));
            definitions.push(3);
            repetitions.push(i16::from(number > 0));
        }
    }
    column(texts, Some(definitions), Some(repetitions));
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.parquet");
    parquet(&path, &[("a", "a.mp4", &["one", "two"]), ("", "b.mp4", &[]), ("c", "c.mp4", &[" "])]);
    let manifest = Manifest::read(&path).unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = [
        entry("a", &at("a.mp4"), &["one", "two"], None),
        entry("b.mp4", &at("b.mp4"), &[], None),
        entry("c", &at("c.mp4"), &[], None),
    ];
    assert_eq!(manifest.entries, expected);
    assert_eq!(manifest.blank, ["c"]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let error = Manifest::read(&path).unwrap_err().to_string();
    assert!(error.contains("list.parquet: cannot be read as Parquet: "), "{error}");
}

#[test]
fn what_is_wrong_is_named_with_its_row() {
    let says = |name: &str, text: &str, message: &str| {
        assert_eq!(read(name, text.as_bytes()).unwrap_err(), message);
    };
    says("l.txt", "x", "l.txt: ends in none of .jsonl, .csv, .tsv (each also with .gz) and .parquet");
    says("l.jsonl", "", "l.jsonl: has no row");
    says("l.csv", "id,path\n", "l.csv: has no row");
    says("l.csv", "id,file\na,b\n", "l.csv: has no column \"path\", only [\"id\", \"file\"]");
    says("l.jsonl", "{\"id\": \"a\"}", "l.jsonl: \"row 1\" has no path");
    says("l.jsonl", "{\"path\": \" \"}", "l.jsonl: \"row 1\" has no path");
    says("l.jsonl", "{\"id\": \"\", \"path\": \"a\"}", "l.jsonl: \"row 1\" has an empty id");
    says(
        "l.jsonl",
        "{\"path\": \"a\"}\n{\"path\": \"b\", \"capt",
        "l.jsonl: \"row 2\" is no such JSON: EOF while parsing a string at line 1 column 19; the file may be cut off",
    );
    says(
        "l.jsonl",
        "{\"path\": 5}",
        "l.jsonl: \"row 1\" is no such JSON: invalid type: integer `5`, expected a string at line 1 column 10",
    );
    says("l.csv", "id,path\na,x.mp4\na,y.mp4\n", "l.csv: \"row 3\" gives \"a\" another path than \"x.mp4\"");
    says("l.csv", "id,path,split\na,x,train\na,x,test\n", "l.csv: \"row 3\" gives \"a\" another split");
    says(
        "l.csv",
        "path,captions\nx,a dog\n",
        "l.csv: \"row 2\" captions are no JSON list: expected value at line 1 column 1; name the column \"caption\" \
         for one a row",
    );
    says(
        "l.csv",
        "id,path,caption\na,x,a dog\nb,y,\"a cat\nc,z,a hat\n",
        "l.csv: \"row 3\" opens a quote that nothing closes; within quotes, a quote is written twice",
    );
    // A quote within a cell stands for itself.
    assert_eq!(read("l.tsv", b"path\tcaption\nx\ta 5\" disk\ny\ta hat\n").unwrap().entries.len(), 2);
    let error = read("l.csv", "id,path\na,b,c\n".as_bytes()).unwrap_err();
    assert!(error.starts_with("l.csv: \"row 2\" CSV error: "), "{error}");
    let error = read("l.jsonl", b"{\"path\": \"a\"}\n{\"path\": \"\xff\"}").unwrap_err();
    assert_eq!(error, "l.jsonl: \"line 2\" is not UTF-8; save the table as UTF-8");
    let error = read("l.jsonl.gz", b"no gzip").unwrap_err();
    assert!(error.starts_with("l.jsonl.gz: cannot read: "), "{error}");
    let error = Manifest::read(Path::new("no/such.jsonl")).unwrap_err().to_string();
    assert!(error.starts_with("no/such.jsonl: cannot open: "), "{error}");
}

#[test]
fn a_blank_split_is_none_in_every_form() {
    let jsonl = "{\"path\": \"a\", \"split\": \"test\"}\n{\"path\": \"a\", \"split\": \"\"}\n{\"path\": \"a\", \"split\": \" \"}\n";
    let csv = "path,split\na,test\na,\na, \n";
    for (name, text) in [("list.jsonl", jsonl), ("list.csv", csv)] {
        let entries = read(name, text.as_bytes()).unwrap().entries;
        assert_eq!((entries.len(), entries[0].split.as_deref()), (1, Some("test")), "{name}");
    }
}

#[test]
fn captions_may_be_long_and_blank_ones_are_counted() {
    let long = vec!["word"; 10_000].join(" ");
    let text = format!("{{\"path\": \"a\", \"captions\": [\"\", \"{long}\", \"  \\t\", \"short\"]}}");
    let manifest = read("l.jsonl", text.as_bytes()).unwrap();
    assert_eq!(manifest.entries[0].captions, [long, "short".into()]);
    assert_eq!(manifest.blank, ["a", "a"]);
}

#[test]
fn the_real_manifest_has_its_counts() {
    let Some(folder) = videos() else { return };
    let manifest = Manifest::read(&folder.join("manifest.jsonl")).unwrap();
    assert_eq!(manifest.entries.len(), 30);
    assert_eq!(manifest.entries.iter().filter(|entry| entry.captions.is_empty()).count(), 3);
    assert!(manifest.entries.iter().all(|entry| entry.path.is_file()));
    let msrvtt: Vec<&Entry> =
        manifest.entries.iter().filter(|entry| entry.path.parent().unwrap().ends_with("msrvtt")).collect();
    assert_eq!((msrvtt.len(), msrvtt.iter().map(|entry| entry.captions.len()).sum::<usize>()), (19, 380));
}

proptest! {
    #[test]
    fn any_text_is_a_manifest_or_an_error(text in "[\\PC\n\t\",]{0,200}", form in 0usize..3, headed: bool) {
        // Without a head nearly every text is refused for that alone.
        let (name, head) =
            [("l.jsonl", "{\"path\": \"a\"}\n"), ("l.csv", "path,id\n"), ("l.tsv", "id\tpath\n")][form];
        let text = if headed { format!("{head}{text}") } else { text };
        if let Ok(manifest) = read(name, text.as_bytes()) {
            prop_assert!(!manifest.entries.is_empty());
            prop_assert!(manifest.entries.iter().all(|entry| !entry.id.trim().is_empty()));
            let ids: HashSet<&String> = manifest.entries.iter().map(|entry| &entry.id).collect();
            prop_assert_eq!(ids.len(), manifest.entries.len(), "an id is one video's");
        }
    }

    #[test]
    fn any_bytes_are_a_manifest_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), form in 0usize..5) {
        let name = ["l.jsonl", "l.csv", "l.tsv", "l.jsonl.gz", "l.parquet"][form];
        let _ = read(name, &bytes);
    }

    #[test]
    fn a_damaged_manifest_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), form in 0usize..2,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(["l.parquet", "l.jsonl.gz"][form]);
        match form {
            0 => parquet(&path, &[("a", "a.mp4", &["one", "two"]), ("b", "b.mp4", &[])]),
            _ => {
                let mut packed = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
                packed.write_all(b"{\"path\": \"a\", \"captions\": [\"one\"]}\n").unwrap();
                packed.finish().unwrap();
            }
        }
        let mut bytes = std::fs::read(&path).unwrap();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        std::fs::write(&path, bytes).unwrap();
        let _ = Manifest::read(&path);
    }

    #[test]
    fn what_is_written_as_csv_is_read(
        rows in prop::collection::btree_map("[^\0]{1,12}", ("[^\0]{1,12}", "[^\0]{0,20}"), 1..6),
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["id", "path", "caption"]).unwrap();
        for (id, (path, caption)) in &rows {
            writer.write_record([id, path, caption]).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let sound = rows.iter().all(|(id, (path, _))| !id.trim().is_empty() && !path.trim().is_empty());
        let manifest = read("l.csv", &text);
        prop_assert_eq!(manifest.is_ok(), sound, "{:?}", manifest);
        if let Ok(manifest) = manifest {
            let ids: Vec<&String> = manifest.entries.iter().map(|entry| &entry.id).collect();
            prop_assert_eq!(ids, rows.keys().collect::<Vec<_>>());
        }
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_a_table_stays_and_what_it_leads_to_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (link, table) = (folder.path().join("list.jsonl"), folder.path().join("elsewhere.jsonl"));
    std::fs::write(&table, "old").unwrap();
    std::os::unix::fs::symlink("elsewhere.jsonl", &link).unwrap();
    Manifest::write(&link, &[entry("a", "a.mp4", &["one"], None)]).unwrap();
    assert!(link.is_symlink());
    assert_eq!(Manifest::read(&table).unwrap().entries[0].captions, ["one"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "a leftover");
    // Nothing is there yet, and a link leads on to a link.
    std::fs::remove_file(&table).unwrap();
    let above = folder.path().join("above.jsonl");
    std::os::unix::fs::symlink(&link, &above).unwrap();
    Manifest::write(&above, &[entry("a", "a.mp4", &["two"], None)]).unwrap();
    assert!(link.is_symlink() && above.is_symlink());
    assert_eq!(Manifest::read(&table).unwrap().entries[0].captions, ["two"]);
    // What leads round in a circle leads to no place.
    std::fs::remove_file(&table).unwrap();
    std::os::unix::fs::symlink("above.jsonl", &table).unwrap();
    let error = Manifest::write(&above, &[entry("a", "a.mp4", &["one"], None)]).unwrap_err().to_string();
    assert!(error.contains("above.jsonl: cannot write: "), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "a leftover");
}
