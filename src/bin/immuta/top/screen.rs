//! The screen of `immuta top`, and its keys.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use immuta_fs::fs::Status;
use nix::sys::signal::{Signal, raise};
use ratatui::DefaultTerminal;
use ratatui::Frame;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::model::{Column, Model, Row};
use super::status::Look;
use super::table::{self, COLUMNS};
use crate::Failure;
use crate::on_signal::on_signal;

/// How many problems are shown above the table at most.
const MAX_TROUBLES: usize = 3;
/// If a look takes this much longer than the interval, the screen says that the daemon hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the keys do. The longest text that fits is shown.
const KEYS: [&str; 3] = [
    "q quit   arrows, pages scroll   sort: n name  c records  r rec/s  b bytes/s  w waiting  l lag  a last  s minute   i reverse",
    "q quit   arrows scroll   sort: n c r b w l a s   i reverse",
    "q  arrows  ncrbwlas  i",
];

/// A message to the screen.
pub(super) enum Message {
    /// A new status of the mount.
    Look(Look),
    /// A key, or another event of the terminal.
    Input(io::Result<Event>),
}

/// Held while something is written to the terminal.
#[derive(Clone, Default)]
pub(super) struct Pen(Arc<Mutex<()>>);

impl Pen {
    /// Restores the terminal when a signal ends the program.
    pub(super) fn restore_on_signal(&self) -> io::Result<()> {
        let pen = self.clone();
        on_signal(move || {
            // Nothing may be drawn after that. But if the terminal is stopped, a drawing never ends: then do not wait.
            let patience = Instant::now() + PATIENCE;
            let taken = loop {
                match pen.0.try_lock() {
                    Err(TryLockError::WouldBlock) if Instant::now() < patience => {
                        thread::sleep(Duration::from_millis(10));
                    }
                    taken => break taken,
                }
            };
            restore();
            std::mem::forget(taken);
        })
    }

