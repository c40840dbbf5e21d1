//! What a delivery may cost, in the processor time that the bare client needs for one: a slower machine is slower at
//! both. Stored well above what was measured, so that only a real step backwards goes beyond it. The integration tests
//! include this file and see it fail.

/// A case, what it was measured to cost, and room: the two vary by a third where others use the machine too.
pub(crate) struct Bound {
    pub(crate) case: &'static str,
    /// CPU of the daemon for a delivery, in that of bare for one.
    pub(crate) measured: f64,
}

/// How far beyond what was measured is too far.
pub(crate) const ROOM: f64 = 1.5;

/// Of each way in.
pub(crate) const BOUNDS: [Bound; 3] = [
    Bound { case: "socket", measured: 5.5 },
    Bound { case: "http, one per POST", measured: 8.0 },
    Bound { case: "socket, dingtalk signed", measured: 10.5 },
];

/// What is wrong with these figures (CPU seconds for 10,000 deliveries), one text each. A case that was not measured, or
/// a bare of nothing, is wrong too.
pub(crate) fn beyond(bare: f64, cpu_of: impl Fn(&str) -> Option<f64>) -> Vec<String> {
    if bare.is_nan() || bare <= 0.0 {
        return vec!["the bare client was not measured".to_owned()];
    }
    let wrong = |bound: &Bound| {
        let Bound { case, measured } = bound;
        let Some(cpu) = cpu_of(case).filter(|cpu| *cpu > 0.0) else { return Some(format!("{case}: not measured")) };
        let (is, most) = (cpu / bare, measured * ROOM);
        (is > most).then(|| {
            format!(
                "{case}: {cpu:.2} CPU seconds for 10,000 deliveries are {is:.1} times those of bare ({bare:.3}); \
                 the bound is {most:.1}"
            )
        })
    };
    BOUNDS.iter().filter_map(wrong).collect()
}
