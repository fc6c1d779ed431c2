//! The credentials that merchants cancel with: issued, listed, rotated, revoked and expired by command, in any DynamoDB.

mod schemes;
mod table;

use std::{
    env,
    io::{self, IsTerminal, Read, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{Client, config::Credentials, types::AttributeValue};
use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::{clock::milliseconds, key, store::dynamodb::http_client};

use schemes::{Kind, Scheme, providers};
use table::{Entry, Item, Table, text};

/// Issues, lists, rotates, revokes and expires the credentials that merchants cancel with.
#[derive(Parser)]
#[command(name = "credentials", version)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where the table is.
#[derive(Args)]
struct Place {
    /// The credentials table.
    #[arg(
        long,
        global = true,
        env = "CREDENTIALS_TABLE",
        default_value = "credentials"
    )]
    table: String,

    /// The AWS region; otherwise as the environment or the profile says.
    #[arg(long, global = true)]
    region: Option<String>,

    /// A profile of ~/.aws/config, with keys or with a role and its source profile.
    #[arg(long, global = true)]
    profile: Option<String>,

    /// Another DynamoDB than AWS's own, as http://127.0.0.1:8000; on this machine it needs no AWS credentials.
    #[arg(long, global = true, value_name = "URL")]
    endpoint_url: Option<String>,

    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a credential, and shows its secret once.
    Issue {
        #[command(flatten)]
        provider: Provider,
        /// Whose it is.
        #[arg(long, value_parser = merchant_id)]
        merchant: String,
        /// Which of the provider's ways to present it; `api-key` or `app-id` of walletconnect.
        #[arg(long)]
        scheme: Option<String>,
        /// The API version the account is pinned to, where the provider has such.
        #[arg(long)]
        api_version: Option<String>,
        /// A public id that the merchant has already, instead of a new one.
        #[arg(long)]
        id: Option<String>,
        /// Read a secret that the merchant has already from standard input, instead of making one.
        #[arg(long)]
        secret_stdin: bool,
        #[command(flatten)]
        end: End,
    },
    /// Shows what there is: no secret, and of a secret's digest the first digits. Reads the whole table.
    List {
        /// Only this provider's.
        #[arg(long, value_parser = provider())]
        provider: Option<String>,
        /// Only this merchant's.
        #[arg(long)]
        merchant: Option<String>,
    },
    /// Makes a successor of a credential, which is good at once, and lets the old one end a while later.
    Rotate {
        #[command(flatten)]
        credential: Named,
        /// How long the old one still works.
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
        overlap: Duration,
        #[command(flatten)]
        end: End,
    },
    /// Switches a credential off for good.
    Revoke {
        #[command(flatten)]
        credential: Named,
    },
    /// Lets a credential end at a time, now unless told otherwise.
    Expire {
        #[command(flatten)]
        credential: Named,
        #[command(flatten)]
        end: End,
    },
}

#[derive(Args)]
struct Provider {
    /// The payment provider.
    #[arg(long, value_parser = provider())]
    provider: String,
}

/// A credential that is there.
#[derive(Args)]
struct Named {
    #[command(flatten)]
    provider: Provider,
    /// Its public id, or the digits that `list` shows, or the very secret where it has leaked and begins with pck_.
    key: String,
}

/// When a credential ends.
#[derive(Args)]
struct End {
    /// It ends that long from now: 90d, 12h, 30m.
    #[arg(long = "in", value_name = "TIME", value_parser = duration, conflicts_with = "at")]
    after: Option<Duration>,
    /// It ends at this moment: 2030-01-01T00:00:00Z.
    #[arg(long, value_name = "RFC3339")]
    at: Option<Timestamp>,
}

impl End {
    fn moment(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        match self.after {
            Some(after) => Ok(Some(now.checked_add(after)?)),
            None => Ok(self.at),
        }
    }
}

fn provider() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(providers())
}

/// A merchant id is the middle of a payment's key, `{provider}#{merchant_id}#{payment_id}`.
fn merchant_id(text: &str) -> Result<String, String> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits || text.contains('#') {
        return Err("must be 1 to 255 visible ASCII characters, and no '#'".to_owned());
    }
    Ok(text.to_owned())
}

