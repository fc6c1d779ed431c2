//! `merchant_connector_details`: checked, and not kept.

use shared::{
    error::{Fault, FaultKind},
    json::Object,
};

/// Checks `merchant_connector_details` against its limits and keeps nothing of it but
/// `creds_identifier`, which the specification says must not be sensitive.
pub(crate) fn creds_identifier(body: &Object<'_>) -> Result<Option<String>, Fault> {
    let Some(details) = body.object("merchant_connector_details")? else {
        return Ok(None);
    };
    let identifier = details.required_string("creds_identifier")?;
    if identifier == "null" {
        let message = "merchant_connector_details.creds_identifier must not be the string \"null\"";
        return Err(Fault::new(FaultKind::Value, message));
    }
    if let Some(encoded) = details.object("encoded_data")? {
        encoded.object("metadata")?;
        if let Some(account) = encoded.object("connector_account_details")? {
            let rule = if account.sizes().count() > 50 {
                "at most 50 keys"
            } else if account.sizes().any(|(name, _)| name.chars().count() > 40) {
                "names of at most 40 characters"
            } else if account.sizes().any(|(_, length)| length > 500) {
                "values of at most 500 characters"
            } else {
                return Ok(Some(identifier));
            };
            let name = "merchant_connector_details.encoded_data.connector_account_details";
            return Err(Fault::new(FaultKind::Value, format!("{name} must have {rule}")));
        }
    }
    Ok(Some(identifier))
}
