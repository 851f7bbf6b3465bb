//! A hub of a few files.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha2::{Digest, Sha256};
use tvr_clip::hub::{Fetched, Hub};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What happens to the first GET of a file.
#[derive(Clone, Copy, PartialEq)]
enum Accident {
    /// Half of it comes, then the line is cut.
    Cut(&'static str),
    /// It is refused, after it was announced.
    Refused(&'static str),
}

#[derive(Default)]
struct Log {
    /// Files, in the order of their GETs, each with its range if it was asked for one.
    gets: Vec<String>,
    /// `authorization` of every request, empty where it had none.
    tokens: Vec<String>,
    accident: Option<Accident>,
    /// Ranges are passed over, and the whole file comes.
    without_ranges: bool,
}

struct Server {
    address: String,
    log: Arc<Mutex<Log>>,
}

impl Server {
    fn gets(&self) -> Vec<String> {
        self.log.lock().unwrap().gets.clone()
    }

    fn hub(&self, cache: &Path) -> Hub {
        Hub { endpoint: Some(self.address.clone()), cache: Some(cache.to_owned()), offline: false }
    }
}

fn serve(files: BTreeMap<&'static str, Vec<u8>>, accident: Option<Accident>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let log = Arc::new(Mutex::new(Log { accident, ..Log::default() }));
    let seen = log.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (files, seen) = (files.clone(), seen.clone());
            std::thread::spawn(move || answer(stream, &files, &seen));
        }
    });
    Server { address, log }
}

/// The name under which the cache keeps a file: that of its weights is what they hash to.
fn etag(file: &str, bytes: &[u8]) -> String {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if file.ends_with(".safetensors") { digits(&Sha256::digest(bytes)) } else { format!("{file}-1") }
}

/// What the hub tells of files: of weights their hash.
fn paths_info(files: &BTreeMap<&str, Vec<u8>>) -> Vec<u8> {
    let entry = |(path, bytes): (&&str, &Vec<u8>)| {
        let lfs = json!({ "size": bytes.len(), "sha256": etag(path, bytes), "pointerSize": 130 });
        let lfs = if path.ends_with(".safetensors") { lfs } else { serde_json::Value::Null };
        json!({ "type": "file", "oid": "0", "size": bytes.len(), "path": path, "lfs": lfs })
    };
    serde_json::to_vec(&files.iter().map(entry).collect::<Vec<_>>()).unwrap()
}

fn answer(mut stream: TcpStream, files: &BTreeMap<&str, Vec<u8>>, log: &Mutex<Log>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).map_or_else(|_| String::new(), |_| line.trim_end().to_owned())
    };
    let request = line();
    let head: Vec<String> = std::iter::repeat_with(line).take_while(|line| !line.is_empty()).collect();
    let header = |wanted: &str| {
        let mut named = head.iter().filter_map(|line| line.split_once(": "));
        named.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_owned())
    };
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let file = path.rsplit('/').next().unwrap_or("");
    let mut log = log.lock().unwrap();
    log.tokens.push(header("authorization").unwrap_or_default());
    if (method, path) == ("POST", format!("/api/models/owner/model/paths-info/{COMMIT}").as_str()) {
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        reader.take(length).read_to_end(&mut Vec::new()).unwrap();
        let body = paths_info(files);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        return stream.write_all(&body).unwrap();
    }
    let Some(bytes) = files.get(file).filter(|_| path.starts_with("/owner/model/resolve/")) else {
        let head = "HTTP/1.1 404 Not Found\r\nx-error-code: EntryNotFound\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return stream.write_all(head.as_bytes()).unwrap();
    };
    let range = header("range").filter(|_| method == "GET");
    let part = range.as_ref().filter(|_| !log.without_ranges).map(|range| {
        let (start, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        start.parse().unwrap()..last.parse::<usize>().unwrap() + 1
    });
    let status = if part.is_some() { "206 Partial Content" } else { "200 OK" };
    let body = &bytes[part.unwrap_or(0..bytes.len())];
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\netag: \"{}\"\r\nx-repo-commit: {COMMIT}\r\nconnection: close\r\n\r\n",
        body.len(),
        etag(file, bytes)
    );
    if method != "GET" {
        return stream.write_all(head.as_bytes()).unwrap();
    }
    log.gets.push(range.map_or(file.to_owned(), |range| format!("{file} {range}")));
    match log.accident {
        Some(Accident::Cut(cut)) if cut == file => {
            log.accident = None;
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body[..body.len() / 2]).unwrap();
        }
        Some(Accident::Refused(refused)) if refused == file => {
            log.accident = None;
            let head = "HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnay!";
            stream.write_all(head.as_bytes()).unwrap();
        }
        _ => {
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
        }
    }
}