/// `90d`, `12h`, `1d 12h`. A day has 24 hours.
fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .and_then(Duration::try_from)
        .map_err(|_| "must be a time like 90d, 12h or 30m, and not negative".to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Arguments { place, command } = Arguments::parse();
    match run(&place, command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where even this cannot be written, the exit code still says it.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(place: &Place, command: Command) -> Result<()> {
    let table = Table {
        client: place.client().await?,
        name: place.table.clone(),
    };
    let now = Timestamp::now();
    match command {
        Command::Issue {
            provider: Provider { provider },
            merchant,
            scheme,
            api_version,
            id,
            secret_stdin,
            end,
        } => {
            let scheme = Scheme::find(&provider, scheme.as_deref())?;
            let wanted = Wanted {
                scheme,
                merchant_id: &merchant,
                api_version: api_version.as_deref(),
                ends: end.moment(now)?,
                id,
                secret_stdin,
            };
            let issued = Issued::new(wanted, now)?;
            table.put(&issued.item).await?;
            place.print(&issued, || issued.lines())
        }
        Command::List { provider, merchant } => {
            let prefix = provider.map(|name| format!("{name}#")).unwrap_or_default();
            let entries = table.list(&prefix, merchant.as_deref(), now).await?;
            place.print(&entries, || columns(&entries))
        }
        Command::Rotate {
            credential,
            overlap,
            end,
        } => {
            let provider = &credential.provider.provider;
            let old = table.find(provider, &credential.key, now).await?;
            ensure!(
                old.state == "active",
                "{} is {} and has no use for a successor; issue a new credential",
                old.key,
                old.state
            );
            let scheme = Scheme::find(provider, old.scheme)?;
            let wanted = Wanted {
                scheme,
                merchant_id: &old.merchant_id,
                api_version: old.api_version.as_deref(),
                ends: end.moment(now)?,
                id: None,
                secret_stdin: false,
            };
            let mut issued = Issued::new(wanted, now)?;
            let given = old.expires_at.as_deref().and_then(|end| end.parse().ok());
            let ends = now.checked_add(overlap)?;
            let ends = given.map_or(ends, |given: Timestamp| given.min(ends));
            table.replace(&old, ends, &issued.item).await?;
            issued.replaces = Some(Entry {
                expires_at: Some(milliseconds(ends)),
                ..old
            });
            place.print(&issued, || issued.lines())
        }
        Command::Revoke { credential } => {
            let entry = credential.find(&table, now).await?;
            let revoked = AttributeValue::Bool(false);
            let entry = table.set(&entry, "active", revoked, now).await?;
            place.print(&entry, || {
                format!(
                    "{}\nA function that knows it lets it pass for CREDENTIAL_TTL_SECONDS more, 60 unless set otherwise.\n",
                    columns(std::slice::from_ref(&entry)).trim_end()
                )
            })
        }
        Command::Expire { credential, end } => {
            let entry = credential.find(&table, now).await?;
            let ends = text(milliseconds(end.moment(now)?.unwrap_or(now)));
            let entry = table.set(&entry, "expires_at", ends, now).await?;
            place.print(&entry, || columns(std::slice::from_ref(&entry)))
        }
    }
}

impl Named {
    async fn find(&self, table: &Table, now: Timestamp) -> Result<Entry> {
        table.find(&self.provider.provider, &self.key, now).await
    }
}

impl Place {
    /// Region and keys from wherever the AWS tools have them: variables, profiles, roles. The network between may be a long one.
    async fn client(&self) -> Result<Client> {
        let patient = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(10))
            .operation_attempt_timeout(Duration::from_secs(10))
            .operation_timeout(Duration::from_secs(30))
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client())
            .timeout_config(patient);
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let mut emulator = false;
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
            // An emulator takes any region and key, so none need be set for one.
            emulator = is_this_machine(url);
            let given = |name: &str| env::var_os(name).is_some();
            if emulator
                && self.profile.is_none()
                && !given("AWS_PROFILE")
                && !given("AWS_ACCESS_KEY_ID")
            {
                let dummy = Credentials::new("local", "local", None, None, "dummy");
                loader = loader.credentials_provider(dummy);
            }
        }
        let waiting = waiting("AWS credentials and region".to_owned());
        let mut config = loader.load().await;
        drop(waiting);
        if config.region().is_none() {
            ensure!(
                emulator,
                "no AWS region is set; name it with --region, or in AWS_REGION"
            );
            let any = Region::from_static("us-east-1");
            config = config.into_builder().region(any).build();
        }
        Ok(Client::new(&config))
    }

    /// As JSON, or as `lines` has it.
    fn print(&self, value: &impl Serialize, lines: impl FnOnce() -> String) -> Result<()> {
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(value)?)
        } else {
            lines()
        };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .context("it was done, but could not be printed; a secret that nobody has seen should be revoked")
    }
}

/// A line on a terminal while something far away is waited for; elsewhere nothing. It goes away with what is returned.
fn waiting(what: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
    let bar = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn is_this_machine(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or(url);
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
        host.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    })
}

/// The first line of standard input.
fn secret_from_stdin() -> Result<String> {
    let mut text = String::new();
    if io::stdin().is_terminal() {
        let _ = writeln!(io::stderr(), "the secret, then Enter and Ctrl-D:");
    }
    io::stdin()
        .take(4096)
        .read_to_string(&mut text)
        .context("standard input is no text")?;
    let secret = text.trim_end_matches(['\r', '\n']);
    ensure!(
        !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic()),
        "the secret on standard input must be visible ASCII characters, on one line"
    );
    Ok(secret.to_owned())
}

/// What a new credential shall be.
struct Wanted<'a> {
    scheme: &'static Scheme,
    merchant_id: &'a str,
    api_version: Option<&'a str>,
    ends: Option<Timestamp>,
    /// The merchant's own.
    id: Option<String>,
    /// Whether the merchant's own secret is on standard input.
    secret_stdin: bool,
}

