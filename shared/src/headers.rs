//! Request headers, read so that "the last one wins" cannot happen.

use http::HeaderMap;

use crate::{
    error::{Fault, FaultKind},
    limits::{MAX_HEADER_BYTES, MAX_HEADER_LINES},
};

/// What we must know of [`HeaderMap`]s.
pub trait HeaderMapExt {
    /// The value of a header that may have only one, or `None` if it was not sent.
    ///
    /// A comma separates values: API Gateway's payload 2.0 and Function URLs join repeated lines
    /// with one, so a comma inside a line and a repeated line look the same. The same value twice
    /// is that value. Whitespace around a value is not part of it (RFC 9110, section 5.5).
    ///
    /// # Errors
    /// A [`Fault`] that names the header if it has different values, or one that is not text.
    fn single(&self, name: &'static str) -> Result<Option<&str>, Fault>;

    /// Like [`single`](Self::single), but an empty value counts as absent: how credentials are
    /// read.
    ///
    /// # Errors
    /// As [`single`](Self::single).
    fn credential(&self, name: &'static str) -> Result<Option<&str>, Fault>;
}

impl HeaderMapExt for HeaderMap {
    fn single(&self, name: &'static str) -> Result<Option<&str>, Fault> {
        let fault =
            |what| Fault::new(FaultKind::Header, format!("header {name} {what}")).field(name);
        let mut single = None;
        for line in self.get_all(name) {
            let line = std::str::from_utf8(line.as_bytes())
                .map_err(|_| fault("has a character that is not UTF-8"))?;
            for value in line.split(',').map(str::trim) {
                if *single.get_or_insert(value) != value {
                    return Err(fault("is given more than once with different values"));
                }
            }
        }
        Ok(single)
    }

    fn credential(&self, name: &'static str) -> Result<Option<&str>, Fault> {
        Ok(self.single(name)?.filter(|value| !value.is_empty()))
    }
}

/// Checks the number of lines, then their size.
///
/// # Errors
/// A [`Fault`] that names the limit.
pub fn within_limits(headers: &HeaderMap) -> Result<(), Fault> {
    let sizes = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    let message = if headers.len() > MAX_HEADER_LINES {
        format!("request has more than {MAX_HEADER_LINES} header lines")
    } else if sizes.sum::<usize>() > MAX_HEADER_BYTES {
        format!("request headers are larger than {MAX_HEADER_BYTES} bytes")
    } else {
        return Ok(());
    };
    Err(Fault::new(FaultKind::Header, message))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn different_values_are_refused_however_they_arrive() {
        for (lines, value) in [
            ([" k "].as_slice(), Ok(Some("k"))),
            (&["k", "k"], Ok(Some("k"))),
            (&["k, k"], Ok(Some("k"))),
            (&[], Ok(None)),
            (&["k", "l"], Err(())),
            (&["k,l"], Err(())),
            (&["k,"], Err(())),
            (&["", "k"], Err(())),
        ] {
            let lines = lines.iter().map(|line| HeaderValue::from_str(line).expect("a value"));
            let name = HeaderName::from_static("api-key");
            let headers: HeaderMap = lines.map(|line| (name.clone(), line)).collect();
            assert_eq!(headers.single("Api-Key").map_err(drop), value, "{headers:?}");
        }
    }
}
