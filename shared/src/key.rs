//! The format of the keys that are issued here. A typo is recognized without a lookup.
//!
//! ```text
//! pck_ LQNUGZHT…43 digits…741 Q2DJm
//! │    │                     └ CRC-32 of all before it, in base 62, 6 digits
//! │    └ 256 random bits in base 62, 43 digits
//! └ pck_: a secret, pci_: a public id
//! ```
//!
//! The prefix lets a scanner find a leaked secret and distinguish it from a public id. The checksum
//! covers the prefix. It is no defense: a made-up key with a valid checksum still does not exist.
//! Merchants may also bring keys in their own format, which are [custom](KeyFormat::Custom).

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Shown once, when it is issued.
    Secret,
    /// Public.
    Id,
}

/// What the format of a key shows. The worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyFormat {
    /// It claims our format and breaks it: it was never issued.
    Broken,
    /// It does not claim our format.
    Custom,
    /// It has our format: it may have been issued.
    Issued,
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62⁴³ is just above 2²⁵⁶.
const RANDOM_DIGITS: usize = 43;
/// 62⁶ is above 2³².
const CHECK_DIGITS: usize = 6;

impl KeyKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Secret => "pck_",
            Self::Id => "pci_",
        }
    }
}

/// The key made of `random`, which must come from the system's generator.
#[must_use]
pub fn issue(kind: KeyKind, random: [u8; 32]) -> String {
    let mut key = format!("{}{}", kind.prefix(), base62::<RANDOM_DIGITS>(random.to_vec()));
    key.push_str(&checksum(&key));
    key
}

/// What `text` is where a key of this kind is expected.
#[must_use]
pub fn format(text: &str, kind: KeyKind) -> KeyFormat {
    if ![KeyKind::Secret, KeyKind::Id].iter().any(|kind| text.starts_with(kind.prefix())) {
        return KeyFormat::Custom;
    }
    let length = kind.prefix().len() + RANDOM_DIGITS + CHECK_DIGITS;
    let sound = text.len() == length
        && text.starts_with(kind.prefix())
        && text
            .split_at_checked(length - CHECK_DIGITS)
            .is_some_and(|(key, check)| checksum(key) == check);
    if sound { KeyFormat::Issued } else { KeyFormat::Broken }
}

fn checksum(key: &str) -> String {
    base62::<CHECK_DIGITS>(crc32(key.as_bytes()).to_be_bytes().to_vec())
}

/// `number`, big-endian, in `N` digits.
fn base62<const N: usize>(mut number: Vec<u8>) -> String {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u16;
        for byte in &mut number {
            let dividend = rest << 8 | u16::from(*byte);
            *byte = (dividend / 62) as u8;
            rest = dividend % 62;
        }
        *digit = DIGITS.get(usize::from(rest)).copied().unwrap_or(b'0');
    }
    digits.iter().copied().map(char::from).collect()
}

/// CRC-32 as Ethernet and zip have it, bit by bit: fifty bytes are not worth a table.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issued_key_is_known_by_its_looks() {
        // Worked out with another implementation of base 62, and zlib's CRC-32.
        for (kind, random, issued) in [
            (KeyKind::Secret, [0; 32], "pck_00000000000000000000000000000000000000000002IFs7v"),
            (KeyKind::Secret, [0x5a; 32], "pck_LQNUGZHT5u543eF8cvF8tKdPlcVkNSYQAq1KIqZ6f741Q2DJm"),
            (KeyKind::Id, [0xff; 32], "pci_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp11Mh4ja"),
        ] {
            assert_eq!(issue(kind, random), issued);
            assert_eq!(format(issued, kind), KeyFormat::Issued);
        }
    }

    #[test]
    fn every_single_typo_is_noticed() {
        let key = issue(KeyKind::Secret, [0x5a; 32]);
        for place in 0..key.len() {
            for other in DIGITS.iter().chain(b"_- ") {
                let mut typo = key.clone().into_bytes();
                if typo[place] == *other {
                    continue;
                }
                typo[place] = *other;
                let typo = String::from_utf8(typo).unwrap();
                // Within the prefix it no longer claims our format, except for the letter that
                // makes it an id.
                let expected = if place < 4 && !typo.starts_with("pci_") {
                    KeyFormat::Custom
                } else {
                    KeyFormat::Broken
                };
                assert_eq!(format(&typo, KeyKind::Secret), expected, "{typo}");
            }
        }
        for place in 4..key.len() - 1 {
            let mut swapped = key.clone().into_bytes();
            swapped.swap(place, place + 1);
            let swapped = String::from_utf8(swapped).unwrap();
            assert!(
                swapped == key || format(&swapped, KeyKind::Secret) == KeyFormat::Broken,
                "{swapped}"
            );
        }
    }

    #[test]
    fn truncated_extended_and_mismatched_keys_are_broken() {
        let key = issue(KeyKind::Secret, [0x5a; 32]);
        let id = issue(KeyKind::Id, [0x5a; 32]);
        for broken in ["pck_", "pci_", &key[..52], &format!("{key}0"), &id, "pck_é"] {
            assert_eq!(format(broken, KeyKind::Secret), KeyFormat::Broken, "{broken}");
        }
        assert_eq!(format(&key, KeyKind::Id), KeyFormat::Broken);
        let accented = format!("pck_{}é{}", "0".repeat(42), "0".repeat(5));
        assert_eq!(format(&accented, KeyKind::Secret), KeyFormat::Broken);
    }

    #[test]
    fn a_merchants_own_key_is_custom() {
        for own in ["snd_demo", "sk_test_demo", "", "PCK_x", "pck", "xpck_"] {
            assert_eq!(format(own, KeyKind::Secret), KeyFormat::Custom, "{own}");
        }
    }
}
