//! The log as lines of JSON, one for each record.
//!
//! ```text
//! {"record":0,"index":8,"time":"2026-11-21T10:00:00.123456789Z","size":4,"text":"abc\n"}
//! {"record":1,"index":20,"time":null,"size":2,"base64":"//8="}
//! ```
//!
//! How long a line is can be told only by making it: nothing on the disk says where one begins. So reading
//! goes on from a [`Place`], and `offsets` remembers some. A line is made in pieces, so that a record of any
//! size takes the memory of a piece.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::decimal::{DECIMAL_DIGITS, decimal};
use super::json;
use super::json::Clock;
use super::utf8::Utf8;
use immuta::{Entry, Log, RecordNo, Result, Run, Scratch};

/// What is read at a time of a record that is too large for a run. Of such a piece base64 makes whole groups.
const PIECE_BYTES: usize = 3 << 14;
/// What a line has beside its payload, about.
const FRAME_BYTES: u64 = 110;

/// Where making lines can be taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// In the lines, in bytes.
    pub(crate) offset: u64,
    /// The record whose line it is in.
    pub(crate) record: u64,
    /// How many bytes of the payload are before it; 0: so is nothing of the line.
    within: u64,
}

impl Place {
    /// The beginning of a record's line, if that is the first.
    pub(crate) fn of_record(record: u64) -> Place {
        Place {
            record,
            ..Place::default()
        }
    }

    /// How many bytes of the record's payload are before it.
    pub(crate) fn within(self) -> u64 {
        self.within
    }
}

/// How a payload is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Text,
    Base64,
}

/// A record of which a part was shown, after it was verified: the rest is read in pieces. To know how it is
/// shown takes reading it through, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Large {
    record: u64,
    shown: Shown,
}

/// Where a handle's last read ended, so that a reader who reads on needs no search. Only a hint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    /// Where it ended, in bytes.
    pub(crate) offset: u64,
    /// The last place before that, which may be some bytes away: a read ends anywhere.
    pub(crate) place: Place,
    pub(crate) large: Option<Large>,
}

/// Buffers to be used again, one for each thread.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) scratch: Scratch,
    piece: Vec<u8>,
    edge: Vec<u8>,
    clock: Clock,
}

/// What of the lines is wanted, and what has been made of it.
pub(crate) struct Window<'a> {
    from: u64,
    until: u64,
    /// Of the records from this one on nothing is wanted.
    end: u64,
    /// Nothing is wanted, only places: a line that is in memory is not parted.
    measures: bool,
    /// Where the next byte stands.
    at: u64,
    /// `until` is in the middle of what cannot be parted.
    cut: bool,
    out: &'a mut Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(from: u64, until: u64, out: &'a mut Vec<u8>) -> Window<'a> {
        Window {
            from,
            until,
            end: u64::MAX,
            measures: false,
            at: 0,
            cut: false,
            out,
        }
    }

    /// Leaves the records from `end` on away.
    pub(crate) fn before(self, end: u64) -> Window<'a> {
        Window { end, ..self }
    }

    /// For who wants to know a place at `until` or soon after it. Nothing is put into `out`.
    pub(crate) fn measuring(until: u64, out: &'a mut Vec<u8>) -> Window<'a> {
        Window {
            measures: true,
            ..Window::new(until, until, out)
        }
    }

    fn is_full(&self) -> bool {
        self.cut || self.at >= self.until
    }

    /// How many of so many bytes, from `at` on, are before `until`, and how many of those before `from`.
    fn part(&self, bytes: usize) -> (usize, usize) {
        if self.measures {
            return (bytes, bytes);
        }
        let clip = |to: u64, limit: usize| {
            usize::try_from(to.saturating_sub(self.at)).map_or(limit, |n| n.min(limit))
        };
        let before_end = clip(self.until, bytes);
        (before_end, clip(self.from, before_end))
    }

    /// How many bytes more are shown, and how many are passed before: one of both is 0.
    fn room(&self) -> (u64, u64) {
        match self.from.saturating_sub(self.at) {
            _ if self.measures => (0, u64::MAX),
            0 => (self.until.saturating_sub(self.at), 0),
            unwanted => (0, unwanted),
        }
    }

    /// Passes over bytes as far as the window goes, and shows what of them is wanted. Returns how many.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let (end, start) = self.part(bytes.len());
        self.out.extend_from_slice(&bytes[start..end]);
        self.at += end as u64;
        end
    }

    /// As [`Window::pass`], for what has to be taken up again from its beginning unless all of it was passed.
    /// Returns whether it was.
    fn pass_whole(&mut self, bytes: &[u8]) -> bool {
        let before = self.at;
        if self.pass(bytes) < bytes.len() {
            (self.at, self.cut) = (before, true);
        }
        !self.cut
    }
}

