//! Makes the lines of JSON that show a log, one for each record.
//!
//! ```text
//! {"record":0,"index":8,"time":"2026-11-21T10:00:00.123456789Z","size":4,"text":"abc\n"}
//! {"record":1,"index":20,"time":null,"size":2,"base64":"//8="}
//! ```
//!
//! The length of a line is known only when it has been made: nothing on the disk tells where a line begins. So making lines
//! continues from a [`Place`], and `json_index` remembers some places. A line is made in pieces, so that a record of any size
//! takes the memory of one piece.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::decimal::{DECIMAL_DIGITS, decimal};
use super::json;
use super::json::Clock;
use super::utf8::Utf8;
use immuta::{Entry, Log, RecordNo, Result, Run, Scratch};

/// Bytes that are read at a time of a record that is too large for a run. A multiple of 3: base64 makes whole groups of
/// it.
const PIECE_BYTES: usize = 3 << 14;
/// About how many bytes a line has beside its payload.
const FRAME_BYTES: u64 = 110;

/// A place in the lines from which making them can continue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its offset in the lines, in bytes.
    pub(crate) offset: u64,
    /// The record whose line it is in.
    pub(crate) record: u64,
    /// How many bytes of the payload are before it; 0: it is the beginning of the line.
    within: u64,
}

impl Place {
    /// The beginning of the line of a record, if the lines begin with it.
    pub(crate) fn of_record(record: u64) -> Place {
        Place {
            record,
            ..Place::default()
        }
    }

    /// How many bytes of the payload of its record are before it.
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

/// A record of which a part has been shown: it has been read once to verify it and to tell whether it is text, and the rest
/// is read in pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Large {
    record: u64,
    shown: Shown,
}

/// Where the last read of a handle ended, so that a sequential reader needs no search. Only a hint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    /// Its end, in bytes.
    pub(crate) offset: u64,
    /// The last place before the end: a read may end some bytes behind a place.
    pub(crate) place: Place,
    pub(crate) large: Option<Large>,
}

/// Buffers for making lines, to be used again.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) scratch: Scratch,
    piece: Vec<u8>,
    edge: Vec<u8>,
    clock: Clock,
}

/// Which bytes of the lines are wanted, and the bytes made so far.
pub(crate) struct Window<'a> {
    from: u64,
    until: u64,
    /// Lines end before this record.
    end: u64,
    /// Only places are wanted, no bytes. A line that is in memory is then not cut.
    measures: bool,
    /// The offset of the next byte.
    at: u64,
    /// `until` lies within something that cannot be cut, such as an escape.
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

    /// Leaves out the records from `end` on.
    pub(crate) fn before(self, end: u64) -> Window<'a> {
        Window { end, ..self }
    }

    /// A window that finds a place at `until` or soon behind it, and puts nothing into `out`.
    pub(crate) fn measuring(until: u64, out: &'a mut Vec<u8>) -> Window<'a> {
        Window {
            measures: true,
            ..Window::new(until, until, out)
        }
    }

    fn is_full(&self) -> bool {
        self.cut || self.at >= self.until
    }

    /// Of the next `bytes` bytes: how many lie before `until`, and how many of those lie before `from`.
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

    /// How many more bytes can be shown, and how many have to be passed over first: one of the two is 0.
    fn room(&self) -> (u64, u64) {
        match self.from.saturating_sub(self.at) {
            _ if self.measures => (0, u64::MAX),
            0 => (self.until.saturating_sub(self.at), 0),
            unwanted => (0, unwanted),
        }
    }

    /// Passes over bytes as far as the window reaches, and shows the wanted ones. Returns how many were passed.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let (end, start) = self.part(bytes.len());
        self.out.extend_from_slice(&bytes[start..end]);
        self.at += end as u64;
        end
    }

    /// As [`Window::pass`], for bytes that cannot be cut: when not all of them were passed, `at` stays, and they are made
    /// again later. Returns whether all were passed.
    fn pass_whole(&mut self, bytes: &[u8]) -> bool {
        let before = self.at;
        if self.pass(bytes) < bytes.len() {
            (self.at, self.cut) = (before, true);
        }
        !self.cut
    }
}

/// Makes lines from `place` on, until the window is full or the wanted records end. Moves `place` to the last place before
/// the end of the window.
///
/// # Errors
/// Those of [`Log::read_run`] and [`Log::verify_record`], for the record at `place`; the lines before it have been made.
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
        // The bytes of the log that fill the window, if the records here are of average size.
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
                        // A smaller record is read again with the records behind it, which is cheaper than in pieces.
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

/// Verifies a large record, and tells whether it is shown as text.
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
    /// Makes the line of a record whose payload is in memory. Returns whether the whole line fits into the window.
    fn small(&mut self, entry: &Entry, payload: &[u8], shown: Shown) -> bool {
        let rest = usize::try_from(self.place.within).unwrap_or(usize::MAX);
        let rest = payload.get(rest..).unwrap_or_default();
        self.begin(entry, shown) && self.payload(rest, shown) && self.end()
    }

    /// As [`Line::small`], reading the payload in pieces.
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
            // A byte of the payload becomes at least one byte of the line.
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

    /// Makes what stands before the payload, unless it was passed earlier.
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

    /// Makes what stands behind the payload, and moves on to the next record.
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

    /// Moves the place: `bytes` more bytes of the payload have been passed. Before the first of them, the place is the
    /// beginning of the line.
    fn passed(&mut self, bytes: usize) {
        if bytes > 0 {
            self.place.within += bytes as u64;
            self.place.offset = self.window.at;
        }
    }

    fn text(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(first) = bytes.first() {
            // As many bytes as certainly fit into the window, or before it, however they are escaped.
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

    /// Makes base64 of whole groups of three bytes; only the last group of a payload may be shorter.
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

    /// Skips the unwanted groups of a payload that is shown as base64: every group makes four bytes.
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
