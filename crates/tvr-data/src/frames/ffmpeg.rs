//! Video files, by the programs of FFmpeg.
//!
//! ```text
//! promise   the container's header is read here                                      → a guess of the same three
//! packets   one process for several files: every packet is listed, none decoded      → frames to expect, rate, stream
//! pictures  one process for several files: decoded from the start, chosen ones sent  → PPM over one pipe for each
//!           and every frame that comes out counted                                   → a listing for each
//!           and, after a guess, every packet listed                                  → a listing for each
//! ```
//!
//! A program of FFmpeg takes half as long to start as a ten-second clip takes to decode, so files share processes, and a
//! file that has a [`promise`] is not looked at before: its choice is made by the guess, and again by its packets where
//! these lead to another. Processes keep decoders of hostile files outside of this one, where a crash or an endless loop
//! costs one clip, and ask for nothing at compile time.
//!
//! Whatever is not as expected in a shared process, which has the time limit of one file, is done again file by file, so
//! that every complaint has its file and every file its own time limit. If the number of frames is not what the packets
//! promised, the choice is made again for the frames that are there.

use std::io::PipeReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::packets::{self, Stream};
use super::pictures::{Choice, receive};
use super::process::{self, Ended};
use super::promise::promised;
use super::{Decoder, Fault, Footage, Picture, Verdict, Wanted};
use crate::error::DataError;

/// Pixels of one frame, summed over the files of a process: what its decoders may hold is some 30 times as much.
const PIXELS: usize = 8 << 20;

/// Frames of the files that share a process, in sum: a minute or two of work. Long files get one of their own.
const FRAMES: usize = 100_000;

/// Seconds between the times of two files in one process: more than one lasts.
const FAR: usize = 100_000;

/// Seconds over which the files of one process are laid out: FFmpeg drops times that jump by more than 30 hours
/// (`dts_error_threshold` in its `ffmpeg_opt.c`).
const SPAN: usize = 100_000;

/// FFmpeg's program, found and asked for its version.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    program: PathBuf,
    version: String,
    passthrough: [&'static str; 2],
}

/// What is known of a file before it is decoded.
#[derive(Clone, Debug)]
struct Known {
    stream: Stream,
    complaint: Option<String>,
}

/// A file to decode, with its chosen frames.
#[derive(Clone, Debug)]
struct Job<'a> {
    file: Wanted<'a>,
    known: Known,
    /// Whether what is known is the promise of a header.
    guessed: bool,
    indices: Vec<usize>,
}

/// What came of it.
#[derive(Debug)]
struct Got {
    pictures: Vec<(usize, Picture)>,
    total: usize,
    /// The streams by their packets, where those were guessed.
    listed: Vec<Stream>,
}

impl Ffmpeg {
    /// The program that the variable `TVR_FFMPEG` names, else `ffmpeg` of the search path.
    ///
    /// # Errors
    /// One that cannot be run, with how to install it.
    pub fn find() -> Result<Self, DataError> {
        Self::at(&std::env::var_os("TVR_FFMPEG").map_or_else(|| PathBuf::from("ffmpeg"), PathBuf::from))
    }

