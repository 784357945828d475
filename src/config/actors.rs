//! The configured limits of actors: `[actor_limits]` are the defaults for manifests that name none, and `[actor_ceilings]`
//! are the highest values that a manifest may name.

use super::{ConfigError, InForce, Origin, Settings};
use crate::base::limits::{ActorLimits, Declared, Limits};

/// Lowers a default that was not set to its lowered ceiling, and refuses a default that was set above its ceiling.
pub(super) fn settle(settings: &mut Settings) -> Result<(), ConfigError> {
    for Declared { name, default_key, ceiling_key, .. } in Limits::ALL {
        let (default, ceiling) = (number(settings, default_key), number(settings, ceiling_key));
        if default <= ceiling {
            continue;
        }
        let (value, lowered_by) = (settings.get(ceiling_key).value.clone(), settings.get(ceiling_key).origin.clone());
        let in_force = settings.in_force.iter_mut().find(|in_force| in_force.setting.key == *default_key);
        let InForce { value: of_default, origin, .. } = in_force.expect("a key of the table");
        if *origin != Origin::Default {
            let why = format!(
                "\"{default_key}\" is {default}, but no actor may have more than {ceiling}: lower it, or raise \"{name}\" \
                 of [actor_ceilings]"
            );
            return Err(ConfigError::Value { origin: origin.clone(), why });
        }
        (*of_default, *origin) = (value, lowered_by);
    }
    Ok(())
}

fn number(settings: &Settings, key: &str) -> u64 {
    settings.value(key).unwrap_or_default()
}

impl Settings {
    /// The limits of actors that this configuration gives.
    pub(crate) fn actor_limits(&self) -> ActorLimits {
        let (mut defaults, mut ceilings) = (Limits::default(), Limits::ceilings());
        for Declared { name, default_key, ceiling_key, .. } in Limits::ALL {
            *defaults.named(name).expect("declared") = number(self, default_key);
            *ceilings.named(name).expect("declared") = number(self, ceiling_key);
        }
        ActorLimits::new(defaults, ceilings).expect("each was checked, and both together")
    }
}
