//! Request headers, read so that "last one wins" cannot happen.

use crate::cancel::{Fault, FaultKind};

/// The most header lines that are read. Real requests have about twenty, half of them a front end's own.
pub const MAX_LINES: usize = 100;

/// The most bytes that names and values may have together. API Gateway lets 10,240 through, a load balancer four times as many as these.
pub const MAX_BYTES: usize = 16 * 1024;

/// Request headers in the order they arrived. Names are compared without regard to case.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Adds one header line. White space around the value is not part of it (RFC 9110, section 5.5).
    pub fn append(&mut self, name: &str, value: &str) {
        self.0
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }

    /// Whether there are few enough of them, and short enough.
    ///
    /// # Errors
    /// A [`Fault`] that names the limit.
    pub fn within_limits(&self) -> Result<(), Fault> {
        let sizes = self.0.iter().map(|(name, value)| name.len() + value.len());
        let message = if self.0.len() > MAX_LINES {
            format!("request has more than {MAX_LINES} header lines")
        } else if sizes.sum::<usize>() > MAX_BYTES {
            format!("request headers are larger than {MAX_BYTES} bytes")
        } else {
            return Ok(());
        };
        Err(Fault::new(FaultKind::Header, message))
    }

    /// The lines of a header, in the order they arrived.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self
            .0
            .iter()
            .filter(move |(given, _)| given.eq_ignore_ascii_case(name));
        named.map(|(_, line)| line.as_str())
    }

    /// The value of a header that may have only one, or `None` where it was not sent.
    ///
    /// A comma separates values: API Gateway's payload 2.0 and Function URLs join repeated lines with one, so a comma inside a line and a
    /// repeated line cannot be told apart. The same value twice is that value.
    ///
    /// # Errors
    /// A [`Fault`] that names the header when it has different values.
    pub fn single(&self, name: &'static str) -> Result<Option<&str>, Fault> {
        let mut values = self
            .lines(name)
            .flat_map(|line| line.split(',').map(str::trim));
        let Some(first) = values.next() else {
            return Ok(None);
        };
        if values.all(|other| other == first) {
            Ok(Some(first))
        } else {
            Err(Fault::new(
                FaultKind::Header,
                format!("header {name} is given more than once with different values"),
            )
            .field(name))
        }
    }

    /// Like [`Headers::single`], with an empty value counted as absent: the way credentials are read.
    ///
    /// # Errors
    /// As [`Headers::single`].
    pub fn credential(&self, name: &'static str) -> Result<Option<&str>, Fault> {
        Ok(self.single(name)?.filter(|value| !value.is_empty()))
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in lines {
            headers.append(name.as_ref(), value.as_ref());
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&str, &str)]) -> Result<Option<String>, String> {
        let headers: Headers = lines.iter().copied().collect();
        headers
            .single("Api-Key")
            .map(|value| value.map(str::to_owned))
            .map_err(|fault| fault.message)
    }

    #[test]
    fn a_header_is_found_in_any_case_and_trimmed() {
        assert_eq!(read(&[("API-KEY", " k ")]), Ok(Some("k".into())));
        assert_eq!(read(&[("api-keys", "k")]), Ok(None));
    }

    #[test]
    fn the_same_value_twice_is_that_value() {
        assert_eq!(
            read(&[("api-key", "k"), ("Api-Key", "k")]),
            Ok(Some("k".into()))
        );
        assert_eq!(read(&[("api-key", "k, k")]), Ok(Some("k".into())));
    }

    #[test]
    fn different_values_are_refused_however_they_arrive() {
        let refused = Err("header Api-Key is given more than once with different values".into());
        assert_eq!(read(&[("api-key", "k"), ("api-key", "l")]), refused);
        assert_eq!(read(&[("api-key", "k"), ("API-KEY", "l")]), refused);
        assert_eq!(read(&[("api-key", "k,l")]), refused);
        assert_eq!(read(&[("api-key", "k,")]), refused);
    }
}
