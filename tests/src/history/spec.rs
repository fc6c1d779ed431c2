//! The payment as it would be if one call came after another: no network, no concurrency, no
//! faults.

use shared::provider::Statuses;
use stateright::semantics::SequentialSpec;

use super::{Cancellation, Id, Item, Number, Operation, Outcome};

/// One payment, or none.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The provider's statuses.
    pub statuses: Statuses,
    /// Whose a cancellation is cannot be seen.
    pub anonymous: bool,
    /// As it is now.
    pub item: Option<Item>,
}

impl SequentialSpec for Payment {
    type Op = (Number, Operation);
    type Ret = Outcome;

    fn invoke(&mut self, (number, operation): &Self::Op) -> Outcome {
        match *operation {
            Operation::Cancel { token, fingerprint } => self.cancel(Cancellation {
                id: if self.anonymous {
                    Id::Other
                } else {
                    Id::Of(*number)
                },
                token,
                fingerprint,
            }),
            Operation::Capture | Operation::Fail | Operation::Expire => {
                self.move_on(operation.word())
            }
        }
    }

    /// A call that reported that nothing was written may stand anywhere, and changes nothing.
    fn is_valid_step(&mut self, op: &Self::Op, ret: &Outcome) -> bool {
        *ret == Outcome::Unavailable || self.invoke(op) == *ret
    }
}

impl Payment {
    fn is_open(&self, item: &Item) -> bool {
        self.statuses.cancelable.contains(&item.status)
    }

    fn cancel(&mut self, ours: Cancellation) -> Outcome {
        let Some(item) = self.item else {
            return Outcome::NotFound;
        };
        if self.is_open(&item) && !item.manual {
            let item = Item {
                status: self.statuses.canceled,
                cancellation: Some(ours),
                ..item
            };
            self.item = Some(item);
            return Outcome::Canceled {
                item,
                replayed: false,
            };
        }
        match item.cancellation.filter(|made| made.token == ours.token) {
            Some(made) if made.fingerprint != ours.fingerprint => Outcome::KeyReused,
            Some(_) => Outcome::Canceled {
                item,
                replayed: true,
            },
            None => Outcome::NotCancelable(item),
        }
    }

    fn move_on(&mut self, to: Option<&'static str>) -> Outcome {
        match (self.item, to) {
            (Some(item), Some(status)) if self.is_open(&item) => {
                self.item = Some(Item { status, ..item });
                Outcome::Moved
            }
            (item, _) => Outcome::Refused(item),
        }
    }
}