fn files() -> BTreeMap<&'static str, Vec<u8>> {
    let index =
        br#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}}"#;
    BTreeMap::from([
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index.to_vec()),
        ("one.safetensors", vec![1; 70_000]),
        ("two.safetensors", vec![2; 10]),
    ])
}

fn assert_whole(folder: &Path) {
    for (name, bytes) in files() {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), bytes, "{name}");
    }
}

#[test]
fn a_repository_is_fetched_once_and_then_comes_from_the_cache() {
    let (server, cache) = (serve(files(), None), tempfile::tempdir().unwrap());
    let hub = server.hub(cache.path());
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let progress =
        Arc::new(move |at: &Fetched<'_>| tell.lock().unwrap().push((at.file.to_owned(), at.done, at.total)));
    let folder = hub.folder("owner/model", progress).unwrap();
    assert!(folder.ends_with(COMMIT), "{}", folder.display());
    assert_whole(&folder);
    let end = ("one.safetensors".to_owned(), 70_000, 70_000);
    assert!(told.lock().unwrap().contains(&end), "the end of a download is told");

    let before = server.gets();
    assert_eq!(hub.folder("owner/model", Arc::new(|_| ())).unwrap(), folder);
    assert_eq!(server.gets(), before, "a file was fetched twice");

    let offline = Hub { endpoint: Some("http://127.0.0.1:9".into()), offline: true, ..hub };
    assert_eq!(offline.folder("owner/model", Arc::new(|_| ())).unwrap(), folder);
    let message = offline.folder("owner/other", Arc::new(|_| ())).unwrap_err().to_string();
    assert_eq!(
        message,
        "owner/other: it has neither config.json nor open_clip_config.json (HF_HUB_OFFLINE is set: the cache \
         alone was asked)"
    );
}

/// A download of which `one.safetensors` has come by half; where that lies.
fn interrupted(files: BTreeMap<&'static str, Vec<u8>>, hub: impl Fn(&Server) -> Hub) -> (Server, PathBuf) {
    let name = etag("one.safetensors", &files["one.safetensors"]);
    let half = files["one.safetensors"].len() as u64 / 2;
    let server = serve(files, Some(Accident::Cut("one.safetensors")));
    let hub = hub(&server);
    let message = hub.folder("owner/model", Arc::new(|_| ())).unwrap_err().to_string();
    assert!(message.starts_with("owner/model: one.safetensors: "), "{message}");
    let blobs = hub.cache.unwrap().join("models--owner--model/blobs");
    let part = blobs.join(format!("{name}.incomplete"));
    assert_eq!(part.metadata().unwrap().len(), half);
    (server, part)
}

#[test]
fn an_interrupted_download_goes_on_at_the_byte_where_it_was() {
    let cache = tempfile::tempdir().unwrap();
    let (server, part) = interrupted(files(), |server| server.hub(cache.path()));
    let before = server.gets().len();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let progress = Arc::new(move |at: &Fetched<'_>| tell.lock().unwrap().push((at.file.to_owned(), at.done)));
    let folder = server.hub(cache.path()).folder("owner/model", progress).unwrap();
    assert_eq!(server.gets()[before..], ["one.safetensors bytes=35000-69999", "two.safetensors"]);
    assert_whole(&folder);
    assert!(!part.exists());
    let told: Vec<u64> = {
        let told = told.lock().unwrap();
        told.iter().filter(|(file, _)| file == "one.safetensors").map(|(_, done)| *done).collect()
    };
    assert_eq!((told[0], told.iter().max()), (35_000, Some(&70_000)), "what had come is told: {told:?}");
}

/// 20 MiB, of which pieces of 8 MiB are asked for; the second of them is cut as well.
#[test]
fn the_rest_comes_in_pieces_and_each_of_them_is_kept() {
    let large = || {
        let bytes = (0..20u32 << 18).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes());
        let mut files = files();
        files.insert("one.safetensors", bytes.collect());
        files
    };
    let cache = tempfile::tempdir().unwrap();
    let (server, part) = interrupted(large(), |server| server.hub(cache.path()));
    let before = server.gets().len();
    let mebibytes =
        |from: usize, to: usize| format!("one.safetensors bytes={}-{}", from << 20, (to << 20) - 1);
    // The cut comes in the second piece.
    let log = server.log.clone();
    let cut_the_next = Arc::new(move |at: &Fetched<'_>| {
        if at.file == "one.safetensors" && at.done == 18 << 20 {
            log.lock().unwrap().accident = Some(Accident::Cut("one.safetensors"));
        }
    });
    let message = server.hub(cache.path()).folder("owner/model", cut_the_next).unwrap_err().to_string();
    assert!(message.starts_with("owner/model: one.safetensors: "), "{message}");
    assert_eq!(server.gets()[before..], [mebibytes(10, 18), mebibytes(18, 20)]);
    assert_eq!(part.metadata().unwrap().len(), 18 << 20, "the first piece is kept");
    let folder = server.hub(cache.path()).folder("owner/model", Arc::new(|_| ())).unwrap();
    assert_eq!(server.gets()[before + 2..], [mebibytes(18, 20), "two.safetensors".to_owned()]);
    assert!(std::fs::read(folder.join("one.safetensors")).unwrap() == large()["one.safetensors"]);
}

