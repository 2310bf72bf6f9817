//! Recipes of training: data, not code.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The shipped recipes by name.
pub const SHIPPED: [(&str, &str); 4] = [
    ("v1", include_str!("../../../models/recipes/v1.toml")),
    ("v2", include_str!("../../../models/recipes/v2.toml")),
    ("v3", include_str!("../../../models/recipes/v3.toml")),
    ("grpo", include_str!("../../../models/recipes/grpo.toml")),
];

/// The reward that the GRPO recipe names, a plug-in of ms-swift's.
pub const REWARD: &str = include_str!("../../../models/recipes/grpo_reward.py");

/// What asks a trained model about the built-in clips, in ms-swift's own Python.
pub const FINGERPRINT: &str = include_str!("../../../models/recipes/fingerprint.py");

/// How a checkpoint is trained.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it is, for people.
    pub about: String,
    /// What `swift` is asked to do, before the flags.
    pub command: Vec<String>,
    /// System message.
    pub system: String,
    /// What is tuned, unless another is named: a model's id or folder.
    pub model: String,
    /// Seconds per video grid that the checkpoint is trained with.
    pub time_scale: f64,
    /// Size of that model's weights, 10^9 bytes.
    pub weights_gb: f64,
    /// The least GPU memory that training needs, over the weights' size.
    pub memory_factor: f64,
    /// Python packages that it needs besides, among those that are looked for.
    #[serde(default)]
    pub needs: Vec<String>,
    /// It needs `REWARD`.
    #[serde(default)]
    pub reward: bool,
    /// How what it trains differs from the published checkpoints.
    pub differs: Vec<String>,
    /// Python packages that its flags were run with.
    pub versions: BTreeMap<String, String>,
    /// Environment that ms-swift reads.
    pub environment: BTreeMap<String, String>,
    /// Flags, `--name value`.
    pub flags: BTreeMap<String, toml::Value>,
}

impl Recipe {
    /// A shipped recipe, or one in a TOML file.
    ///
    /// # Errors
    /// There is none of this name, or the file cannot be read or is wrong; says which and what there is.
    pub fn read(name: &str) -> Result<Self, String> {
        let text = match SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            Some((_, text)) => (*text).to_owned(),
            None if name.contains(['/', '.']) => {
                std::fs::read_to_string(name).map_err(|e| format!("{name}: cannot be read: {e}"))?
            }
            None => {
                let known = SHIPPED.map(|(name, _)| name).join(", ");
                return Err(format!("there is no recipe {name:?}; known: {known}, or the path of a TOML file"));
            }
        };
        toml::from_str(&text).map_err(|e| format!("recipe {name}: {e}"))
    }

    /// Sets a flag from `name=value`, over the recipe's own.
    ///
    /// # Errors
    /// It is not of that form.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let parts = text.split_once('=').filter(|(name, _)| !name.trim_start_matches("--").is_empty());
        let (name, value) = parts.ok_or_else(|| format!("{text:?} is not of the form name=value"))?;
        self.flags.insert(name.trim_start_matches("--").to_owned(), toml::Value::String(value.to_owned()));
        Ok(())
    }

    /// Sets what training without a GPU needs: to try a recipe on a tiny model.
    pub fn on_cpu(&mut self) {
        for (name, value) in
            [("use_cpu", "true"), ("attn_impl", "eager"), ("dataloader_num_workers", "0"), ("dataset_num_proc", "1")]
        {
            self.flags.insert(name.to_owned(), toml::Value::String(value.to_owned()));
        }
        self.environment.insert("CUDA_VISIBLE_DEVICES".to_owned(), String::new());
    }

    /// A flag's value as text.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<String> {
        self.flags.get(name).map(text)
    }

    /// The flags as arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.flags.iter().flat_map(|(name, value)| [format!("--{name}"), text(value)]).collect()
    }
}

fn text(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_recipes_are_table_i() {
        for (name, tuner, rate, epochs) in
            [("v1", "lora", "1e-5", 1), ("v2", "full", "1e-6", 2), ("v3", "full", "1e-6", 3)]
        {
            let recipe = Recipe::read(name).unwrap();
            let flag = |name: &str| recipe.flags[name].clone();
            let text = |text: &str| toml::Value::String(text.into());
            assert_eq!((flag("tuner_type"), flag("learning_rate")), (text(tuner), text(rate)), "{name}");
            assert_eq!(flag("num_train_epochs"), toml::Value::Integer(epochs));
            assert_eq!(flag("per_device_train_batch_size"), toml::Value::Integer(2));
            assert_eq!(flag("gradient_accumulation_steps"), toml::Value::Integer(32));
            assert_eq!((flag("torch_dtype"), flag("attn_impl")), (text("bfloat16"), text("flash_attn")));
            assert_eq!(flag("max_length"), toml::Value::Integer(32_768));
            assert_eq!(recipe.flags.contains_key("lora_rank"), name == "v1");
            assert_eq!(recipe.system, crate::config::defaults::SYSTEM);
            assert!(!recipe.differs.is_empty() && recipe.versions.contains_key("ms-swift"));
        }
        let lora = Recipe::read("v1").unwrap();
        assert_eq!(
            (&lora.flags["lora_rank"], &lora.flags["lora_alpha"]),
            (&toml::Value::Integer(8), &toml::Value::Integer(32))
        );
        assert!(Recipe::read("grpo").unwrap().reward);
    }

    #[test]
    fn flags_can_be_set_and_mistakes_are_said() {
        let mut recipe = Recipe::read("v1").unwrap();
        recipe.set("max_steps=3").unwrap();
        recipe.set("--learning_rate=2e-5").unwrap();
        let arguments = recipe.arguments();
        let after = |name: &str| arguments[arguments.iter().position(|a| a == name).unwrap() + 1].clone();
        assert_eq!((after("--max_steps"), after("--learning_rate")), ("3".into(), "2e-5".into()));
        assert_eq!((after("--warmup_ratio"), after("--gradient_checkpointing")), ("0.05".into(), "true".into()));
        for wrong in ["max_steps", "=3", "--=3"] {
            assert!(recipe.set(wrong).unwrap_err().contains("name=value"));
        }
        assert!(Recipe::read("v9").unwrap_err().contains("v1, v2, v3, grpo"));
        assert!(Recipe::read("no/such.toml").unwrap_err().contains("cannot be read"));
    }
}
