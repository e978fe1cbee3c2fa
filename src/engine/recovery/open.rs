//! Opening a log in three calls: `find` opens its files and looks at them, `decide` says what is kept, and `mend` brings both
//! files there.
//!
//! A log that was closed in order opens at once. Else everything up to the last sync is there and stays. Behind it a record is
//! kept if it is whole and right. The first record that is not ends the log, and what lies behind that end is cut off before
//! anything is appended. What no crash explains is damage: the log is refused, and no byte of it changed. `docs/format.md`
//! gives the reasons.

use std::sync::Arc;

use super::decide::decide;
use super::evidence::Purpose;
use super::find::find;
use super::mend::{Opened, mend};
use crate::error::Result;
use crate::namespace::Namespace;
use crate::options::Options;
use crate::progress::Checking;

/// Opens the log of `namespace` and puts it in order. `choose_id` gets the id that the index says, if there is one, and gives
/// the id that the log is to have. `checking` watches.
pub(crate) fn open(
    options: &Options,
    namespace: &Namespace,
    choose_id: &dyn Fn(Option<u32>) -> u32,
    checking: Option<&Arc<Checking>>,
) -> Result<Opened> {
    let purpose = if options.read_only {
        Purpose::Read
    } else {
        Purpose::Write
    };
    let evidence = find(options, namespace, purpose, checking)?;
    let id = choose_id(evidence.slot.map(|slot| slot.id));
    let keeps_id = evidence.slot.is_some_and(|slot| slot.id == id);
    let decision = decide(&evidence, keeps_id, options.repair)?;
    let opened = mend(options, evidence, decision, id)?;
    let recovery = &opened.recovery;
    if recovery.cut.is_some()
        || recovery.claimed.is_some()
        || recovery.rebuilt > 0
        || recovery.damaged > 0
    {
        log::warn!("namespace '{namespace}': {recovery}");
    }
    Ok(opened)
}