#[test]
fn what_is_not_of_the_hash_is_fetched_anew() {
    let cache = tempfile::tempdir().unwrap();
    let (server, part) = interrupted(files(), |server| server.hub(cache.path()));
    std::fs::write(&part, vec![9; 35_000]).unwrap();
    let before = server.gets().len();
    let folder = server.hub(cache.path()).folder("owner/model", Arc::new(|_| ())).unwrap();
    let rest = "one.safetensors bytes=35000-69999";
    assert_eq!(server.gets()[before..], [rest, "one.safetensors", "two.safetensors"]);
    assert_whole(&folder);
}

#[test]
fn a_server_without_ranges_sends_the_file_anew() {
    let cache = tempfile::tempdir().unwrap();
    let (server, _) = interrupted(files(), |server| server.hub(cache.path()));
    server.log.lock().unwrap().without_ranges = true;
    let before = server.gets().len();
    let folder = server.hub(cache.path()).folder("owner/model", Arc::new(|_| ())).unwrap();
    let rest = "one.safetensors bytes=35000-69999";
    assert_eq!(server.gets()[before..], [rest, "one.safetensors", "two.safetensors"]);
    assert_whole(&folder);
}

#[test]
fn what_is_refused_leaves_nothing_and_is_fetched_by_the_next() {
    let accident = Some(Accident::Refused("one.safetensors"));
    let (server, cache) = (serve(files(), accident), tempfile::tempdir().unwrap());
    let hub = server.hub(cache.path());
    let message = hub.folder("owner/model", Arc::new(|_| ())).unwrap_err().to_string();
    let sentence = "owner/model: one.safetensors: 4 bytes came in place of 70000; ask again";
    assert_eq!(message, sentence);
    let before = server.gets().len();
    let folder = hub.folder("owner/model", Arc::new(|_| ())).unwrap();
    assert_eq!(server.gets()[before..], ["one.safetensors", "two.safetensors"]);
    assert_whole(&folder);
}

/// The environment belongs to all tests of a process, so it is read in one of its own.
#[test]
fn the_environment_names_endpoint_cache_token_and_offline() {
    let (server, home) = (serve(files(), None), tempfile::tempdir().unwrap());
    let child = |endpoint: &str, offline: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hub::server::child", "--ignored", "--nocapture"])
            .env("HF_ENDPOINT", endpoint)
            .env("HF_HOME", home.path())
            .env("HF_TOKEN", "secret")
            .env("HF_HUB_OFFLINE", offline)
            .env_remove("HF_HUB_CACHE")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        text
    };
    let folder = home.path().join("hub/models--owner--model/snapshots").join(COMMIT);
    let said = format!("folder {}\n", folder.display());
    assert!(child(&server.address, "0").contains(&said));
    assert_whole(&folder);
    let log = server.log.lock().unwrap();
    assert!(!log.tokens.is_empty() && log.tokens.iter().all(|token| token == "Bearer secret"));
    drop(log);
    let before = server.log.lock().unwrap().tokens.len();
    assert!(child(&server.address, "1").contains(&said));
    assert_eq!(server.log.lock().unwrap().tokens.len(), before, "nobody is asked");
}

#[test]
#[ignore = "run by the test of the environment, in a process of its own"]
fn child() {
    let folder = Hub::from_environment().folder("owner/model", Arc::new(|_| ())).unwrap();
    println!("folder {}", folder.display());
}

#[test]
fn a_repository_without_safetensors_says_so() {
    let server = serve(BTreeMap::from([("config.json", b"{}".to_vec())]), None);
    let cache = tempfile::tempdir().unwrap();
    let message = server.hub(cache.path()).folder("owner/model", Arc::new(|_| ())).unwrap_err().to_string();
    assert!(message.starts_with("owner/model: it has no safetensors (model.safetensors, "), "{message}");
}
