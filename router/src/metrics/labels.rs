//! The values of the labels that say why or what: enums and constants, never what a field holds.

/// Why an alert is dead that its destination never refused for good.
pub(crate) const MAX_AGE: &str = "max_age";

/// Why an alert is dead whose destination a reload removed.
pub(crate) const REMOVED: &str = "removed";

/// Why an alert went to the fallback that its destination was not even asked about.
pub(crate) const BREAKER: &str = "breaker";

/// Why an alert was not sent that the store did not give back.
pub(crate) const STORE: &str = "store";

/// All of these.
pub(super) const OWN_REASONS: [&str; 4] = [MAX_AGE, REMOVED, BREAKER, STORE];

/// Kinds of notifications; all but the first are the router's own.
pub(super) const KINDS: [&str; 4] = ["alert", "summary", "digest", "resolve"];

/// Why an alert did not go to a destination although its route says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suppressed {
    /// A repeat within an open window; its summary says how many there were.
    Dedup,
    /// A source of an inhibition was there not long ago.
    Inhibit,
    /// A silence says so.
    Silence,
    /// A time window says so; its digest says how many there were.
    Mute,
    /// Above its route's limit; the digest, where wanted, says how many there were.
    Limit,
}

/// Why the router gave up an alert that it had taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It went on to the fallback, and the store did not give its body.
    Store,
}

/// Why a request, or an alert in it, was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// Not JSON.
    InvalidJson,
    /// JSON, but not an alert.
    InvalidAlert,
    /// A name, tag or their number beyond its bound.
    TooLong,
    /// More alerts in one request than allowed.
    TooMany,
    /// A body beyond its bound.
    BodySize,
    /// A body that did not arrive in time or broke off.
    BodyRead,
    /// An encoding that is not understood, or gzip that is none.
    Encoding,
    Unauthorized,
    Method,
    Path,
    /// More connections than allowed.
    Connections,
    /// What a connection sent is not HTTP, or its head is too large.
    Head,
    /// A connection that sent too little, or took no answer, for too long.
    Slow,
    /// A connection without the TLS, or the certificate, that the listener asks for.
    Tls,
    /// More bodies at once than there is memory for.
    Busy,
    /// A destination's queue is full for alerts of this priority.
    Full,
    /// The store takes nothing.
    Store,
    /// The router is stopping.
    Stopping,
}

/// What the reasons for holding an alert back are called.
pub(crate) const SUPPRESSED_NAMES: [&str; 5] = ["inhibit", "silence", "mute", "dedup", "limit"];

impl Suppressed {
    pub(super) const ALL: [Self; 5] = [Self::Inhibit, Self::Silence, Self::Mute, Self::Dedup, Self::Limit];

    pub(crate) const fn name(self) -> &'static str {
        let [inhibit, silence, mute, dedup, limit] = SUPPRESSED_NAMES;
        match self {
            Self::Inhibit => inhibit,
            Self::Silence => silence,
            Self::Mute => mute,
            Self::Dedup => dedup,
            Self::Limit => limit,
        }
    }
}

impl Dropped {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
        }
    }
}

impl Rejected {
    pub(super) const ALL: [Self; 18] = [
        Self::InvalidJson,
        Self::InvalidAlert,
        Self::TooLong,
        Self::TooMany,
        Self::BodySize,
        Self::BodyRead,
        Self::Encoding,
        Self::Unauthorized,
        Self::Method,
        Self::Path,
        Self::Connections,
        Self::Head,
        Self::Slow,
        Self::Tls,
        Self::Busy,
        Self::Full,
        Self::Store,
        Self::Stopping,
    ];

    /// As the metric and the answer to the sender print it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidAlert => "invalid_alert",
            Self::TooLong => "too_long",
            Self::TooMany => "too_many",
            Self::BodySize => "body_size",
            Self::BodyRead => "body_read",
            Self::Encoding => "encoding",
            Self::Unauthorized => "unauthorized",
            Self::Method => "method",
            Self::Path => "path",
            Self::Connections => "connections",
            Self::Head => "head",
            Self::Slow => "slow",
            Self::Tls => "tls",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Store => "store",
            Self::Stopping => "stopping",
        }
    }
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    Success,
    /// Something is wrong with the routing file or with what it names.
    Invalid,
    /// The file is good, and could not be put into force.
    Failed,
}

impl Reload {
    pub(super) const ALL: [Self; 3] = [Self::Success, Self::Invalid, Self::Failed];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
        }
    }
}
