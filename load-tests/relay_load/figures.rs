//! What a run of the generator found, and how it is told: one line of JSON.

use crate::accounts::Accounts;

/// Delays in nanoseconds, each within two percent: the power of two and the
/// next five bits tell a delay's place.
pub struct Delays {
    places: Vec<u64>,
    most: u64,
}

const FINE: u32 = 5;

impl Delays {
    pub fn new() -> Delays {
        Delays {
            places: vec![0; (64 << FINE) as usize],
            most: 0,
        }
    }

    #[inline]
    pub fn add(&mut self, delay: u64) {
        self.places[place(delay)] += 1;
        self.most = self.most.max(delay);
    }

    /// The delay that this part of the packets does not exceed, in µs.
    pub fn percentile(&self, part: f64) -> f64 {
        let count: u64 = self.places.iter().sum();
        let wanted = (count as f64 * part) as u64;
        let mut seen = 0;
        for (place, count) in self.places.iter().enumerate() {
            seen += count;
            if seen > wanted {
                return (middle(place) / 1000.0).min(self.most_us());
            }
        }
        0.0
    }

    pub fn most_us(&self) -> f64 {
        self.most as f64 / 1000.0
    }
}

fn place(delay: u64) -> usize {
    let power = 63 - (delay | (1 << FINE)).leading_zeros();
    let fine = (delay >> (power - FINE)) & ((1 << FINE) - 1);
    ((power << FINE) as u64 + fine) as usize
}

fn middle(place: usize) -> f64 {
    let power = (place >> FINE) as i32;
    let fine = (place & ((1 << FINE) - 1)) as f64 + 0.5;
    2f64.powi(power) * (1.0 + fine / f64::from(1 << FINE))
}

/// Of packets that left within the same tenth of a second.
#[derive(Clone, Copy, Default)]
pub struct Slice {
    pub sent: u64,
    pub received: u64,
}

/// Length of a [`Slice`] in nanoseconds.
pub const SLICE: u64 = 100_000_000;

/// What a run found. Packets are those that left in the window, unless said
/// otherwise.
pub struct Figures {
    pub rate: f64,
    /// Nanoseconds.
    pub window: u64,
    /// By side of the call that they left from.
    pub sent: [u64; 2],
    pub refused: u64,
    pub received: [u64; 2],
    /// Packets that arrived while the window was open, whenever they left.
    pub arrived: u64,
    /// Left more than a millisecond after their time.
    pub late: u64,
    pub most_late: u64,
    /// Were due so long ago that they were left out.
    pub left_out: u64,
    /// Time in the window without anything to send or take.
    pub idle: u64,
    pub delays: Delays,
    /// Legs that sent and whose packets did not come out.
    pub silent_legs: usize,
    pub reordered: u64,
    /// Came to the wrong leg, or could not be unprotected.
    pub wrong: u64,
    /// The generator's own ring was full.
    pub missed: u64,
    pub before: Accounts,
    pub after: Accounts,
    /// From the start of the run, warming up included.
    pub slices: Vec<Slice>,
}

impl Figures {
    pub fn new(rate: f64, slices: usize) -> Figures {
        Figures {
            rate,
            window: 0,
            sent: [0; 2],
            refused: 0,
            received: [0; 2],
            arrived: 0,
            late: 0,
            most_late: 0,
            left_out: 0,
            idle: 0,
            delays: Delays::new(),
            silent_legs: 0,
            reordered: 0,
            wrong: 0,
            missed: 0,
            before: Accounts::default(),
            after: Accounts::default(),
            slices: vec![Slice::default(); slices],
        }
    }

