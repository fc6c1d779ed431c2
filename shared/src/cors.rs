//! Cross-origin requests, for the providers that a browser may call, from the origins that a
//! deployment names.

use http::{HeaderName, HeaderValue, Method};
use tower_http::cors::CorsLayer;

use crate::provider::Provider;

/// The layer that responds to preflights and adds the CORS headers. `None` if no origin is allowed,
/// or browsers may not call the provider.
///
/// # Errors
/// The origin that is not one.
pub fn layer<P: Provider>(origins: &[String]) -> Result<Option<CorsLayer>, String> {
    if origins.is_empty() || P::BROWSER_HEADERS.is_empty() {
        return Ok(None);
    }
    let origins = origins.iter().map(|origin| {
        let parsed = HeaderValue::from_str(origin).ok();
        let parsed = parsed.filter(|_| {
            let host =
                ["https://", "http://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
            host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
        });
        parsed.ok_or_else(|| format!("{origin:?} must be an origin such as https://example.com"))
    });
    let exposed = ["idempotent-replayed", "retry-after", "wcp-version", "x-request-id"];
    Ok(Some(
        CorsLayer::new()
            .allow_origin(origins.collect::<Result<Vec<_>, _>>()?)
            .allow_methods([Method::POST])
            .allow_headers(
                P::BROWSER_HEADERS.iter().copied().map(HeaderName::from_static).collect::<Vec<_>>(),
            )
            .expose_headers(exposed.map(HeaderName::from_static)),
    ))
}