/// Makes lines from `place` on until the window is full or the log, or what is wanted of it, ends, and moves `place` along: to the last
/// one before the window's end.
///
/// # Errors
/// Those of [`Log::read_run`] and [`Log::verify_record`], for the record at `place`; what is before it has
/// been made.
pub(crate) fn make(
    log: &Log,
    place: &mut Place,
    large: &mut Option<Large>,
    window: &mut Window<'_>,
    buffers: &mut Buffers,
) -> Result<()> {
    let state = log.state();
    let end = state.count.min(window.end);
    window.at = place.offset;
    while !window.is_full() && place.record < end {
        // So much of the log fills the window, if the records here are like all of them.
        let average = (state.log_end / state.count).max(1);
        let wanted = u128::from(window.until - window.at) * u128::from(average)
            / u128::from(average + FRAME_BYTES);
        let Buffers {
            scratch,
            piece,
            edge,
            clock,
        } = &mut *buffers;
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let mut line = Line {
            place,
            window,
            edge,
            clock,
        };
        let record = line.place.record;
        if let Some(known) = large.filter(|known| known.record == record) {
            line.large(log, &log.entry(RecordNo(record))?, known.shown, piece)?;
            continue;
        }
        match log.read_run(RecordNo(record), wanted, scratch)? {
            Run::Records(records) => {
                let left = usize::try_from(end - record).unwrap_or(usize::MAX);
                for (entry, payload) in records.take(left) {
                    let shown = match std::str::from_utf8(payload) {
                        Ok(_) => Shown::Text,
                        Err(_) => Shown::Base64,
                    };
                    if !line.small(&entry, payload, shown) {
                        // Smaller ones are cheaper read again, together with those behind them.
                        if line.place.within > 0
                            && entry.size > line.window.until - line.window.from
                        {
                            let record = entry.record.0;
                            *large = Some(Large { record, shown });
                        }
                        break;
                    }
                }
            }
            Run::Large(entry) => {
                let shown = look_through(log, &entry)?;
                *large = Some(Large { record, shown });
                line.large(log, &entry, shown, piece)?;
            }
        }
    }
    Ok(())
}

/// Verifies a large record, and finds out how it is shown.
fn look_through(log: &Log, entry: &Entry) -> Result<Shown> {
    let mut utf8 = Utf8::default();
    log.verify_record_with(entry, |piece| utf8.push(piece))?;
    Ok(if utf8.is_whole() {
        Shown::Text
    } else {
        Shown::Base64
    })
}

/// The line that is being made.
struct Line<'a, 'b> {
    place: &'a mut Place,
    window: &'a mut Window<'b>,
    edge: &'a mut Vec<u8>,
    clock: &'a mut Clock,
}

impl Line<'_, '_> {
    /// Makes the line of a record whose payload is in memory. Returns whether the window goes on behind it.
    fn small(&mut self, entry: &Entry, payload: &[u8], shown: Shown) -> bool {
        let rest = usize::try_from(self.place.within).unwrap_or(usize::MAX);
        let rest = payload.get(rest..).unwrap_or_default();
        self.begin(entry, shown) && self.payload(rest, shown) && self.end()
    }

    /// As [`Line::small`], in pieces.
    fn large(
        &mut self,
        log: &Log,
        entry: &Entry,
        shown: Shown,
        piece: &mut Vec<u8>,
    ) -> Result<bool> {
        if !self.begin(entry, shown) {
            return Ok(false);
        }
        if shown == Shown::Base64 {
            self.skip_groups(entry.size);
        }
        while self.place.within < entry.size {
            // No byte becomes less than one.
            let room = usize::try_from(self.window.until.saturating_sub(self.window.at));
            piece.resize(
                room.map_or(PIECE_BYTES, |n| PIECE_BYTES.min(n / 3 * 3 + 3)),
                0,
            );
            let read = log.read_part(entry, self.place.within, piece)?;
            if !self.payload(&piece[..read], shown) || self.window.is_full() {
                return Ok(false);
            }
        }
        Ok(self.end())
    }