    /// This program.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn at(program: &Path) -> Result<Self, DataError> {
        let failed = |cause: String| DataError::Ffmpeg { program: program.to_path_buf(), cause };
        let output = Command::new(program)
            .args(["-nostdin", "-version"])
            .output()
            .map_err(|cause| failed(cause.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.strip_prefix("ffmpeg version ").and_then(|rest| rest.split_whitespace().next());
        let version = version.ok_or_else(|| failed("it does not say that it is FFmpeg".into()))?.to_owned();
        // The older name of the option went with FFmpeg 8, the newer one came with 5.1.
        let mut numbers = version.split(['.', '-']).map(|number| number.parse::<u32>().ok());
        let passthrough = match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), minor) if (major, minor.unwrap_or(0)) < (5, 1) => ["-vsync", "passthrough"],
            _ => ["-fps_mode", "passthrough"],
        };
        Ok(Self { program: program.to_path_buf(), version, passthrough })
    }

    /// For a decoder to which none was given.
    pub(super) fn missing() -> DataError {
        DataError::Ffmpeg { program: PathBuf::from("ffmpeg"), cause: "it was not looked for".into() }
    }

    /// Its version, such as `5.1.9-0+deb12u1`: part of a store's key, since another version may decode other bits.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The pictures of some files, in their order.
    pub(super) fn decode(
        &self,
        files: &[Wanted<'_>],
        decoder: &Decoder<'_>,
    ) -> Result<Vec<Result<Footage, Fault>>, DataError> {
        let mut results: Vec<Option<Result<Footage, Fault>>> = vec![None; files.len()];
        let job = |place: usize, known: Known, guessed: bool| {
            let (file, stream) = (files[place], &known.stream);
            let indices = decoder.sampler.indices(stream.frames, stream.rate(), file.number);
            (place, Job { file, known, guessed, indices })
        };
        let (mut jobs, mut dark) = (Vec::new(), Vec::new());
        for (place, file) in files.iter().enumerate() {
            // A header that promises anything speaks of one stream alone.
            match promised(file.path).filter(|_| file.stream.is_none()) {
                Some(stream) => jobs.push(job(place, Known { stream, complaint: None }, true)),
                None => dark.push(place),
            }
        }
        let unseen: Vec<Wanted<'_>> = dark.iter().map(|&place| files[place]).collect();
        for (place, known) in dark.into_iter().zip(self.look(&unseen, decoder.limit)?) {
            match known {
                Err(fault) => results[place] = Some(Err(fault)),
                Ok(known) => jobs.push(job(place, known, false)),
            }
        }
        while !jobs.is_empty() {
            let (mut pixels, mut frames) = (0, 0);
            let fits = |(_, job): &&(usize, Job<'_>)| {
                let stream = &job.known.stream;
                pixels += stream.size[0] * stream.size[1];
                frames += stream.frames;
                pixels <= PIXELS && frames <= FRAMES
            };
            let together = jobs.iter().take_while(fits).count().max(1);
            let rest = jobs.split_off(together);
            let (places, group): (Vec<usize>, Vec<Job<'_>>) = jobs.into_iter().unzip();
            for (place, footage) in places.into_iter().zip(self.group(group, decoder)?) {
                results[place] = Some(footage);
            }
            jobs = rest;
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// The packets of some files.
    fn look(&self, files: &[Wanted<'_>], limit: Duration) -> Result<Vec<Result<Known, Fault>>, DataError> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let run = |files: &[Wanted<'_>]| {
            let scratch = scratch()?;
            let listing = |place: usize| scratch.path().join(format!("{place}.packets"));
            let mut command = self.command(files);
            for place in 0..files.len() {
                command.arg("-map").arg(format!("{place}:v"));
                command.args(["-c", "copy", "-f", "framecrc"]).arg(listing(place));
            }
            let (ended, _) = process::run(command, limit, 0, |_, _| ()).map_err(|cause| self.lost(cause))?;
            let listed =
                (0..files.len()).map(|place| std::fs::read_to_string(listing(place)).unwrap_or_default());
            Ok::<(Ended, Vec<String>), DataError>((ended, listed.collect()))
        };
        let (ended, listed) = run(files)?;
        if ended.clean() || files.len() == 1 {
            let one = |(file, text): (&Wanted<'_>, &String)| known(text, file.stream, &ended, limit);
            return Ok(files.iter().zip(&listed).map(one).collect());
        }
        let alone = |file: &Wanted<'_>| {
            run(&[*file]).map(|(ended, listed)| known(&listed.concat(), file.stream, &ended, limit))
        };
        files.iter().map(alone).collect()
    }

    /// Decodes files in one process, and again by themselves those that need it.
    fn group(
        &self,
        jobs: Vec<Job<'_>>,
        decoder: &Decoder<'_>,
    ) -> Result<Vec<Result<Footage, Fault>>, DataError> {
        let (ended, got) = self.pictures(&jobs, decoder)?;
        if !ended.clean() && (jobs.len() > 1 || jobs.iter().any(|job| job.guessed) && !ended.late) {
            let guessed: Vec<_> = jobs.iter().filter(|job| job.guessed).map(|job| job.file).collect();
            let mut looked = self.look(&guessed, decoder.limit)?.into_iter();
            let again = |mut job: Job<'_>| {
                if let Some(known) = job.guessed.then(|| looked.next()).flatten() {
                    match known {
                        Ok(known) => job.learn(known, decoder),
                        Err(fault) => return Ok(Err(fault)),
                    }
                }
                self.alone(job, decoder)
            };
            return jobs.into_iter().map(again).collect();
        }
        let finish = |(mut job, got): (Job<'_>, Got)| {
            if !job.guessed || ended.late {
                return self.settle(job, &ended, got, decoder);
            }
            // A rate on which header and packets agree is the file's; packets that are also decoded may be given other
            // times than those that are listed alone.
            let promised = &job.known.stream;
            let listed = packets::chosen(&got.listed, job.file.stream).filter(|listed| {
                listed.frames > 0 && listed.place == promised.place && listed.rate() == promised.rate()
            });
            let Some(stream) = listed else { return self.looked(job, decoder) };
            let chosen = std::mem::take(&mut job.indices);
            job.learn(Known { stream: stream.clone(), complaint: None }, decoder);
            if job.indices == chosen {
                self.settle(job, &ended, got, decoder)
            } else {
                self.alone(job, decoder)
            }
        };
        jobs.into_iter().zip(got).map(finish).collect()
    }

    /// Lists the packets of a file, then decodes it.
    fn looked(&self, mut job: Job<'_>, decoder: &Decoder<'_>) -> Result<Result<Footage, Fault>, DataError> {
        match self.look(&[job.file], decoder.limit)?.pop() {
            Some(Err(fault)) => return Ok(Err(fault)),
            Some(Ok(known)) => job.learn(known, decoder),
            None => {}
        }
        self.alone(job, decoder)
    }

    /// Decodes a file in a process of its own.
    fn alone(&self, job: Job<'_>, decoder: &Decoder<'_>) -> Result<Result<Footage, Fault>, DataError> {
        let (ended, got) = self.pictures(std::slice::from_ref(&job), decoder)?;
        match got.into_iter().next() {
            Some(got) => self.settle(job, &ended, got, decoder),
            None => Ok(Err(Fault::NoPicture { reason: "FFmpeg gave none and no reason".into() })),
        }
    }

    /// Turns what came out of a file into its footage; chooses and decodes again if there are other frames than the
    /// packets promised.
    fn settle(
        &self,
        mut job: Job<'_>,
        ended: &Ended,
        got: Got,
        decoder: &Decoder<'_>,
    ) -> Result<Result<Footage, Fault>, DataError> {
        if let Some(fault) = ended.cut_short(decoder.limit) {
            return Ok(Err(fault));
        }
        let rate = job.known.stream.rate();
        let indices = decoder.sampler.indices(got.total, rate, job.file.number);
        let complete = indices.iter().all(|index| got.pictures.iter().any(|(found, _)| found == index));
        let complaint = job.known.complaint.take().or_else(|| (!ended.clean()).then(|| ended.complaint()));
        if got.total == 0 {
            let reason = complaint.unwrap_or_else(|| "FFmpeg gave none and no reason".into());
            return Ok(Err(Fault::NoPicture { reason }));
        }
        if !complete {
            if job.known.stream.frames == got.total {
                let reason = complaint.unwrap_or_else(|| "FFmpeg sent other frames than it counted".into());
                return Ok(Err(Fault::NoPicture { reason }));
            }
            job.known.stream.frames = got.total;
            job.known.complaint = complaint;
            job.indices = indices;
            return self.alone(job, decoder);
        }
        let mut pictures: Vec<Picture> = Vec::with_capacity(indices.len());
        let mut sent = got.pictures.into_iter();
        for (place, index) in indices.iter().enumerate() {
            // One that is chosen twice is sent once.
            let again = place.checked_sub(1).filter(|&before| indices[before] == *index);
            let picture = match again.and_then(|before| pictures.get(before)) {
                Some(same) => Some(same.clone()),
                None => sent.find(|(found, _)| found == index).map(|(_, picture)| picture),
            };
            pictures.extend(picture);
        }
        let verdict = match complaint {
            Some(reason) => Verdict::Partial { reason },
            None => Verdict::Whole,
        };
        Ok(Ok(Footage { pictures, indices, total: got.total, rate, verdict }))
    }

    /// Decodes files in one process: the chosen frames of each over a pipe, and all of them counted.
    fn pictures(&self, jobs: &[Job<'_>], decoder: &Decoder<'_>) -> Result<(Ended, Vec<Got>), DataError> {
        let scratch = scratch()?;
        let listing = |place: usize| scratch.path().join(format!("{place}.frames"));
        let copied = |place: usize| scratch.path().join(format!("{place}.packets"));
        let files: Vec<Wanted<'_>> = jobs.iter().map(|job| job.file).collect();
        let chosen: Vec<Choice> = jobs.iter().map(|job| Choice::of(&job.indices)).collect();
        let mut command = self.command(&files);
        for (place, (job, choice)) in jobs.iter().zip(&chosen).enumerate() {
            let stream = format!("{place}:v:{}", job.known.stream.place);
            // One file after another: FFmpeg goes on with the output whose time is the least. Frames of many files in turn
            // push one another out of the processor's cache. Frames are a second apart: FFmpeg complains of two whose times
            // are one in its writer's clock.
            let own = format!("setpts=(N+{place}*{FAR})/TB");
            command.args(["-map", &stream, "-vf", &format!("select={},{own}", choice.expression)]);
            command.args(self.passthrough).args(["-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe"]);
            command.arg(format!("pipe:{}", 3 + place));
            // What is counted is never converted; its times are numbers, since a file's own may go backwards.
            command.args(["-map", &stream, "-vf", &own]).args(self.passthrough);
            command.args(["-c:v", "wrapped_avframe", "-f", "framecrc"]).arg(listing(place));
            if job.guessed {
                command.arg("-map").arg(format!("{place}:v"));
                command.args(["-c", "copy", "-f", "framecrc"]).arg(copied(place));
            }
        }
        let read = |place: usize, pipe: PipeReader| {
            let wanted = &jobs[place].indices;
            receive(pipe, &chosen[place], wanted, decoder.finish)
        };
        let (ended, pictures) =
            process::run(command, decoder.limit, jobs.len(), read).map_err(|cause| self.lost(cause))?;
        let streams = |path: PathBuf| packets::parse(&std::fs::read_to_string(path).unwrap_or_default());
        let got = pictures.into_iter().enumerate().map(|(place, pictures)| Got {
            pictures,
            total: streams(listing(place)).first().map_or(0, |stream| stream.frames),
            listed: if jobs[place].guessed { streams(copied(place)) } else { Vec::new() },
        });
        Ok((ended, got.collect()))
    }

    fn command(&self, files: &[Wanted<'_>]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-nostdin", "-v", "error", "-y", "-filter_threads", "1"]);
        for (place, file) in files.iter().enumerate() {
            // One file after another: FFmpeg goes on with the output whose time is the least.
            command.args(["-itsoffset", &(place * SPAN / files.len()).to_string()]);
            // `file:` and the list of protocols: a name with a colon is no address, and no playlist goes elsewhere.
            // One filter for the whole file: made anew where the size changes, it would count frames from 0 again.
            let mut name = std::ffi::OsString::from("file:");
            name.push(file.path);
            command
                .args(["-threads", "1", "-reinit_filter", "0", "-protocol_whitelist", "file", "-i"])
                .arg(name);
        }
        command
    }

    fn lost(&self, cause: std::io::Error) -> DataError {
        if process::is_of_the_disk(&cause) {
            return DataError::file(&std::env::temp_dir(), "write in")(cause);
        }
        DataError::Ffmpeg { program: self.program.clone(), cause: cause.to_string() }
    }
}

impl Job<'_> {
    /// Chooses anew by the packets.
    fn learn(&mut self, known: Known, decoder: &Decoder<'_>) {
        self.indices = decoder.sampler.indices(known.stream.frames, known.stream.rate(), self.file.number);
        self.known = known;
        self.guessed = false;
    }
}

/// What a listing of packets tells of a file, and of one of its streams.
fn known(listed: &str, place: Option<usize>, ended: &Ended, limit: Duration) -> Result<Known, Fault> {
    let streams = packets::parse(listed);
    let complaint = (!ended.clean()).then(|| ended.complaint());
    match (packets::chosen(&streams, place), ended.cut_short(limit)) {
        (Some(stream), _) if ended.well && stream.frames > 0 => {
            Ok(Known { stream: stream.clone(), complaint })
        }
        (_, Some(fault)) => Err(fault),
        _ if ended.said.contains("matches no streams") => Err(Fault::NoVideo),
        (Some(_), None) => Err(Fault::NoPicture { reason: ended.complaint() }),
        _ if !streams.is_empty() => Err(Fault::NoStream { streams: streams.len() }),
        _ => Err(Fault::Unreadable { reason: ended.complaint() }),
    }
}

fn scratch() -> Result<tempfile::TempDir, DataError> {
    let folder = std::env::temp_dir();
    tempfile::Builder::new().prefix("tvr-frames").tempdir().map_err(DataError::file(&folder, "write in"))
}
