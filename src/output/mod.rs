//! Events, tables and talk for people and programs: the only room that prints.

pub mod bars;
mod confirm;
pub mod sanitize;
pub mod stdout;
pub mod style;
pub mod table;
pub mod ui;
pub mod words;

pub use confirm::confirm;
pub use stdout::Stdout;
pub use style::Style;
pub use ui::Ui;