    /// What stands before the payload; nothing if that was passed earlier.
    fn begin(&mut self, entry: &Entry, shown: Shown) -> bool {
        if self.place.within > 0 {
            return true;
        }
        self.edge.clear();
        let mut digits = [0; DECIMAL_DIGITS];
        let mut number = |edge: &mut Vec<u8>, name: &[u8], n| {
            edge.extend_from_slice(name);
            edge.extend_from_slice(decimal(n, &mut digits).as_bytes());
        };
        number(self.edge, b"{\"record\":", entry.record.0);
        number(self.edge, b",\"index\":", entry.index.0);
        self.edge.extend_from_slice(b",\"time\":");
        self.clock.push(entry.time, self.edge);
        number(self.edge, b",\"size\":", entry.size);
        self.edge.extend_from_slice(match shown {
            Shown::Text => b",\"text\":\"",
            Shown::Base64 => b",\"base64\":\"",
        });
        self.window.pass_whole(self.edge)
    }

    /// What stands behind the payload, and on to the next record.
    fn end(&mut self) -> bool {
        let whole = self.window.pass_whole(b"\"}\n");
        if whole {
            *self.place = Place {
                offset: self.window.at,
                record: self.place.record + 1,
                within: 0,
            };
        }
        whole
    }

    fn payload(&mut self, bytes: &[u8], shown: Shown) -> bool {
        match shown {
            Shown::Text => self.text(bytes),
            Shown::Base64 => self.base64(bytes),
        }
    }

    /// So many more bytes of the payload have been passed. Before the first one, the place is the line's
    /// beginning.
    fn passed(&mut self, bytes: usize) {
        if bytes > 0 {
            self.place.within += bytes as u64;
            self.place.offset = self.window.at;
        }
    }

    fn text(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(first) = bytes.first() {
            // So many have a place in the window, or before it, however they are escaped.
            let (shown, unwanted) = self.window.room();
            let sure = |room: u64| {
                usize::try_from(room / json::MAX_ESCAPE_BYTES as u64)
                    .map_or(bytes.len(), |n| n.min(bytes.len()))
            };
            let (piece, rest) = bytes.split_at(sure(unwanted.max(shown)));
            if piece.is_empty() {
                if !self.window.pass_whole(json::escaped(*first)) {
                    return false;
                }
                self.passed(1);
                bytes = &bytes[1..];
                continue;
            }
            if unwanted > 0 {
                self.window.at += json::escaped_bytes(piece) as u64;
            } else {
                let before = self.window.out.len();
                json::push_escaped(piece, self.window.out);
                self.window.at += (self.window.out.len() - before) as u64;
            }
            self.passed(piece.len());
            bytes = rest;
        }
        true
    }

    /// Whole groups of three bytes, unless the payload ends.
    fn base64(&mut self, bytes: &[u8]) -> bool {
        const ENCODED: usize = 4096;
        let mut encoded = [0; ENCODED];
        for piece in bytes.chunks(ENCODED / 4 * 3) {
            let length = STANDARD
                .encode_slice(piece, &mut encoded)
                .unwrap_or_default();
            let (groups, last) = encoded[..length].split_at(self.window.part(length).0 & !3);
            self.window.pass(groups);
            self.passed(piece.len().min(groups.len() / 4 * 3));
            if let Some(last) = last.get(..4) {
                self.window.pass_whole(last);
                return false;
            }
        }
        true
    }

    /// Steps over what is not wanted of a payload whose groups all are of one length.
    fn skip_groups(&mut self, size: u64) {
        let unwanted = self.window.from.min(self.window.until);
        let groups = (unwanted.saturating_sub(self.window.at) / 4)
            .min(size.saturating_sub(self.place.within) / 3);
        if groups > 0 {
            self.window.at += groups * 4;
            self.place.within += groups * 3;
            self.place.offset = self.window.at;
        }
    }
}
