//! The reads that wait, one call after the other. `tests/loom/parked.rs` explores every order of their threads.

use immuta_fs::fs::parked::{Need, Pace, Parked, Parking, Reached};

/// A log of so many records.
fn records(records: u64) -> Reached {
    Reached {
        records,
        ..Reached::NOTHING
    }
}

fn nothing() -> Reached {
    Reached::NOTHING
}

const FIRST: Need = Need::Records(1);
/// No crowd in these tests.
const INLINE: Pace = Pace {
    inline: usize::MAX,
    crowd: 1,
    slice: 1,
};

#[test]
fn a_commit_between_the_look_and_the_parking_is_not_lost() {
    let parked: Parked<_> = Parked::default();
    assert_eq!(
        parked.park(1, 10, FIRST, "w", || records(1)),
        Parking::Ready("w")
    );
    assert!(parked.is_empty());
}

#[test]
fn an_interrupt_before_the_parking_is_not_lost() {
    let parked: Parked<_> = Parked::default();
    assert_eq!(parked.interrupt(10), None);
    assert_eq!(
        parked.park(1, 10, FIRST, "w", nothing),
        Parking::Interrupted("w")
    );
    let other = parked.park(1, 12, FIRST, "v", nothing);
    assert_eq!(other, Parking::Parked, "only its target");
}

/// A reader that was taken out and comes back, since there was not yet enough, met its interrupt in between.
#[test]
fn an_interrupt_between_two_parkings_is_not_lost() {
    let parked: Parked<_> = Parked::default();
    assert_eq!(parked.park(1, 10, FIRST, "w", nothing), Parking::Parked);
    assert_eq!(parked.news(1, || records(1)).readers, ["w"]);
    assert_eq!(parked.interrupt(10), None);
    let again = parked.park(1, 10, Need::Records(2), "w", || records(1));
    assert_eq!(again, Parking::Interrupted("w"));
}

#[test]
fn a_waiter_leaves_by_one_door_only() {
    let parked: Parked<_> = Parked::default();
    assert_eq!(parked.park(1, 10, FIRST, "w", nothing), Parking::Parked);
    assert_eq!(parked.interrupt(10), Some("w"));
    assert_eq!(parked.news(1, || records(1)).readers, Vec::<&str>::new());
    assert_eq!(parked.close().readers, Vec::<&str>::new());
    assert_eq!(
        parked.park(1, 12, FIRST, "w", nothing),
        Parking::Closed("w")
    );
}

#[test]
fn only_those_of_one_namespace_whose_need_is_met_are_taken_the_first_request_first() {
    let parked: Parked<_> = Parked::new(INLINE);
    for (namespace, unique, need) in [(1, 30, 1), (1, 10, 1), (1, 20, 2), (2, 40, 1)] {
        let parking = parked.park(namespace, unique, Need::Records(need), unique, nothing);
        assert_eq!(parking, Parking::Parked);
    }
    assert_eq!(parked.news(1, || records(1)).readers, [10, 30]);
    assert_eq!(parked.len(), 2);
    let mut rest = parked.close().readers;
    rest.sort_unstable();
    assert_eq!(rest, [20, 40]);
}

#[test]
fn each_kind_of_need_is_met_by_its_own_number() {
    let reached = Reached {
        records: 5,
        text: 10,
        log: 20,
        time: 30,
        closed: false,
    };
    let met = [
        Need::News,
        Need::Records(5),
        Need::Text(10),
        Need::Log(20),
        Need::Time(30),
    ];
    let unmet = [
        Need::Records(6),
        Need::Text(11),
        Need::Log(21),
        Need::Time(31),
    ];
    let parked: Parked<_> = Parked::new(INLINE);
    for (unique, need) in met.into_iter().chain(unmet).enumerate() {
        assert_eq!(reached.meets(need), unique < met.len(), "{need:?}");
        if need != Need::News {
            parked.park(1, unique as u64, need, need, nothing);
        }
    }
    assert_eq!(parked.news(1, || reached).readers, met[1..]);
    let removed = Reached {
        closed: true,
        ..reached
    };
    assert_eq!(parked.news(1, || removed).readers, unmet);
}

#[test]
fn those_who_leave_are_taken_from_every_namespace() {
    let parked: Parked<_> = Parked::default();
    for (namespace, unique) in [(1, 30), (1, 10), (2, 20), (3, 40)] {
        let parking = parked.park(namespace, unique, FIRST, unique, nothing);
        assert_eq!(parking, Parking::Parked);
    }
    let mut taken = parked.take_any(|&w| w < 35);
    taken.sort_unstable();
    assert_eq!(taken, [10, 20, 30]);
    assert_eq!((parked.len(), parked.waiting_for(1)), (1, 0));
    // Nobody was interrupted: a number that comes again is a new read.
    assert_eq!(parked.park(1, 10, FIRST, 10, nothing), Parking::Parked);
}

#[test]
fn of_many_stray_interrupts_the_oldest_are_forgotten() {
    let parked: Parked<_> = Parked::default();
    for unique in 0..100_000 {
        assert_eq!(parked.interrupt(unique), None);
    }
    assert_eq!(parked.park(1, 0, FIRST, "w", nothing), Parking::Parked);
    let last = parked.park(1, 99_999, FIRST, "v", nothing);
    assert_eq!(last, Parking::Interrupted("v"));
}

