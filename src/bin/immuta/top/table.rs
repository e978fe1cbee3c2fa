//! The table of namespaces: which columns fit, how wide they are, and the text in them.

use std::time::Duration;

use super::model::{Column, HISTORY, Model, Row};

/// Spaces between two columns.
const GAP: usize = 2;
/// Columns are left out before names are cut shorter than this.
const NAME_WIDTH: usize = 12;
const SHORTEST_HISTORY: usize = 10;

/// The columns to leave out when there is no room, the first one first.
const LEAVE_OUT: [Column; 7] = [
    Column::LastMinute,
    Column::Lag,
    Column::ByteRate,
    Column::LastAppend,
    Column::Waiting,
    Column::RecordRate,
    Column::Records,
];

/// All columns, in the order of the table.
pub(super) const COLUMNS: [Column; 8] = [
    Column::Name,
    Column::Records,
    Column::RecordRate,
    Column::ByteRate,
    Column::Waiting,
    Column::Lag,
    Column::LastAppend,
    Column::LastMinute,
];

impl Column {
    pub(super) fn title(self) -> &'static str {
        match self {
            Column::Name => "NAME",
            Column::Records => "RECORDS",
            Column::RecordRate => "REC/S",
            Column::ByteRate => "BYTES/S",
            Column::Waiting => "WAITING",
            Column::Lag => "LAG",
            Column::LastAppend => "LAST",
            Column::LastMinute => "MINUTE",
        }
    }

    /// The width of its widest text; for names and the last minute, which may be cut, the least width.
    fn width(self) -> usize {
        match self {
            Column::Name => NAME_WIDTH,
            Column::Records => 8,
            Column::RecordRate => 6,
            Column::ByteRate => 8,
            Column::Waiting => 7,
            Column::Lag => 6,
            Column::LastAppend => 5,
            Column::LastMinute => SHORTEST_HISTORY,
        }
    }

    fn is_left_aligned(self) -> bool {
        matches!(self, Column::Name | Column::LastMinute)
    }

    fn text(self, row: &Row) -> String {
        match self {
            Column::Name => row.name.clone(),
            Column::Records => count(row.records),
            Column::RecordRate => rate(row.record_rate),
            Column::ByteRate => bytes(row.byte_rate),
            Column::Waiting => count(row.waiting),
            Column::Lag => row.lag.map_or("-".to_owned(), seconds),
            Column::LastAppend => row.last_append.map_or("-".to_owned(), ago),
            Column::LastMinute => String::new(), // `sparkline` draws it.
        }
    }
}

/// The columns that fit into `width`, each with its own width. They fill it if they can.
pub(super) fn layout(width: usize, longest_name: usize) -> Vec<(Column, usize)> {
    let mut shown: Vec<(Column, usize)> = COLUMNS.map(|column| (column, column.width())).to_vec();
    let needed =
        |shown: &[(Column, usize)]| shown.iter().map(|(_, width)| width + GAP).sum::<usize>() - GAP;
    for column in LEAVE_OUT {
        if needed(&shown) <= width {
            break;
        }
        shown.retain(|(there, _)| *there != column);
    }
    let mut left = width.saturating_sub(needed(&shown));
    if needed(&shown) > width {
        shown = vec![(Column::Name, width)];
    }
    // Room that is left goes to the names until they fit, then to the last minute.
    for (column, column_width) in &mut shown {
        let most = match column {
            Column::Name => longest_name,
            Column::LastMinute => HISTORY,
            _ => *column_width,
        };
        let more = most.saturating_sub(*column_width).min(left);
        *column_width += more;
        left -= more;
    }
    shown
}

/// One cell, cut or padded to `width`.
pub(super) fn cell(column: Column, row: &Row, width: usize) -> String {
    pad(&cut(&column.text(row), width), column, width)
}

/// The title of a column, cut or padded to `width`.
pub(super) fn heading(column: Column, width: usize) -> String {
    pad(&cut(column.title(), width), column, width)
}

fn pad(text: &str, column: Column, width: usize) -> String {
    if column.is_left_aligned() {
        format!("{text:<width$}")
    } else {
        format!("{text:>width$}")
    }
}

/// Cuts a text to `width`, with a mark where something was cut off.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        short.push('~');
    }
    short
}

