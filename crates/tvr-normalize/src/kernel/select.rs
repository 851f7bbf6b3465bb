//! Loops that look for large values.

/// Values that are compared at once, before any of them is looked at alone.
const GROUP: usize = 32;

vectorised! {
    /// The largest value; −∞ of none.
    largest(values: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; GROUP];
        let (groups, rest) = values.as_chunks::<GROUP>();
        for group in groups {
            for (lane, &value) in lanes.iter_mut().zip(group) {
                *lane = if value > *lane { value } else { *lane };
            }
        }
        lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &value| if value > most { value } else { most })
    }
}

vectorised! {
    /// Where `wanted` stands first.
    first_of(values: &[f32], wanted: f32) -> Option<usize> {
        let (groups, rest) = values.as_chunks::<GROUP>();
        let has = |group: &[f32; GROUP]| group.iter().fold(0u32, |any, &v| any | u32::from(v == wanted)) != 0;
        let before = groups.iter().position(has);
        let start = before.unwrap_or(groups.len()) * GROUP;
        let within = if before.is_some() { &values[start..start + GROUP] } else { rest };
        within.iter().position(|&value| value == wanted).map(|at| start + at)
    }
}

vectorised! {
    /// Appends the values above `threshold` to `kept`.
    keep_above(values: &[f32], threshold: f32, kept: &mut Vec<f32>) {
        let (groups, rest) = values.as_chunks::<GROUP>();
        for group in groups {
            if group.iter().fold(0u32, |any, &value| any | u32::from(value > threshold)) != 0 {
                kept.extend(group.iter().copied().filter(|&value| value > threshold));
            }
        }
        kept.extend(rest.iter().copied().filter(|&value| value > threshold));
    }
}

vectorised! {
    /// Puts into `places` where a value is above the threshold of its own place, in order.
    places_above(values: &[f32], thresholds: &[f32], places: &mut Vec<usize>) {
        places.clear();
        let (groups, rest) = values.as_chunks::<GROUP>();
        let (limits, last) = thresholds.as_chunks::<GROUP>();
        for (at, (group, limits)) in groups.iter().zip(limits).enumerate() {
            let mut above = group.iter().zip(limits).enumerate().fold(0u32, |above, (place, (value, limit))| {
                above | (u32::from(value > limit) << place)
            });
            while above != 0 {
                places.push(at * GROUP + above.trailing_zeros() as usize);
                above &= above - 1;
            }
        }
        let start = groups.len() * GROUP;
        places.extend((0..rest.len()).filter(|&place| rest[place] > last[place]).map(|place| start + place));
    }
}
