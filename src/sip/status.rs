//! Response status codes and their default reason phrases.

use std::fmt;

/// A status code, 100 to 699 (RFC 3261 section 21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusCode(u16);

impl StatusCode {
    /// 100.
    pub const TRYING: Self = StatusCode(100);
    /// 180.
    pub const RINGING: Self = StatusCode(180);
    /// 183.
    pub const SESSION_PROGRESS: Self = StatusCode(183);
    /// 200.
    pub const OK: Self = StatusCode(200);
    /// 400.
    pub const BAD_REQUEST: Self = StatusCode(400);
    /// 401.
    pub const UNAUTHORIZED: Self = StatusCode(401);
    /// 403.
    pub const FORBIDDEN: Self = StatusCode(403);
    /// 404.
    pub const NOT_FOUND: Self = StatusCode(404);
    /// 405.
    pub const METHOD_NOT_ALLOWED: Self = StatusCode(405);
    /// 407.
    pub const PROXY_AUTHENTICATION_REQUIRED: Self = StatusCode(407);
    /// 408.
    pub const REQUEST_TIMEOUT: Self = StatusCode(408);
    /// 415.
    pub const UNSUPPORTED_MEDIA_TYPE: Self = StatusCode(415);
    /// 416.
    pub const UNSUPPORTED_URI_SCHEME: Self = StatusCode(416);
    /// 420.
    pub const BAD_EXTENSION: Self = StatusCode(420);
    /// 480.
    pub const TEMPORARILY_UNAVAILABLE: Self = StatusCode(480);
    /// 481.
    pub const CALL_DOES_NOT_EXIST: Self = StatusCode(481);
    /// 482.
    pub const LOOP_DETECTED: Self = StatusCode(482);
    /// 483.
    pub const TOO_MANY_HOPS: Self = StatusCode(483);
    /// 486.
    pub const BUSY_HERE: Self = StatusCode(486);
    /// 487.
    pub const REQUEST_TERMINATED: Self = StatusCode(487);
    /// 488.
    pub const NOT_ACCEPTABLE_HERE: Self = StatusCode(488);
    /// 491.
    pub const REQUEST_PENDING: Self = StatusCode(491);
    /// 500.
    pub const SERVER_INTERNAL_ERROR: Self = StatusCode(500);
    /// 501.
    pub const NOT_IMPLEMENTED: Self = StatusCode(501);
    /// 503.
    pub const SERVICE_UNAVAILABLE: Self = StatusCode(503);
    /// 505.
    pub const VERSION_NOT_SUPPORTED: Self = StatusCode(505);

    /// The code, when it is from 100 to 699.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            100..=699 => Some(StatusCode(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// The class: 1 for provisional, 2 for success and so on.
    pub const fn class(self) -> u16 {
        self.0 / 100
    }

    /// 1xx.
    pub const fn is_provisional(self) -> bool {
        self.class() == 1
    }

    /// 2xx.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// 200 and above.
    pub const fn is_final(self) -> bool {
        self.0 >= 200
    }

    /// The phrase that the RFCs give the code, or that of its class where
    /// they give none.
    pub const fn default_reason(self) -> &'static str {
        match self.0 {
            100 => "Trying",
            180 => "Ringing",
            181 => "Call Is Being Forwarded",
            182 => "Queued",
            183 => "Session Progress",
            199 => "Early Dialog Terminated",
            200 => "OK",
            202 => "Accepted",
            204 => "No Notification",
            300 => "Multiple Choices",
            301 => "Moved Permanently",
            302 => "Moved Temporarily",
            305 => "Use Proxy",
            380 => "Alternative Service",
            400 => "Bad Request",
            401 => "Unauthorized",
            402 => "Payment Required",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            406 => "Not Acceptable",
            407 => "Proxy Authentication Required",
            408 => "Request Timeout",
            410 => "Gone",
            413 => "Request Entity Too Large",
            414 => "Request-URI Too Long",
            415 => "Unsupported Media Type",
            416 => "Unsupported URI Scheme",
            420 => "Bad Extension",
            421 => "Extension Required",
            422 => "Session Interval Too Small",
            423 => "Interval Too Brief",
            433 => "Anonymity Disallowed",
            480 => "Temporarily Unavailable",
            481 => "Call/Transaction Does Not Exist",
            482 => "Loop Detected",
            483 => "Too Many Hops",
            484 => "Address Incomplete",
            485 => "Ambiguous",
            486 => "Busy Here",
            487 => "Request Terminated",
            488 => "Not Acceptable Here",
            489 => "Bad Event",
            491 => "Request Pending",
            493 => "Undecipherable",
            494 => "Security Agreement Required",
            500 => "Server Internal Error",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Server Time-out",
            505 => "Version Not Supported",
            513 => "Message Too Large",
            580 => "Precondition Failure",
            600 => "Busy Everywhere",
            603 => "Decline",
            604 => "Does Not Exist Anywhere",
            606 => "Not Acceptable",
            607 => "Unwanted",
            608 => "Rejected",
            code => match code / 100 {
                1 => "Progress",
                2 => "Success",
                3 => "Redirection",
                4 => "Request Failure",
                5 => "Server Failure",
                _ => "Global Failure",
            },
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
