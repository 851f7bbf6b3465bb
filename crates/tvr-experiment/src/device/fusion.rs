//! Burn 0.22 fuses element-wise operations into one kernel on CubeCL's devices, and some of those kernels write outside of
//! their tensors. A unit takes `width` elements, but the bound it compares its place with counts elements wherever the
//! tensor of reference was given one at a time, as an output is that takes its input's place (`ref_len` in
//! burn-cubecl-fusion 0.22.1; 0.23.0-pre.1 divides by the width). Units beyond the last one then write over whatever lies
//! behind: other tensors, silently, or the shapes of a later kernel, which reads from an address made of them and ends
//! the process with an illegal access. Therefore nothing is fused here.

use burn::BurnConfig;
use burn_std::config::RuntimeConfig;

/// Sees to it that no kernel is fused, unless `BURN_FUSION_MAX_EXPLORATIONS` or a `burn.toml` says how many may be.
///
/// # Errors
/// Burn has read its settings already, which it does once, with its first gradient on any device.
pub(super) fn keep_off() -> Result<(), String> {
    let found = BurnConfig::from_current_dir().override_from_env();
    BurnConfig::try_set(without(&found).unwrap_or(found));
    match burn::runtime_config().fusion().beam_search.max_explorations {
        Some(_) => Ok(()),
        None => Err(
            "burn's fused kernels write outside of their tensors, and burn was at work before they could be \
                     switched off; open this device first, or set BURN_FUSION_MAX_EXPLORATIONS=0"
                .into(),
        ),
    }
}

/// The same settings with an end to the search for what can be fused before it begins; `None` where they have an end.
fn without(found: &BurnConfig) -> Option<BurnConfig> {
    if found.fusion().beam_search.max_explorations.is_some() {
        return None;
    }
    let mut settings = serde_json::to_value(found).ok()?;
    *settings.pointer_mut("/fusion/beam_search/max_explorations")? = 0.into();
    serde_json::from_value(settings).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_fused_unless_somebody_says_how_much() {
        assert_eq!(keep_off(), Ok(()));
        let asked = std::env::var("BURN_FUSION_MAX_EXPLORATIONS").ok().and_then(|word| word.parse().ok());
        let most = burn::runtime_config().fusion().beam_search.max_explorations;
        assert_eq!(most, Some(asked.unwrap_or(0)));
    }

    #[test]
    fn other_settings_stay_as_they_are() {
        let found: BurnConfig =
            serde_json::from_str(r#"{"fusion": {"growth_patience": 5}}"#).unwrap_or_default();
        let settled = without(&found).unwrap_or_default();
        assert_eq!(
            (settled.fusion().growth_patience, settled.fusion().beam_search.max_explorations),
            (5, Some(0))
        );
        assert!(without(&settled).is_none());
    }
}
