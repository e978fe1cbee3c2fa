//! The commands that a document shows, as a reader types them.
//!
//! A reader types the lines of `sh` blocks, and of `console` blocks those after `$ `. What a console block has besides is what
//! is printed; so is a `text` block, of the `sh` blocks before it. A comment of HTML on the line above a block, which
//! readers do not see, tells where it is typed: `<!-- typed by root -->`, `<!-- not typed: REASON -->`.

/// A block between two fences.
#[derive(Debug)]
pub struct Block {
    /// The heading that it stands under; empty before the first one.
    pub heading: String,
    pub language: String,
    pub text: String,
    /// The line of its first fence, from 1 on.
    pub line: usize,
    /// What the comment above it says.
    pub mark: Option<String>,
}

/// All blocks of a document.
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut inside, mut heading, mut above) = (false, "", "");
    for (number, line) in document.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push(Block {
                    heading: heading.to_owned(),
                    language: language.to_owned(),
                    text: String::new(),
                    line: number + 1,
                    mark: mark(above).map(str::to_owned),
                });
            }
        } else if inside {
            let block = blocks.last_mut().expect("a block has begun");
            block.text.push_str(line);
            block.text.push('\n');
        } else if let Some(found) = line.strip_prefix("## ") {
            heading = found;
        }
        above = line;
    }
    blocks
}

fn mark(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")
}

/// The commands of a block, if it has any.
pub fn commands(block: &Block) -> Option<String> {
    match block.language.as_str() {
        "sh" => Some(block.text.clone()),
        "console" => {
            let typed = block.text.lines().filter_map(|l| l.strip_prefix("$ "));
            Some(typed.map(|line| format!("{line}\n")).collect())
        }
        _ => None,
    }
}

/// The lines that a console block shows as printed, sorted: what runs in the background prints when it likes.
pub fn printed(block: &Block) -> Vec<&str> {
    let mut lines: Vec<&str> = block
        .text
        .lines()
        .filter(|line| !line.starts_with("$ "))
        .collect();
    lines.sort_unstable();
    lines
}
