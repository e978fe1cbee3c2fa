use super::*;
use crate::disk::without_waiting;
use crate::disk::{read_exact, write_all};

fn is_open(file: &StdFile) -> bool {
    lock(&file.open).is_some()
}

/// What another test's thread looks at just now is closed a little later.
fn close_all_but(used: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while used() {
        POOL.make_room(0);
        assert!(start.elapsed().as_secs() < 60);
    }
}

#[test]
fn a_file_is_closed_when_it_is_synced_and_opened_again_when_it_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let file = open(&path, OpenMode::Create).unwrap();
    write_all(&*file, b"first", 0).unwrap();
    close_all_but(|| is_open(&file));
    let written = file.written.load(Ordering::SeqCst);
    assert_eq!(file.synced.load(Ordering::SeqCst), written);
    let mut bytes = [0; 5];
    read_exact(&*file, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"first");
    assert!(is_open(&file));
    // Written to through an opened-again file, too.
    close_all_but(|| is_open(&file));
    write_all(&*file, b"again", 0).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"again");
    assert!(matches!(file.close(), Closing::WrittenTo));
    file.sync_data().unwrap();
    close_all_but(|| is_open(&file));
    assert_eq!(file.len().unwrap(), 5);
    // Nobody who must not wait opens it, or waits for who does.
    assert!(is_open(&file) && file.is_ready());
    close_all_but(|| is_open(&file));
    assert!(!file.is_ready());
    let opening = lock(&file.opening);
    assert!(!file.is_ready());
    let refused = without_waiting(|| file.read_at(&mut bytes, 0)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    drop(opening);
    file.ready().unwrap();
    // Whoever uses it keeps it open.
    let used = file.file().unwrap();
    assert!(matches!(file.close(), Closing::InUse));
    drop(used);
}

#[test]
fn another_file_of_its_name_is_not_taken_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let file = open(&path, OpenMode::Create).unwrap();
    close_all_but(|| is_open(&file));
    std::fs::rename(&path, directory.path().join("moved")).unwrap();
    assert_eq!(file.len().unwrap_err().kind(), io::ErrorKind::NotFound);
    std::fs::write(&path, "another").unwrap();
    let error = file.read_at(&mut [0], 0).unwrap_err();
    assert!(error.to_string().contains("replaced it"), "{error}");
    std::fs::rename(directory.path().join("moved"), &path).unwrap();
    assert_eq!(file.len().unwrap(), 0);
    // Renamed while it is open, it stays open, and is the file that it was.
    std::fs::rename(&path, directory.path().join("moved")).unwrap();
    assert!(matches!(file.close(), Closing::InUse));
    write_all(&*file, b"x", 0).unwrap();
    assert_eq!(file.len().unwrap(), 1);
}

#[test]
fn what_a_sync_before_a_close_says_is_kept_for_the_next_sync() {
    let directory = tempfile::tempdir().unwrap();
    let file = open(&directory.path().join("file"), OpenMode::Create).unwrap();
    file.lost.store(libc::EIO, Ordering::SeqCst);
    let error = file.sync_data().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    file.sync_data().unwrap();
}