    fn take(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Restores the terminal.
fn restore() {
    ratatui::restore();
    // An error could be reported nowhere.
    let _ = execute!(io::stdout(), Show);
}

/// The state of the screen.
pub(super) struct Screen {
    model: Model,
    mountpoint: String,
    interval: Duration,
    last_look: Instant,
    /// Why the last look failed.
    trouble: Option<String>,
    /// The first row that is shown.
    top: usize,
    /// How many rows fit.
    page: usize,
    colours: bool,
    utf8: bool,
    pen: Pen,
}

impl Screen {
    pub(super) fn new(model: Model, mountpoint: &Path, interval: Duration, pen: Pen) -> Self {
        Screen {
            model,
            mountpoint: mountpoint.display().to_string(),
            interval,
            last_look: Instant::now(),
            trouble: None,
            top: 0,
            page: 0,
            colours: has_colours(),
            utf8: speaks_utf8(),
            pen,
        }
    }

    /// Shows the screen until a key ends it.
    pub(super) fn run(
        mut self,
        send: &Sender<Message>,
        messages: &Receiver<Message>,
    ) -> Result<(), Failure> {
        let cannot = |e| Failure::Other(format!("cannot use the terminal: {e}"));
        let mut terminal = {
            let _pen = self.pen.take();
            ratatui::try_init().map_err(cannot)?
        };
        let result = self.watch(&mut terminal, send, messages).map_err(cannot);
        let _pen = self.pen.take();
        restore();
        result
    }

    fn watch(
        &mut self,
        terminal: &mut DefaultTerminal,
        send: &Sender<Message>,
        messages: &Receiver<Message>,
    ) -> io::Result<()> {
        let inputs = send.clone();
        let read = move || {
            loop {
                let input = event::read();
                let failed = input.is_err();
                if inputs.send(Message::Input(input)).is_err() || failed {
                    return;
                }
            }
        };
        thread::Builder::new().name("input".into()).spawn(read)?;
        loop {
            {
                let pen = self.pen.clone();
                let _pen = pen.take();
                terminal.draw(|frame| self.draw(frame))?;
            }
            match messages.recv_timeout(self.interval + PATIENCE) {
                Ok(Message::Look((at, status))) => self.look(at, status),
                Ok(Message::Input(event)) => match event? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        if is_suspend(&key) {
                            restore();
                            raise(Signal::SIGTSTP)?;
                            *terminal = ratatui::try_init()?;
                        } else if self.key(&key) {
                            return Ok(());
                        }
                    }
                    _ => {}
                },
                // The mount does not answer: the next drawing says so.
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn look(&mut self, at: Instant, status: io::Result<Status>) {
        self.last_look = at;
        match status {
            Ok(status) => {
                self.trouble = None;
                self.model.update(at, status);
            }
            Err(e) => self.trouble = Some(ended(&e)),
        }
    }

    /// Does what a key asks for. Returns `true` to end.
    fn key(&mut self, key: &KeyEvent) -> bool {
        let end = usize::MAX;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return true,
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.top += 1,
            KeyCode::PageUp => self.top = self.top.saturating_sub(self.page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top += self.page,
            KeyCode::Home | KeyCode::Char('g') => self.top = 0,
            KeyCode::End | KeyCode::Char('G') => self.top = end,
            KeyCode::Char('i') => self.model.reversed = !self.model.reversed,
            KeyCode::Left => self.sort_by_neighbour(COLUMNS.len() - 1),
            KeyCode::Right => self.sort_by_neighbour(1),
            KeyCode::Char(letter) => {
                if let Some(column) = column_of(letter) {
                    self.model.sorted_by = column;
                }
            }
            _ => {}
        }
        false
    }

    /// Sorts by the column that is `steps` to the right of the current one, going round.
    fn sort_by_neighbour(&mut self, steps: usize) {
        let at = COLUMNS.iter().position(|c| *c == self.model.sorted_by);
        self.model.sorted_by = COLUMNS[(at.unwrap_or(0) + steps) % COLUMNS.len()];
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        let rows = self.model.rows();
        let mut lines = vec![self.title(width), self.summary(&rows, width)];
        lines.extend(self.troubles(height, width));

        let longest = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let columns = table::layout(width, longest);
        lines.push(self.header(&columns));
        // The last line shows the keys.
        self.page = height.saturating_sub(lines.len() + 1);
        self.top = self.top.min(rows.len().saturating_sub(self.page));
        let seen = rows.iter().skip(self.top).take(self.page);
        lines.extend(seen.map(|row| self.row(row, &columns)));
        for (line, y) in lines.into_iter().take(height).zip(area.y..) {
            frame.render_widget(line, Rect::new(area.x, y, area.width, 1));
        }
        if height > 1 {
            let keys = self.keys(rows.len(), width);
            let y = area.y + area.height - 1;
            frame.render_widget(keys, Rect::new(area.x, y, area.width, 1));
        }
    }

    fn title(&self, width: usize) -> Line<'static> {
        let status = &self.model.status;
        let options = &status.options;
        let up = Duration::from_secs(status.uptime_seconds.clamp(0.0, 1e12) as u64);
        let written = if options.read_only {
            "read-only".to_owned()
        } else {
            format!("sync {}", options.sync)
        };
        let text = format!(
            "immuta-fs {}  {}  logs in {}  {written}  pid {}, up {}",
            status.version,
            self.mountpoint,
            status.logs_dir,
            status.pid,
            humantime::format_duration(up)
        );
        Line::styled(table::cut(&text, width), Modifier::BOLD)
    }

    fn summary(&self, rows: &[Row], width: usize) -> Line<'static> {
        let silent = self.last_look.elapsed();
        if let Some(trouble) = &self.trouble {
            return Line::styled(table::cut(trouble, width), self.alarm());
        }
        if silent > self.interval + PATIENCE {
            let text = format!("no answer for {} s: the daemon hangs", silent.as_secs());
            return Line::styled(table::cut(&text, width), self.alarm());
        }
        let text = format!(
            "{} namespace{}, {} records, {} records/s, {}/s, {} waiting",
            rows.len(),
            if rows.len() == 1 { "" } else { "s" },
            table::count(rows.iter().map(|row| row.records).sum()),
            table::rate(rows.iter().map(|row| row.record_rate).sum()),
            table::bytes(rows.iter().map(|row| row.byte_rate).sum()),
            table::count(rows.iter().map(|row| row.waiting).sum()),
        );
        Line::raw(table::cut(&text, width))
    }

    fn troubles(&self, height: usize, width: usize) -> Vec<Line<'static>> {
        let troubles = self.model.troubles();
        let room = (height / 8).min(MAX_TROUBLES);
        let more = troubles.len().saturating_sub(room);
        let mut lines: Vec<String> = troubles.into_iter().take(room).collect();
        if let Some(last) = lines.last_mut().filter(|_| more > 0) {
            *last = format!("({more} more) {last}");
        }
        lines
            .into_iter()
            .map(|text| Line::styled(table::cut(&format!("! {text}"), width), self.alarm()))
            .collect()
    }

