//! The Lambda function. Everything there is to know of it is in the library beside it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::lambda::Error> {
    shared::lambda::run::<one2pays::One2Pays>().await
}