/// A new credential, as it is shown this once.
#[derive(Serialize)]
struct Issued {
    #[serde(flatten)]
    entry: Entry,
    id: Option<String>,
    secret: Option<String>,
    /// The header lines that a client sends.
    headers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<Entry>,
    #[serde(skip)]
    item: Item,
}

impl Issued {
    fn new(wanted: Wanted<'_>, now: Timestamp) -> Result<Self> {
        let Scheme {
            provider,
            name,
            kind,
            headers,
            versioned,
        } = wanted.scheme;
        ensure!(
            kind.has_id() || wanted.id.is_none(),
            "{provider} {name} has no public id, so --id is nothing for it"
        );
        ensure!(
            kind.has_secret() || !wanted.secret_stdin,
            "{provider} {name} has no secret, so --secret-stdin is nothing for it"
        );
        ensure!(
            *versioned || wanted.api_version.is_none(),
            "{provider} has no API versions, so --api-version is nothing for it"
        );
        let id = match wanted.id {
            None if kind.has_id() => Some(random(key::Kind::Id)?),
            given => given,
        };
        let secret = match kind.has_secret() {
            true if wanted.secret_stdin => Some(secret_from_stdin()?),
            true => Some(random(key::Kind::Secret)?),
            false => None,
        };
        let (shown_id, shown_secret) = (
            id.as_deref().unwrap_or_default(),
            secret.as_deref().unwrap_or_default(),
        );
        let presented = kind.presented(shown_id, shown_secret);
        if !presented.may_exist(false) {
            bail!(
                "no function would take it: an id has 1 to 255 visible ASCII characters and is not 64 hexadecimal digits, \
                 and what begins with pck_ or pci_ has the right checksum"
            );
        }
        let mut item = Item::from([
            ("pk".to_owned(), text(presented.pk(provider))),
            ("merchant_id".to_owned(), text(wanted.merchant_id)),
            ("active".to_owned(), AttributeValue::Bool(true)),
            ("created_at".to_owned(), text(milliseconds(now))),
        ]);
        let mut set = |name: &str, value: Option<String>| {
            item.extend(value.map(|value| (name.to_owned(), text(value))));
        };
        set("expires_at", wanted.ends.map(milliseconds));
        set("api_version", wanted.api_version.map(str::to_owned));
        match kind {
            Kind::Pair => set(
                "secret_sha256",
                Some(hex::encode(Sha256::digest(shown_secret))),
            ),
            Kind::Signature => set("signing_secret", secret.clone()),
            Kind::Secret | Kind::Public => {}
        }
        Ok(Self {
            entry: Entry::new(&item, now),
            headers: headers
                .iter()
                .map(|line| {
                    line.replace("{id}", shown_id)
                        .replace("{secret}", shown_secret)
                })
                .collect(),
            id,
            secret,
            replaces: None,
            item,
        })
    }

    fn lines(&self) -> String {
        let Entry {
            provider,
            scheme,
            key,
            merchant_id,
            ..
        } = &self.entry;
        let mut lines = format!(
            "{provider} {} {key} of {merchant_id}\n",
            scheme.unwrap_or_default()
        );
        if let Some(id) = &self.id {
            lines += &format!("  id      {id}\n");
        }
        if let Some(secret) = &self.secret {
            lines += &format!("  secret  {secret}\n");
        }
        if let Some(end) = &self.entry.expires_at {
            lines += &format!("  until   {end}\n");
        }
        lines += &format!("A client sends\n  {}\n", self.headers.join("\n  "));
        if self.secret.is_some() {
            lines += "The secret is shown this once.\n";
        }
        if let Some(Entry {
            key,
            expires_at: Some(end),
            ..
        }) = &self.replaces
        {
            lines += &format!("{key} works until {end}.\n");
        }
        lines
    }
}

/// 256 bits of the system's generator, in our form.
fn random(kind: key::Kind) -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system's random generator does not answer")?;
    Ok(key::issue(kind, bytes))
}

/// One line each, under their titles.
fn columns(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "no credentials\n".to_owned();
    }
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let titles = [
        "provider",
        "scheme",
        "merchant",
        "key",
        "state",
        "expires at",
        "created at",
    ];
    let rows = entries.iter().map(|entry| {
        [
            entry.provider.clone(),
            entry.scheme.unwrap_or("-").to_owned(),
            entry.merchant_id.clone(),
            entry.key.clone(),
            entry.state.to_owned(),
            or_dash(&entry.expires_at),
            or_dash(&entry.created_at),
        ]
    });
    let rows: Vec<_> = [titles.map(str::to_owned)]
        .into_iter()
        .chain(rows)
        .collect();
    let width = |column: usize| {
        let lengths = rows.iter().filter_map(|row| row.get(column));
        lengths
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    rows.iter()
        .map(|row| {
            let cells = row.iter().enumerate();
            let cells: Vec<_> = cells
                .map(|(n, cell)| format!("{cell:0$}", width(n)))
                .collect();
            format!("{}\n", cells.join("  ").trim_end())
        })
        .collect()
}
