//! Image sets from the outside: every published form read alike, splits, refusals, damage.

mod damage;
mod forms;
mod make;
mod pictures;