/// The table as plain lines, without the last minute, as wide as needed.
pub(super) fn plain(model: &Model) -> Vec<String> {
    let rows = model.rows();
    let columns = &COLUMNS[..COLUMNS.len() - 1];
    let width = |column: &Column| {
        let cells = rows.iter().map(|row| column.text(row).len());
        cells.max().unwrap_or(0).max(column.title().len())
    };
    let widths: Vec<usize> = columns.iter().map(width).collect();
    let line = |text: &dyn Fn(Column, usize) -> String| {
        let cells: Vec<String> = columns
            .iter()
            .zip(&widths)
            .map(|(column, width)| text(*column, *width))
            .collect();
        cells.join(&" ".repeat(GAP))
    };
    let mut lines = vec![line(&heading)];
    lines.extend(
        rows.iter()
            .map(|row| line(&|column, width| cell(column, row, width))),
    );
    lines
}

/// The space between two columns.
pub(super) fn gap() -> String {
    " ".repeat(GAP)
}

/// Draws the last minute in `width` characters, the latest second on the right. `second` is the number of the latest
/// second: seconds that share a character always share it, so that the drawing moves and does not flicker.
pub(super) fn sparkline(row: &Row, second: u64, width: usize, utf8: bool) -> String {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 9] = [' ', '.', '.', ':', ':', '-', '=', '+', '#'];
    let levels = if utf8 { BLOCKS } else { ASCII };
    let width = width.max(1);
    let shared = HISTORY.div_ceil(width);
    let mut bars = vec![0.0; width];
    for (back, records) in row.history.iter().rev().enumerate() {
        let Some(then) = second.checked_sub(back as u64) else {
            break;
        };
        let bar = (second / shared as u64 - then / shared as u64) as usize;
        if let Some(bar) = width.checked_sub(bar + 1).and_then(|at| bars.get_mut(at)) {
            *bar += records;
        }
    }
    let highest = bars.iter().copied().fold(0.0, f64::max);
    bars.iter()
        .map(|bar| match *bar {
            0.0 => levels[0],
            bar => levels[((bar / highest * 8.0).ceil() as usize).clamp(1, 8)],
        })
        .collect()
}

/// A number in 8 characters: as it is, or rounded.
pub(super) fn count(n: u64) -> String {
    match n {
        0..=99_999_999 => n.to_string(),
        _ => scaled(n as f64, ["M", "G", "T", "P", "E"], 1e6),
    }
}

/// A number per second, in 6 characters.
pub(super) fn rate(n: f64) -> String {
    match n {
        0.0 => "0".to_owned(),
        n if n < 9.95 => format!("{n:.1}"),
        n if n < 99_999.5 => format!("{n:.0}"),
        n => scaled(n, ["k", "M", "G", "T", "P"], 1e3),
    }
}

/// Bytes, in 8 characters.
pub(super) fn bytes(n: f64) -> String {
    match n {
        n if n < 999.5 => format!("{n:.0} B"),
        n => scaled(n, [" kB", " MB", " GB", " TB", " PB"], 1e3),
    }
}

/// A number with three digits and the name of a unit. The first unit is `unit`, each next one a thousand times the one
/// before.
fn scaled(n: f64, names: [&str; 5], unit: f64) -> String {
    let mut n = n / unit;
    let mut names = names.into_iter();
    let mut name = names.next().unwrap_or_default();
    while n >= 999.5 {
        let Some(next) = names.next() else {
            break;
        };
        (n, name) = (n / 1e3, next);
    }
    let digits = if n < 9.995 {
        2
    } else if n < 99.95 {
        1
    } else {
        0
    };
    format!("{n:.digits$}{name}")
}

/// In 6 characters.
fn seconds(n: f64) -> String {
    match n {
        n if n < 0.0005 => "0".to_owned(),
        n if n < 0.9995 => format!("{:.0}ms", n * 1e3),
        n if n < 9.95 => format!("{n:.1}s"),
        n => ago(Duration::from_secs_f64(n.min(1e15))),
    }
}

/// In 5 characters.
pub(super) fn ago(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => "now".to_owned(),
        1..=99 => format!("{seconds}s"),
        100..=5_999 => format!("{}m", seconds / 60),
        6_000..=359_999 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
