//! Events, tables and talk for people and programs: the only room that prints.

pub mod bars;
mod confirm;
mod human;
mod indent;
mod printer;
pub mod sanitize;
pub mod screen;
pub mod stdout;
pub mod style;
pub mod table;
mod template;
pub mod ui;
pub mod words;

pub use confirm::confirm;
pub use printer::Printer;
pub use stdout::Stdout;
pub use style::Style;
pub use ui::Ui;
