//! The payment as it would be if one call came after another: no network, no concurrency, no faults.

use shared::provider::Statuses;
use stateright::semantics::SequentialSpec;

use super::{Answer, Asked, Cancellation, Id, Item, Number};

/// One payment, or none.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The provider's words.
    pub statuses: Statuses,
    /// Whose a cancellation is cannot be seen.
    pub anonymous: bool,
    /// As it is now.
    pub item: Option<Item>,
}

impl SequentialSpec for Payment {
    type Op = (Number, Asked);
    type Ret = Answer;

    fn invoke(&mut self, (number, asked): &Self::Op) -> Answer {
        match *asked {
            Asked::Cancel { token, fingerprint } => self.cancel(Cancellation {
                id: if self.anonymous {
                    Id::Other
                } else {
                    Id::Of(*number)
                },
                token,
                fingerprint,
            }),
            Asked::Capture | Asked::Fail | Asked::Expire => self.move_on(asked.word()),
        }
    }

    /// A call that was told that nothing was written may stand anywhere, and changes nothing.
    fn is_valid_step(&mut self, op: &Self::Op, ret: &Answer) -> bool {
        *ret == Answer::Unavailable || self.invoke(op) == *ret
    }
}

impl Payment {
    fn is_open(&self, item: &Item) -> bool {
        self.statuses.cancelable.contains(&item.status)
    }

    fn cancel(&mut self, wanted: Cancellation) -> Answer {
        let Some(item) = self.item else {
            return Answer::NotFound;
        };
        if self.is_open(&item) && !item.manual {
            let item = Item {
                status: self.statuses.canceled,
                cancellation: Some(wanted),
                ..item
            };
            self.item = Some(item);
            return Answer::Canceled {
                item,
                replayed: false,
            };
        }
        match item.cancellation.filter(|made| made.token == wanted.token) {
            Some(made) if made.fingerprint != wanted.fingerprint => Answer::KeyReused,
            Some(_) => Answer::Canceled {
                item,
                replayed: true,
            },
            None => Answer::NotCancelable(item),
        }
    }

    fn move_on(&mut self, to: Option<&'static str>) -> Answer {
        match (self.item, to) {
            (Some(item), Some(status)) if self.is_open(&item) => {
                self.item = Some(Item { status, ..item });
                Answer::Moved
            }
            (item, _) => Answer::Refused(item),
        }
    }
}
