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
    /// It was canceled once, and is open again.
    pub reopened: bool,
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
            Asked::Capture | Asked::Fail | Asked::Expire | Asked::Reopen => self.move_on(*asked),
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
        let open = self.is_open(&item) && !item.manual;
        let own = item.cancellation.filter(|made| made.token == wanted.token);
        if open && own.is_none() {
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
        let canceled = item.status == self.statuses.canceled;
        match own.filter(|_| open || canceled) {
            Some(made) if made.fingerprint != wanted.fingerprint => Answer::KeyReused,
            Some(_) if open => Answer::Reopened(self.seen(item)),
            Some(_) => Answer::Canceled {
                item,
                replayed: true,
            },
            None => Answer::NotCancelable(self.seen(item)),
        }
    }

    /// A refusal does not say what canceled the payment.
    fn seen(&self, item: Item) -> Item {
        let cancellation = item.cancellation.filter(|_| !self.anonymous);
        Item {
            cancellation,
            ..item
        }
    }

    fn move_on(&mut self, asked: Asked) -> Answer {
        match (self.item, asked.words(&self.statuses)) {
            (Some(item), Some((from, status)))
                if from.contains(&item.status) && !(asked == Asked::Reopen && self.reopened) =>
            {
                self.reopened |= asked == Asked::Reopen;
                self.item = Some(Item { status, ..item });
                Answer::Moved
            }
            (item, _) => Answer::Refused(item),
        }
    }
}