    fn header(&self, columns: &[(Column, usize)]) -> Line<'static> {
        let base = Style::new().add_modifier(Modifier::REVERSED);
        let mut spans = Vec::new();
        for (n, (column, width)) in columns.iter().enumerate() {
            if n > 0 {
                spans.push(Span::styled(table::gap(), base));
            }
            let style = if *column == self.model.sorted_by {
                base.add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
            } else {
                base
            };
            spans.push(Span::styled(table::heading(*column, *width), style));
        }
        Line::from(spans).style(base)
    }

    fn row(&self, row: &Row, columns: &[(Column, usize)]) -> Line<'static> {
        let mut spans = Vec::new();
        for (n, (column, width)) in columns.iter().enumerate() {
            if n > 0 {
                spans.push(Span::raw(table::gap()));
            }
            spans.push(match column {
                Column::LastMinute => Span::styled(
                    table::sparkline(row, self.model.second, *width, self.utf8),
                    self.colour(Color::Cyan),
                ),
                Column::Name => Span::styled(table::cell(*column, row, *width), Modifier::BOLD),
                _ => Span::raw(table::cell(*column, row, *width)),
            });
        }
        let style = if row.failed {
            self.alarm()
        } else {
            Style::new()
        };
        Line::from(spans).style(style)
    }

    fn keys(&self, rows: usize, width: usize) -> Line<'static> {
        let seen = match rows {
            rows if rows > self.page => format!(
                "{}-{} of {rows}  ",
                self.top + 1,
                (self.top + self.page).min(rows)
            ),
            _ => String::new(),
        };
        let keys = KEYS.map(|keys| format!("{seen}{keys}"));
        let fits = keys.iter().find(|keys| keys.len() <= width);
        let text = table::cut(fits.unwrap_or(&keys[KEYS.len() - 1]), width);
        Line::styled(text, Modifier::DIM)
    }

    fn colour(&self, colour: Color) -> Style {
        if self.colours {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// The style of problems.
    fn alarm(&self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }
}

fn column_of(letter: char) -> Option<Column> {
    Some(match letter {
        'n' => Column::Name,
        'c' => Column::Records,
        'r' => Column::RecordRate,
        'b' => Column::ByteRate,
        'w' => Column::Waiting,
        'l' => Column::Lag,
        'a' => Column::LastAppend,
        's' => Column::LastMinute,
        _ => return None,
    })
}

fn is_suspend(key: &KeyEvent) -> bool {
    key.code == KeyCode::Char('z') && key.modifiers.contains(KeyModifiers::CONTROL)
}

/// Why the status cannot be read any more.
fn ended(e: &io::Error) -> String {
    match e.raw_os_error() {
        Some(libc::ENOTCONN | libc::ECONNABORTED) => {
            "the daemon has died; this waits for it to come back".to_owned()
        }
        Some(libc::ENOENT) => "not mounted any more; this waits for it to come back".to_owned(),
        _ => format!("no status: {}", immuta::system_words(e)),
    }
}

fn has_colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let term = std::env::var("TERM").unwrap_or_default();
    !refused && !term.starts_with("vt")
}

fn speaks_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    locale.is_some_and(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
