//! What a cancel costs: one request to DynamoDB, two for a re-opened payment, and one write unit.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use shared::provider::Provider;

use crate::{
    golden::Case,
    stage::{Stage, WARM},
};

/// With the credential cached, every outcome costs the case's writes and nothing else.
pub(super) async fn one_request<P: Provider>(cases: &[Case]) -> Result<()> {
    let cancels = cases.iter().filter(|case| case.then.writes > 0 && case.given.store.is_none());
    let (mut outcomes, mut charged) = (BTreeSet::new(), 0);
    for case in cancels {
        // A stage each, for no two cases agree on what a credential is.
        let stage = Stage::<P>::set(None, WARM).await?;
        let give = |table, items: &[Value]| {
            items.iter().try_for_each(|item| stage.tables.put(table, item))
        };
        give("credentials", &case.given.credentials)?;
        stage.call(case).await?;
        let _ = stage.proxy.take();
        give("payments", &case.given.payments)?;
        let (_, response) = stage.call(case).await?;
        let done = stage.proxy.take();
        let operations = done.iter().map(|request| request.operation.as_str()).collect::<Vec<_>>();
        let expected = vec!["UpdateItem"; case.then.writes];
        ensure!(operations == expected, "{}: {operations:?}", case.name);
        ensure!(response.status == case.then.status, "{}: status {}", case.name, response.status);
        outcomes.insert(response.status);
        if done.iter().all(|request| request.status == 200) {
            let mut again: Value = serde_json::from_str(&stage.proxy.last_request())?;
            again["ReturnConsumedCapacity"] = "TOTAL".into();
            give("payments", &case.given.payments)?;
            let (_, charged_for) = stage.tables.respond("UpdateItem", &again.to_string())?;
            let charged_for: Value = serde_json::from_str(&charged_for)?;
            let units = &charged_for["ConsumedCapacity"]["CapacityUnits"];
            // A kilobyte is one unit, and its JSON is longer than the item; only a very long reason
            // exceeds it.
            let items = stage.tables.scan("payments")?;
            if items.iter().all(|item| item.to_string().len() <= 1024) {
                ensure!(*units == json!(1.0), "{}: {units} write units", case.name);
                charged += 1;
            }
        }
    }
    ensure!(outcomes.len() > 1, "only one outcome was tried: {outcomes:?}");
    ensure!(charged > 0, "no transition was tried");
    Ok(())
}
