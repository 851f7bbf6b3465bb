//! What the doctor found, as text.

use tvr_experiment::doctor::{Diagnosis, Examination};

use crate::count::count;
use crate::table::Table;

/// Ids of a kind that are printed; all of them are in the JSON.
const SHOWN: usize = 5;

/// Copies that are printed.
const COPIES: usize = 10;

/// Figures of a listing: title, and what is counted.
type Figure = (&'static str, fn(&Diagnosis) -> usize);

const FIGURES: [Figure; 12] = [
    ("videos", |found| found.videos),
    ("captions", |found| found.captions),
    ("here", |found| found.present.len()),
    ("missing", |found| found.missing.len()),
    ("empty", |found| found.zero_length.len()),
    ("broken", |found| found.corrupt.len()),
    ("partial", |found| found.partial.len()),
    ("left out", |found| found.quarantined.len()),
    ("no caption", |found| found.silent),
    ("blank", |found| found.blank),
    ("repeated", |found| found.repeated_within),
    ("shared", |found| found.repeated_across),
];

/// The whole examination.
pub(in crate::commands) fn said(found: &Examination) -> String {
    let mut text = format!(
        "{}: annotations in {}, {} below {}\n\n",
        found.benchmark,
        found.annotations.display(),
        count(found.files, "video file"),
        found.data_root.display()
    );
    let mut table = Table::new(&["listing"]).figures("", FIGURES.map(|(title, _)| title.to_owned()).to_vec());
    for listing in &found.listings {
        let mut cells = vec![listing.listing.to_owned()];
        cells.extend(FIGURES.iter().map(|(_, figure)| figure(listing).to_string()));
        table.row(cells);
    }
    text.push_str(&format!(
        "{table}\nrepeated: captions that repeat another of the same video; shared: captions that another video has too\n"
    ));
    for listing in &found.listings {
        of_listing(listing, &mut text);
    }
    for odd in &found.oddities {
        let listing = odd.listing.map_or(String::new(), |listing| format!("{listing}: "));
        text.push_str(&format!("{listing}{}: {}\n", odd.what, odd.count));
    }
    for absent in &found.absent {
        text.push_str(&format!("no file {} (for {})\n", absent.file, absent.needed_for));
    }
    let missing = found.listings.iter().any(|listing| !listing.missing.is_empty());
    if missing || !found.absent.is_empty() {
        text.push_str(&format!("what is missing comes from {}\n", found.origin));
    }
    let strays: Vec<String> = found.strays.iter().map(|path| path.display().to_string()).collect();
    some("video files that no listing names", strays.iter(), &mut text);
    some("not looked at", found.unreadable.iter(), &mut text);
    some("to be left out, but in no listing", found.unknown_quarantined.iter(), &mut text);
    text.push_str(&format!("{}: frames of {}\n", found.store.display(), count(found.ready, "video")));
    for path in &found.written {
        text.push_str(&format!("written: {}\n", path.display()));
    }
    text
}

fn of_listing(found: &Diagnosis, text: &mut String) {
    let name = found.listing;
    // Nobody looks for anything in what is trained on.
    if !name.starts_with("train") {
        text.push_str(&format!("{name}: the list is {}\n", found.listed_gallery));
        if found.present.len() < found.videos {
            text.push_str(&format!("{name}: what is here is {}\n", found.present_gallery));
        }
    }
    for (what, ids) in [
        ("missing", &found.missing),
        ("0 bytes", &found.zero_length),
        ("left out by the list", &found.quarantined),
        ("has several files, of which the first is taken", &found.ambiguous),
        ("names a path and is not looked for", &found.unsafe_ids),
    ] {
        some(&format!("{name}: {what}"), ids.iter(), text);
    }
    for (what, why) in [("broken", &found.corrupt), ("partial", &found.partial)] {
        for (id, reason) in why {
            text.push_str(&format!("{name}: {what}: {id:?}, {reason}\n"));
        }
    }
    for [test, train] in found.copies.iter().take(COPIES) {
        text.push_str(&format!("{name}: {test} shows what {train} shows, which is trained on\n"));
    }
    if found.copies.len() > COPIES {
        text.push_str(&format!("{name}: and {} more such pairs\n", found.copies.len() - COPIES));
    }
}

/// A few of a kind, and how many there are.
fn some<'a>(what: &str, ids: impl ExactSizeIterator<Item = &'a String>, text: &mut String) {
    let count = ids.len();
    if count == 0 {
        return;
    }
    let mut shown: Vec<String> = ids.take(SHOWN).map(|id| format!("{id:?}")).collect();
    if count > SHOWN {
        shown.push(format!("… ({count} in all)"));
    }
    text.push_str(&format!("{what}: {}\n", shown.join(", ")));
}
