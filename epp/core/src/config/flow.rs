//! The `flowControl` section.

use super::ConfigError;
use super::fields::Fields;
use super::plugin::{Plugin, Plugins};
use super::tree::At;
use crate::flow::{BandSettings, Fairness, FlowSettings, Ordering};
use crate::saturation::Detector;

/// What the section says.
pub(super) struct Flow {
    pub settings: FlowSettings,
    pub detector: Option<Detector>,
}

pub(super) fn read(fields: &mut Fields, plugins: &Plugins) -> Result<Flow, ConfigError> {
    let refuse_late = plugins
        .all()
        .any(|(_, p)| matches!(p, Plugin::RefuseHopeless));
    let mut settings = FlowSettings {
        refuse_late,
        ..FlowSettings::default()
    };
    let Some(mut flow) = fields.optional_fields("flowControl")? else {
        return Ok(Flow {
            settings,
            detector: None,
        });
    };
    let positive = |x: Option<f64>| x.filter(|x| *x > 0.0);
    if let Some(bytes) = positive(flow.quantity("maxBytes")?) {
        settings.max_bytes = bytes as u64;
    }
    if let Some(requests) = positive(flow.quantity("maxRequests")?) {
        settings.max_requests = (requests as usize).max(1);
    }
    let ttl = |stated: Option<f64>, default| stated.map_or(default, |s| (s > 0.0).then_some(s));
    settings.ttl_s = ttl(flow.duration("defaultRequestTTL")?, settings.ttl_s);
    settings.ttl_empty_s = ttl(flow.duration("noEndpointRequestTTL")?, settings.ttl_empty_s);
    bands(&mut flow, plugins, &mut settings)?;
    if let Some(name) = flow.optional_text("usageLimitPolicyPluginRef")? {
        let want = |p: &Plugin| matches!(p, Plugin::UsageLimit).then_some(());
        plugins.named(name, "usage limit policy", want)?;
    }
    let detector = flow.optional_fields("saturationDetector")?;
    let detector = detector.map(|d| plugins.detector(d)).transpose()?;
    if flow.flag("enableEviction", false)? {
        let (place, key) = (flow.place.clone(), "enableEviction".to_owned());
        let expected = "false, since running requests are never evicted here".to_owned();
        return Err(ConfigError::Wrong {
            place,
            key,
            expected,
            found: "true".to_owned(),
        });
    }
    flow.finish()?;
    Ok(Flow { settings, detector })
}

fn bands(
    flow: &mut Fields,
    plugins: &Plugins,
    settings: &mut FlowSettings,
) -> Result<(), ConfigError> {
    if let Some(mut band) = flow.optional_fields("defaultPriorityBand")? {
        band.ignore("priority");
        settings.default_band = read_band(band, plugins)?;
    }
    settings.negative_band = settings.default_band;
    if let Some(mut band) = flow.optional_fields("defaultNegativePriorityBand")? {
        band.ignore("priority");
        settings.negative_band = read_band(band, plugins)?;
    }
    for mut band in flow.maps("priorityBands", "a priority band")? {
        let priority =
            band.number("priority", 0.0, f64::from(i32::MIN), f64::from(i32::MAX))? as i32;
        if settings.bands.iter().any(|(p, _)| *p == priority) {
            let (place, name) = (band.place, priority.to_string());
            return Err(ConfigError::Twice {
                place,
                what: "priority band",
                name,
            });
        }
        let band = read_band(band, plugins)?;
        settings.bands.push((priority, band));
    }
    Ok(())
}

fn read_band(mut band: Fields, plugins: &Plugins) -> Result<BandSettings, ConfigError> {
    let default = BandSettings::default();
    let positive = |x: Option<f64>| x.filter(|x| *x > 0.0);
    let settings = BandSettings {
        max_bytes: positive(band.quantity("maxBytes")?).map_or(default.max_bytes, |b| b as u64),
        max_requests: positive(band.quantity("maxRequests")?)
            .map_or(default.max_requests, |r| (r as usize).max(1)),
        fairness: band
            .optional_text("fairnessPolicyRef")?
            .map_or(Ok(default.fairness), |n| fairness(n, plugins))?,
        ordering: band
            .optional_text("orderingPolicyRef")?
            .map_or(Ok(default.ordering), |n| ordering(n, plugins))?,
    };
    band.finish()?;
    Ok(settings)
}

/// A policy that is listed, or one by the name of its type, which needs no parameters.
fn fairness(name: At<String>, plugins: &Plugins) -> Result<Fairness, ConfigError> {
    if plugins.get(&name).is_err() {
        match name.value.as_str() {
            "global-strict-fairness-policy" => return Ok(Fairness::GlobalStrict),
            "round-robin-fairness-policy" => return Ok(Fairness::RoundRobin),
            _ => {}
        }
    }
    plugins.named(name, "fairness policy", |p| match p {
        Plugin::Fairness(fairness) => Some(*fairness),
        _ => None,
    })
}

fn ordering(name: At<String>, plugins: &Plugins) -> Result<Ordering, ConfigError> {
    if plugins.get(&name).is_err() {
        match name.value.as_str() {
            "fcfs-ordering-policy" => return Ok(Ordering::FirstCome),
            "edf-ordering-policy" | "slo-deadline-ordering-policy" => {
                return Ok(Ordering::EarliestDeadline);
            }
            _ => {}
        }
    }
    plugins.named(name, "ordering policy", |p| match p {
        Plugin::Ordering(ordering) => Some(*ordering),
        _ => None,
    })
}