    pub fn json(&self) -> String {
        let seconds = self.window.max(1) as f64 / 1e9;
        let sent: u64 = self.sent.iter().sum();
        let received: u64 = self.received.iter().sum();
        let slices: Vec<String> = self
            .slices
            .iter()
            .map(|slice| format!("[{}, {}]", slice.sent, slice.received))
            .collect();
        let per_packet = |time: u64| time as f64 / 1000.0 / self.arrived.max(1) as f64;
        let spent = |of: fn(&Accounts) -> u64| of(&self.after).saturating_sub(of(&self.before));
        let busy = self
            .window
            .saturating_sub(spent(|accounts| accounts.idle))
            .saturating_sub(spent(|accounts| accounts.stolen));
        let fields = [
            ("rate_pps", format!("{:.0}", self.rate)),
            ("window_s", format!("{seconds:.4}")),
            ("sent", sent.to_string()),
            ("sent_by_side", format!("{:?}", self.sent)),
            ("refused", self.refused.to_string()),
            ("received", received.to_string()),
            ("received_by_side", format!("{:?}", self.received)),
            ("lost", sent.saturating_sub(received).to_string()),
            ("offered_pps", format!("{:.0}", sent as f64 / seconds)),
            (
                "delivered_pps",
                format!("{:.0}", self.arrived as f64 / seconds),
            ),
            ("late", self.late.to_string()),
            (
                "most_late_us",
                format!("{:.0}", self.most_late as f64 / 1e3),
            ),
            ("left_out", self.left_out.to_string()),
            (
                "generator_busy",
                format!("{:.3}", 1.0 - self.idle as f64 / self.window.max(1) as f64),
            ),
            (
                "delay_p50_us",
                format!("{:.1}", self.delays.percentile(0.5)),
            ),
            (
                "delay_p99_us",
                format!("{:.1}", self.delays.percentile(0.99)),
            ),
            (
                "delay_p999_us",
                format!("{:.1}", self.delays.percentile(0.999)),
            ),
            ("delay_most_us", format!("{:.1}", self.delays.most_us())),
            ("silent_legs", self.silent_legs.to_string()),
            ("reordered", self.reordered.to_string()),
            ("wrong", self.wrong.to_string()),
            ("missed", self.missed.to_string()),
            ("core_us_per_packet", format!("{:.3}", per_packet(busy))),
            (
                "process_us_per_packet",
                format!("{:.3}", per_packet(spent(|accounts| accounts.process))),
            ),
            (
                "receiving_us_per_packet",
                format!("{:.3}", per_packet(spent(|accounts| accounts.receiving))),
            ),
            (
                "core_others",
                format!(
                    "{:.3}",
                    busy.saturating_sub(spent(|accounts| accounts.process + accounts.receiving))
                        as f64
                        / self.window.max(1) as f64
                ),
            ),
            (
                "core_busy",
                format!("{:.3}", busy as f64 / self.window.max(1) as f64),
            ),
            (
                "core_stolen",
                format!(
                    "{:.3}",
                    spent(|accounts| accounts.stolen) as f64 / self.window.max(1) as f64
                ),
            ),
            ("slices", format!("[{}]", slices.join(", "))),
        ];
        let fields = fields.map(|(name, value)| format!("\"{name}\": {value}"));
        format!("{{{}}}", fields.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::Delays;

    #[test]
    fn percentiles_are_within_two_percent_from_nanoseconds_to_seconds() {
        for scale in [1u64, 100, 10_000, 1_000_000] {
            let mut delays = Delays::new();
            (1..=1000).for_each(|n| delays.add(n * scale));
            for (part, wanted) in [(0.5, 501), (0.99, 991), (0.999, 1000)] {
                let wanted = (wanted * scale) as f64 / 1000.0;
                let found = delays.percentile(part);
                assert!(
                    (found - wanted).abs() <= 0.02 * wanted,
                    "{part} of {scale}: {found}, not {wanted}"
                );
            }
            assert_eq!(delays.most_us(), scale as f64);
        }
    }

    #[test]
    fn without_packets_there_is_no_delay() {
        assert_eq!(Delays::new().percentile(0.99), 0.0);
    }
}
