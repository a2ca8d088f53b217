//! Shipped recipes: settings of a training under a name, each a commented TOML file that a person can copy and change.

/// A recipe that pugmark brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShippedRecipe {
    /// What `--recipe` calls it.
    pub name: &'static str,
    /// The TOML file: keys of [`crate::TrainSettings`]. What a recipe leaves out is the default.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal),*) => {
        [$(ShippedRecipe { name: $name, text: include_str!(concat!("../recipes/", $name, ".toml")) }),*]
    };
}

static SHIPPED: [ShippedRecipe; 9] = shipped![
    "finetune",
    "wild-resnet18",
    "wild-resnet50",
    "wild-gray",
    "wild-mixup",
    "wild-crop384",
    "wild-swin-stage1",
    "dog-breeds",
    "cats-dogs"
];

/// Every shipped recipe.
pub fn shipped_recipes() -> &'static [ShippedRecipe] {
    &SHIPPED
}

impl ShippedRecipe {
    /// The recipe called `name`.
    pub fn find(name: &str) -> Option<&'static Self> {
        SHIPPED.iter().find(|recipe| recipe.name == name)
    }

    /// What it is, in a line: the file's first comment.
    pub fn summary(&self) -> &'static str {
        self.comment(0)
    }

    /// What it is from: the file's second comment.
    pub fn origin(&self) -> &'static str {
        self.comment(1)
    }

    fn comment(&self, line: usize) -> &'static str {
        self.text.lines().nth(line).and_then(|line| line.strip_prefix("# ")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainSettings;

    #[test]
    fn every_recipe_is_a_settings_file_that_says_what_it_is() {
        for recipe in shipped_recipes() {
            let settings: TrainSettings =
                toml::from_str(recipe.text).unwrap_or_else(|error| panic!("{}: {error}", recipe.name));
            settings.validate().unwrap_or_else(|error| panic!("{}: {error}", recipe.name));
            assert!(settings != TrainSettings::default(), "{}", recipe.name);
            assert!(
                recipe.origin().starts_with("From ") && recipe.summary().ends_with('.'),
                "{}",
                recipe.name
            );
            assert_eq!(ShippedRecipe::find(recipe.name), Some(recipe));
        }
        assert_eq!(ShippedRecipe::find("finetun"), None);
    }

    #[test]
    fn the_originals_are_as_their_table_has_them() {
        let read = |name: &str| -> TrainSettings {
            toml::from_str(ShippedRecipe::find(name).expect("it is shipped").text).expect("it can be read")
        };
        let resnet = read("wild-resnet18");
        assert_eq!((resnet.epochs, resnet.batch_size, resnet.learning_rate, resnet.val), (5, 64, 1e-3, 0.25));
        let gray = read("wild-gray");
        assert_eq!(
            TrainSettings { grayscale: true, ..resnet },
            TrainSettings { flip: false, rotation: 0.0, jitter: 0.0, ..gray }
        );
        let swin = read("wild-swin-stage1");
        assert_eq!((swin.epochs, swin.batch_size), (30, 64));
        assert_eq!((swin.learning_rate, swin.weight_decay), (1e-5, 1e-8));
        assert_eq!(read("wild-crop384").image_size, 384);
        assert_eq!(read("dog-breeds").freeze, pugmark_engine::Freeze::Backbone);
        assert_eq!(read("cats-dogs").val, 0.2);
    }
}
