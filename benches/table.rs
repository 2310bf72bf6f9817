//! Numbers over repeats, and tables of them.

/// Prints a table with a title that says what, on what data, how often, by which metric.
pub fn print(title: &str, head: &[&str], rows: &[Vec<String>]) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN).set_header(head.iter().copied());
    table.add_rows(rows);
    println!("\n{title}\n\n{table}");
}

/// Repeats of one measure.
#[derive(Clone, Debug, Default)]
pub struct Repeats(Vec<f64>);

impl FromIterator<f64> for Repeats {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

impl Repeats {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The value below which a share of them lies (nearest rank); 0 without any.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or(0.0)
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Median and range.
    pub fn shown(&self, digits: usize) -> String {
        let (low, high) = (self.quantile(0.0), self.quantile(1.0));
        format!("{:.digits$} ({low:.digits$} to {high:.digits$})", self.median())
    }
}
