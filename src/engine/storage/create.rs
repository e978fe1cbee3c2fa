//! Creating a namespace: its id and its files.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

use crate::disk;
use crate::disk::OpenMode;
use crate::error::{Error, Result};
use crate::format::Slot;
use crate::log::is_no_space;
use crate::namespace::Namespace;
use crate::options::Options;
use crate::recovery::Opened;
use crate::recovery::Recovery;
use crate::segment::{Index, LogEnd, Segment, new_index_header};

/// Ids of namespaces are below this, so that an inode number has room for an id and a record number.
pub(crate) const MAX_ID: u32 = 1 << 23;

/// A free id, at random: a namespace that is removed and created again will hardly get the same one.
pub(crate) fn pick_id(namespace: &Namespace, is_free: impl Fn(u32) -> bool) -> u32 {
    let hasher = RandomState::new();
    (0u32..)
        .map(|attempt| {
            let hash = hasher.hash_one((namespace, SystemTime::now(), attempt));
            (hash % u64::from(MAX_ID - 1)) as u32 + 1
        })
        .find(|id| is_free(*id))
        .unwrap_or(1)
}

/// Creates the files of an empty log. Removes them again if something fails.
pub(crate) fn create_files(options: &Options, namespace: &Namespace, id: u32) -> Result<Opened> {
    let log_path = namespace.log_path(&options.logs_dir);
    let index_path = namespace.index_path(&options.logs_dir);
    let disk = &*options.disk;
    // A crash in the middle of a removal leaves an index without its log.
    match disk.remove(&index_path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(Error::io("remove", &index_path, e));
        }
        _ => {}
    }
    let file = disk
        .open(&log_path, OpenMode::Create)
        .map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => Error::Exists {
                namespace: namespace.to_string(),
            },
            _ => creation_error(namespace, &log_path, e),
        })?;
    let made = (|| {
        let slot = Slot {
            format: options.format,
            clean: true,
            id,
            sequence: 0,
            synced_count: 0,
            log_end: options.format.header_bytes(),
            boot: disk.boot_id(),
            rebuilt: 0,
        };
        let index = disk.open(&index_path, OpenMode::Create)?;
        disk::write_all(&*index, &new_index_header(&slot), 0)?;
        disk::write_all(&*file, options.format.header(0, 0).as_bytes(), 0)?;
        index.sync_data()?;
        file.sync_data()?;
        disk.sync_dir(&options.logs_dir)?;
        Ok(Index::new(
            index,
            Slot {
                sequence: 1,
                ..slot
            },
        ))
    })();
    match made {
        Ok(index) => Ok(Opened {
            segment: Segment {
                namespace: namespace.clone(),
                log_path,
                index_path,
                log_file: file,
                index,
                format: options.format,
            },
            has_index: true,
            end: LogEnd::empty(options.format),
            recovery: Recovery {
                clean: true,
                ..Recovery::default()
            },
        }),
        Err(e) => {
            let _ = disk.remove(&log_path);
            let _ = disk.remove(&index_path);
            Err(creation_error(namespace, &log_path, e))
        }
    }
}

fn creation_error(namespace: &Namespace, path: &Path, source: io::Error) -> Error {
    if is_no_space(&source) {
        return Error::NoSpace {
            namespace: namespace.to_string(),
            source,
        };
    }
    Error::io("create", path, source)
}