#[test]
fn a_crowd_is_answered_in_slices_and_comes_back_for_the_next_round() {
    let parked: Parked<u64> = Parked::new(Pace {
        inline: 2,
        crowd: 4,
        slice: 3,
    });
    let wait_for = |record: u64| {
        for reader in 0..10 {
            let unique = record * 100 + reader;
            let log = || records(record + 1);
            parked.park(1, unique, Need::Records(record + 1), reader, log);
        }
    };
    for reader in 0..10 {
        parked.park(1, reader, FIRST, reader, nothing);
    }
    let inline = parked.news(1, || records(1));
    assert_eq!((inline.readers, inline.goes_on), (vec![0, 1], true));
    let again = parked.news(1, || records(1));
    assert_eq!(again.readers, [2, 3], "there is no gate yet");
    assert!(!again.goes_on, "it was told");
    for slice in [vec![4, 5, 6], vec![7, 8, 9]] {
        let answered = parked.slice(1, || records(1));
        assert_eq!((answered.readers, answered.goes_on), (slice, true));
    }
    // Now there is a gate: what is behind it is for the next round, and an append answers nobody itself.
    wait_for(1);
    assert_eq!(parked.len(), 10);
    assert!(parked.holds_back(1, Need::Records(2)));
    let more = parked.news(1, || records(2));
    assert_eq!(
        (more.readers.len(), more.goes_on),
        (0, false),
        "it comes again by itself"
    );
    let mut rounds = Vec::new();
    while !parked.is_empty() {
        rounds.push(parked.slice(1, || records(2)).readers.len());
    }
    assert_eq!(rounds, [3, 3, 3, 1]);
    assert!(!parked.slice(1, || records(2)).goes_on);
    // Few are left: the gate opens.
    assert_eq!(
        parked.park(1, 1000, Need::Records(3), 0, || records(2)),
        Parking::Parked
    );
    assert!(parked.news(1, || records(3)).goes_on);
    assert_eq!(parked.slice(1, || records(3)).readers, [0]);
    assert!(!parked.holds_back(1, Need::Records(100)));
}

/// Each of a thousand that are behind has something to read at once, and would stand in front of the writer.
#[test]
fn regression_while_there_is_a_writer_those_who_are_behind_are_answered_a_few_in_each_slice() {
    let parked: Parked<u64> = Parked::new(Pace {
        inline: 0,
        crowd: 4,
        slice: 8,
    });
    for reader in 0..8 {
        parked.park(1, reader, FIRST, reader, nothing);
    }
    assert!(!parked.holds_back(1, FIRST));
    parked.news(1, || records(1));
    let round = parked.slice(1, || records(1));
    assert_eq!((round.readers.len(), round.appended), (8, true));
    // At the gate, and behind it.
    let log = || records(1);
    parked.park(1, 10, Need::Records(2), 10, log);
    for reader in 20..26 {
        assert!(parked.holds_back(1, FIRST));
        let parking = parked.park(1, reader, FIRST, reader, log);
        assert_eq!(parking, Parking::Parked);
    }
    assert_eq!(parked.interrupt(23), Some(23));
    assert_eq!(parked.take_any(|&reader| reader == 24), [24]);
    assert_eq!(parked.waiting_for(1), 5);
    let first = parked.slice(1, log);
    assert_eq!((first.readers, first.goes_on), (vec![20, 21], true));
    assert!(!first.appended, "there is nobody to rest for");
    // Whoever is at the gate does not wait until they are through.
    parked.news(1, || records(2));
    let second = parked.slice(1, || records(2));
    assert_eq!((second.readers, second.appended), (vec![10, 22, 25], true));
    assert_eq!(parked.slice(1, || records(2)).readers, [0; 0]);
    // Nobody serves rounds: who is behind is answered at once, as is the next append.
    assert!(!parked.slice(1, || records(2)).goes_on);
    assert_eq!(parked.park(1, 30, FIRST, 30, log), Parking::Ready(30));
}

#[test]
fn a_removal_and_an_unmount_override_the_gate() {
    let crowded = || {
        let parked: Parked<u64> = Parked::new(Pace {
            inline: 0,
            crowd: 1,
            slice: 1,
        });
        for reader in 0..5 {
            parked.park(1, reader, Need::Records(1 + reader), reader, nothing);
        }
        assert!(parked.news(1, || records(1)).goes_on);
        assert_eq!(parked.slice(1, || records(1)).readers, [0]);
        assert!(parked.holds_back(1, Need::Records(2)));
        parked
    };
    let removed = || Reached {
        closed: true,
        ..records(1)
    };
    assert_eq!(crowded().news(1, removed).readers, [1, 2, 3, 4]);
    assert_eq!(crowded().slice(1, removed).readers, [1, 2, 3, 4]);
    let parking = crowded().park(1, 10, Need::Records(9), 10, removed);
    assert_eq!(parking, Parking::Ready(10));
    assert_eq!(crowded().close().readers, [1, 2, 3, 4]);
    assert_eq!(crowded().interrupt(3), Some(3));
}

#[test]
fn pollers_see_what_is_committed_whatever_the_crowd_is_shown() {
    let parked: Parked<u64, u64> = Parked::new(Pace {
        inline: 1,
        crowd: 1,
        slice: 2,
    });
    for poller in 0..6 {
        let before = parked.poll(1, poller, Need::Records(1 + poller / 5), poller);
        assert_eq!(before, None);
    }
    let first = parked.news(1, || records(1));
    assert_eq!((first.pollers, first.goes_on), (vec![0], true));
    assert_eq!(parked.slice(1, || records(1)).pollers, [1, 2]);
    parked.stop_polling(1, 3);
    assert_eq!(parked.slice(1, || records(1)).pollers, [4]);
    assert_eq!(parked.slice(1, || records(1)).pollers, [0; 0]);
    assert_eq!(parked.close().pollers, [5]);
    assert_eq!(parked.poll(1, 9, FIRST, 9), Some(9), "it is too late");
}
