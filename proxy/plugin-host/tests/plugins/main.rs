//! Plugins against the real host: what loads, what does not and why, what hooks answer, and what hostile ones cost.

mod border;
mod guest;
mod hooks;
mod hostile;
mod loading;
mod logs;
mod others;
mod reloading;
mod sharing;
